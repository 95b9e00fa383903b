"""Writes tests/fixtures/architecture/keras3.json and keras2.json: what Keras says of whole models.

    python tests/keras/architectures.py

Each file is a list of {name, document, layers, variables, summary}: `document` is the model's to_json(), `layers` its
layers after the input as [name, class, output shape], `variables` its weights as [<layer>/<variable>, shape, trainable],
and `summary` (of Keras 3 only) the table of model.summary(), 80 columns wide.
"""

import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tf_keras

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "architecture"


def tutorial(k):
    L = k.layers
    return k.Sequential([
        L.Conv2D(32, (2, 2), padding="same", input_shape=(28, 28, 3)),
        L.Activation("relu"),
        L.MaxPooling2D((2, 2)),
        L.Conv2D(32, (2, 2), padding="same", activation="relu"),
        L.AveragePooling2D((2, 2), strides=(1, 2), padding="same"),
        L.Flatten(),
        L.Dense(10, activation="softmax"),
    ], name="tutorial")


def perceptron(k):
    L = k.layers
    return k.Sequential([
        k.Input((784,)),
        L.Dense(512, "relu", kernel_regularizer=k.regularizers.L2(0.001), bias_regularizer="l1"),
        L.Dropout(0.2, seed=7),
        L.Dense(256, k.layers.LeakyReLU(0.1), kernel_regularizer=k.regularizers.L1L2(0.1, 0.2)),
        L.GaussianNoise(0.1),
        L.Dense(64, "selu", use_bias=False),
        L.Dense(1, "sigmoid", name="probability"),
    ])


def every_layer(k):
    L = k.layers
    return k.Sequential([
        k.Input((32, 30, 3), name="photo"),
        L.Rescaling([0.1, 0.2, 0.3], offset=-1.0),
        L.Normalization(),
        L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], invert=True),
        L.RandomFlip("horizontal", seed=3),
        L.RandomRotation(0.1),
        L.RandomZoom(0.1, 0.2),
        L.RandomTranslation(0.1, 0.2),
        L.RandomContrast(0.1),
        L.RandomBrightness(0.1),
        L.Resizing(30, 28, interpolation="nearest", crop_to_aspect_ratio=True),
        L.CenterCrop(24, 22),
        L.ZeroPadding2D(((1, 2), (3, 4))),
        L.Conv2D(8, 3, strides=(2, 1), groups=1, activation="gelu"),
        L.Conv2D(8, (3, 2), dilation_rate=2, groups=4, padding="same", use_bias=False),
        L.BatchNormalization(momentum=0.9, epsilon=1e-5, scale=False),
        L.ReLU(6.0, negative_slope=0.1, threshold=0.2),
        L.SpatialDropout2D(0.1),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        L.LeakyReLU(),
        L.SeparableConv2D(12, 3, depth_multiplier=2, activation="silu"),
        L.LayerNormalization(),
        L.ELU(0.5),
        L.UpSampling2D((2, 1), interpolation="bilinear"),
        L.Cropping2D(((0, 1), (1, 2))),
        L.Permute((2, 1, 3)),
        L.MaxPooling2D(3, strides=2, padding="same"),
        L.Reshape((-1, 11, 4)),
        L.LayerNormalization(axis=[1, 2, 3]),
        L.GlobalMaxPooling2D(keepdims=True),
        L.GlobalAveragePooling2D(),
        L.Dense(5),
        L.Softmax(),
    ], name="every_layer")


def every_initializer(k):
    L, I = k.layers, k.initializers
    kinds = [
        I.GlorotUniform(seed=1), I.GlorotNormal(), I.HeUniform(), I.HeNormal(), I.LecunUniform(), I.LecunNormal(),
        I.VarianceScaling(0.5, "fan_out", "untruncated_normal"), I.RandomUniform(-0.1, 0.2), I.RandomNormal(0.1, 0.2),
        I.TruncatedNormal(0.1, 0.2), I.Orthogonal(1.5), I.Identity(2.0), I.Constant(0.25), I.Zeros(), I.Ones(),
    ]
    return k.Sequential([k.Input((4,)), *(L.Dense(4, kernel_initializer=i) for i in kinds)])


def every_activation(k):
    names = (
        "linear relu relu6 leaky_relu elu selu celu gelu softplus softsign sigmoid log_sigmoid hard_sigmoid "
        "sparse_sigmoid silu hard_silu mish tanh hard_tanh tanh_shrink soft_shrink hard_shrink exponential squareplus "
        "sparse_plus log_softmax sparsemax softmax"
    ).split()
    known = [name for name in names if name in dir(k.activations)]
    return k.Sequential([k.Input((6,)), *(k.layers.Dense(6, activation=name) for name in known)])


def frozen(k):
    return k.Sequential([
        k.Input((8, 8, 1)),
        k.layers.Conv2D(4, 3, trainable=False),
        k.layers.BatchNormalization(trainable=False),
        k.layers.Flatten(),
        k.layers.Dense(3),
    ])


def built_by_calling(k):
    """A model that learnt its input shape from the first batch: no layer says it."""
    model = k.Sequential([k.layers.Conv2D(3, 2), k.layers.Flatten(), k.layers.Dense(2)])
    model(np.zeros((5, 6, 7, 2), np.float32))
    return model


def functional(k):
    """A chain in the Functional API, of which Keras counts the InputLayer among the layers."""
    L = k.layers
    photo = k.Input((12, 10, 3), name="photo")
    x = L.Conv2D(4, 3, activation="relu")(photo)
    x = L.BatchNormalization()(x)
    x = L.MaxPooling2D()(x)
    x = L.Dropout(0.25)(x)
    x = L.Flatten()(x)
    return k.Model(photo, L.Dense(3, "softmax", name="scores")(x), name="chain")


def describe(k, make):
    k.backend.clear_session()
    model = make(k)
    shape = lambda layer: list((layer.output.shape if k is keras else layer.output_shape)[1:])
    layers = [layer for layer in model.layers if not isinstance(layer, k.layers.InputLayer)]
    record = {
        "name": make.__name__,
        "document": json.loads(model.to_json()),
        "layers": [[layer.name, type(layer).__name__, shape(layer)] for layer in layers],
        "variables": [
            [f"{layer.name}/{w.name.split('/')[-1].split(':')[0]}", list(w.shape), layer.trainable and w.trainable]
            for layer in layers
            for w in layer.weights
        ],
    }
    if k is keras:
        lines = []
        model.summary(line_length=80, print_fn=lambda text, line_break=True: lines.append(text))
        record["summary"] = "\n".join(lines)
    return record


def main():
    models = [
        tutorial, perceptron, every_layer, every_initializer, every_activation, frozen, built_by_calling, functional,
    ]
    for k, file in ((keras, "keras3.json"), (tf_keras, "keras2.json")):
        # tf_keras only writes a model that was built with its shape.
        made = [describe(k, make) for make in models if k is keras or make is not built_by_calling]
        with open(FOLDER / file, "w") as out:
            lines = (json.dumps(model, ensure_ascii=False, separators=(",", ":")) for model in made)
            out.write("[\n" + ",\n".join(lines) + "\n]\n")
        print(f"{file}: {len(made)} models, {k.__name__} {k.__version__}")


if __name__ == "__main__":
    main()
