"""Writes tests/fixtures/keras-layers: what Keras computes for each layer and option.

    python tests/keras/layers.py

index.json lists the cases: {name, architecture, input, output, weights}, where `architecture` is the model's
to_json() document, `input` and `output` name tensors, and `weights` maps each `<layer>/<variable>` to its tensor.
A case with "training": true ran the layers as in training; its `after` maps the variables that the step moved to
their new values. All tensors are in tensors.safetensors, equal ones stored once.
"""

import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers as L
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "keras-layers"

random = np.random.default_rng(20170401)
tensors = {}
names_by_content = {}
cases = []


def store(array):
    """The name under which the tensor is kept."""
    array = np.ascontiguousarray(array, dtype=np.float32)
    content = (array.shape, array.tobytes())
    if content not in names_by_content:
        names_by_content[content] = f"t{len(tensors)}"
        tensors[names_by_content[content]] = array
    return names_by_content[content]


images = {}


def image(shape, low=-1.0, high=1.0):
    """Two examples of this shape, the same each time it is asked for."""
    key = (*shape, low, high)
    if key not in images:
        images[key] = random.uniform(low, high, (2, *shape)).astype(np.float32)
    return images[key]


def draw(variable):
    """Weights no initializer would give: no zeros and ones that hide a mistake."""
    if variable.name in ("variance", "moving_variance"):
        return random.uniform(0.3, 2.0, variable.shape)
    if variable.name == "gamma":
        return random.uniform(0.5, 1.5, variable.shape)
    if variable.name == "count":
        return np.zeros(variable.shape)
    return random.uniform(-0.5, 0.5, variable.shape)


def case(name, layers, shape, x=None, training=False):
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input(shape), *layers])
    x = image(shape) if x is None else x
    variables = [(f"{layer.name}/{v.name}", v) for layer in model.layers for v in layer.weights]
    for _, variable in variables:
        variable.assign(draw(variable))
    for layer in model.layers:
        if isinstance(layer, L.Normalization):
            # It computes with copies of its weights, which loading a model renews.
            layer.finalize_state()
    record = {
        "name": name,
        "architecture": json.loads(model.to_json()),
        "input": store(x),
        "weights": {path: store(v.numpy()) for path, v in variables if v.name != "count"},
    }
    before = {path: v.numpy().copy() for path, v in variables}
    record["output"] = store(np.asarray(model(x, training=training)))
    if training:
        record["training"] = True
        record["after"] = {
            path: store(v.numpy()) for path, v in variables if not np.array_equal(v.numpy(), before[path])
        }
    assert np.isfinite(tensors[record["output"]]).all(), name
    cases.append(record)


def dense():
    case("dense", [L.Dense(5)], (7,))
    case("dense without bias", [L.Dense(3, use_bias=False)], (4,))
    case("dense on the last axis of an image", [L.Dense(4)], (3, 5, 2))
    case("dense stack", [L.Dense(8, "relu"), L.Dense(6, "tanh"), L.Dense(3, "softmax")], (5,))


def activations():
    x = random.normal(0, 3, (4, 11)).astype(np.float32)
    x[0, :7] = [0, -0.0, 1, -1, 6, -3, 3]
    for name in (
        "linear relu relu6 sigmoid tanh softmax log_softmax elu selu celu gelu softplus softsign exponential "
        "hard_sigmoid hard_silu silu mish leaky_relu hard_tanh tanh_shrink soft_shrink hard_shrink squareplus "
        "sparse_plus sparse_sigmoid sparsemax log_sigmoid"
    ).split():
        try:
            layer = L.Activation(name)
        except ValueError:
            continue
        case(f"activation {name}", [layer], (11,), x=x)
        if name in ("relu", "sigmoid", "tanh", "softmax", "elu", "selu", "gelu", "softplus", "silu", "hard_sigmoid"):
            case(f"dense {name}", [L.Dense(6, activation=name)], (7,))
            case(f"conv2d {name}", [L.Conv2D(3, 2, activation=name)], (4, 4, 2))
    case("activation softmax on an image", [L.Activation("softmax")], (3, 4, 5))
    case("softmax", [L.Softmax()], (9,))
    case("relu", [L.ReLU()], (11,), x=x)
    case("relu max_value", [L.ReLU(max_value=2.5)], (11,), x=x)
    case("relu negative_slope", [L.ReLU(negative_slope=0.2)], (11,), x=x)
    case("relu threshold", [L.ReLU(max_value=4.0, negative_slope=0.1, threshold=0.5)], (11,), x=x)
    case("leaky_relu", [L.LeakyReLU()], (11,), x=x)
    case("leaky_relu 0.1", [L.LeakyReLU(negative_slope=0.1)], (11,), x=x)
    case("elu", [L.ELU()], (11,), x=x)
    case("elu 0.5", [L.ELU(alpha=0.5)], (11,), x=x)


def convolutions():
    for height, width in ((7, 6), (8, 8), (5, 9)):
        for kernel in (1, 2, 3, (2, 3), 5):
            for strides in (1, 2, (2, 1), 3):
                for padding in ("valid", "same"):
                    name = f"conv2d {height}x{width} kernel {kernel} strides {strides} {padding}"
                    layer = L.Conv2D(4, kernel, strides=strides, padding=padding)
                    case(name, [layer], (height, width, 3))
    for dilation in (2, (1, 3)):
        for padding in ("valid", "same"):
            for kernel in (2, 3):
                layer = L.Conv2D(4, kernel, dilation_rate=dilation, padding=padding)
                case(f"conv2d kernel {kernel} dilation {dilation} {padding}", [layer], (9, 8, 3))
    case("conv2d without bias", [L.Conv2D(5, 3, use_bias=False)], (6, 6, 1))
    for groups in (2, 4):
        for strides in (1, 2):
            layer = L.Conv2D(8, 3, groups=groups, strides=strides, padding="same")
            case(f"conv2d groups {groups} strides {strides}", [layer], (6, 7, 4))
    case("conv2d kernel larger than the image, same", [L.Conv2D(3, 5, padding="same")], (3, 2, 2))


def depthwise_and_separable():
    for kind, make in (
        ("depthwise_conv2d", lambda **o: L.DepthwiseConv2D(**o)),
        ("separable_conv2d", lambda **o: L.SeparableConv2D(5, **o)),
    ):
        for kernel in (2, 3):
            for strides in (1, 2):
                for padding in ("valid", "same"):
                    name = f"{kind} kernel {kernel} strides {strides} {padding}"
                    case(name, [make(kernel_size=kernel, strides=strides, padding=padding)], (7, 6, 3))
        case(f"{kind} multiplier 2", [make(kernel_size=3, depth_multiplier=2)], (6, 7, 3))
        case(f"{kind} multiplier 3 same strides 2", [make(kernel_size=3, depth_multiplier=3, padding="same", strides=2)], (6, 7, 2))
        case(f"{kind} dilation 2", [make(kernel_size=3, dilation_rate=2)], (8, 9, 3))
        case(f"{kind} dilation 2 same", [make(kernel_size=3, dilation_rate=2, padding="same")], (7, 6, 3))
        case(f"{kind} without bias", [make(kernel_size=3, use_bias=False)], (5, 5, 2))
        case(f"{kind} relu", [make(kernel_size=3, activation="relu")], (5, 5, 2))


def pooling():
    for kind, layer in (("max_pooling2d", L.MaxPooling2D), ("average_pooling2d", L.AveragePooling2D)):
        for height, width in ((7, 6), (8, 8), (5, 9)):
            for pool in (2, 3, (3, 2)):
                for strides in (None, 1, 2, (1, 3)):
                    for padding in ("valid", "same"):
                        name = f"{kind} {height}x{width} pool {pool} strides {strides} {padding}"
                        case(name, [layer(pool, strides=strides, padding=padding)], (height, width, 2))
    for kind, layer in (
        ("global_max_pooling2d", L.GlobalMaxPooling2D),
        ("global_average_pooling2d", L.GlobalAveragePooling2D),
    ):
        case(kind, [layer()], (5, 6, 3))
        case(f"{kind} keepdims", [layer(keepdims=True)], (5, 6, 3))


def shapes():
    case("flatten", [L.Flatten()], (3, 4, 2))
    case("flatten of a vector", [L.Flatten()], (6,))
    case("reshape", [L.Reshape((4, 3, 2))], (24,))
    case("reshape -1", [L.Reshape((-1, 4))], (3, 4, 2))
    case("permute", [L.Permute((2, 3, 1))], (3, 4, 2))
    case("permute 2 1 3", [L.Permute((2, 1, 3))], (3, 4, 2))
    case("zero_padding2d", [L.ZeroPadding2D(2)], (3, 4, 2))
    case("zero_padding2d pair", [L.ZeroPadding2D((1, 2))], (3, 4, 2))
    case("zero_padding2d four sides", [L.ZeroPadding2D(((1, 0), (3, 2)))], (3, 4, 2))
    case("cropping2d", [L.Cropping2D(1)], (5, 6, 2))
    case("cropping2d four sides", [L.Cropping2D(((1, 0), (0, 3)))], (5, 6, 2))
    for interpolation in ("nearest", "bilinear"):
        case(f"up_sampling2d {interpolation}", [L.UpSampling2D(2, interpolation=interpolation)], (3, 4, 2))
        case(f"up_sampling2d {interpolation} pair", [L.UpSampling2D((3, 2), interpolation=interpolation)], (3, 4, 2))


def normalizations():
    for shape in ((6, 5, 3), (7,)):
        kind = "image" if len(shape) == 3 else "vector"
        case(f"batch_normalization {kind}", [L.BatchNormalization()], shape)
        case(f"batch_normalization {kind} epsilon", [L.BatchNormalization(epsilon=0.1)], shape)
        case(f"batch_normalization {kind} no scale", [L.BatchNormalization(scale=False)], shape)
        case(f"batch_normalization {kind} no center", [L.BatchNormalization(center=False)], shape)
        case(f"batch_normalization {kind} neither", [L.BatchNormalization(scale=False, center=False)], shape)
        for momentum in (0.99, 0.9, 0.5):
            layer = L.BatchNormalization(momentum=momentum)
            case(f"batch_normalization {kind} training momentum {momentum}", [layer], shape, training=True)
        layer = L.BatchNormalization(scale=False)
        case(f"batch_normalization {kind} training no scale", [layer], shape, training=True)
        case(f"layer_normalization {kind}", [L.LayerNormalization()], shape)
        case(f"layer_normalization {kind} epsilon", [L.LayerNormalization(epsilon=0.05)], shape)
        case(f"layer_normalization {kind} no scale", [L.LayerNormalization(scale=False)], shape)
        case(f"layer_normalization {kind} no center", [L.LayerNormalization(center=False)], shape)
    frozen = L.BatchNormalization()
    frozen.trainable = False
    case("batch_normalization frozen, training", [frozen], (6, 5, 3), training=True)
    case("layer_normalization all axes", [L.LayerNormalization(axis=[1, 2, 3])], (4, 5, 3))


def at_rest():
    """Layers that only act in training, and are the identity in prediction."""
    shape = (6, 5, 3)
    case("dropout", [L.Dropout(0.5)], shape)
    case("spatial_dropout2d", [L.SpatialDropout2D(0.5)], shape)
    case("gaussian_noise", [L.GaussianNoise(0.3)], shape)
    case("random_flip", [L.RandomFlip("horizontal")], shape)
    case("random_rotation", [L.RandomRotation(0.2)], shape)
    case("random_zoom", [L.RandomZoom(0.2)], shape)
    case("random_translation", [L.RandomTranslation(0.2, 0.1)], shape)
    case("random_contrast", [L.RandomContrast(0.2)], shape)
    case("random_brightness", [L.RandomBrightness(0.2)], shape)


def preprocessing():
    case("rescaling", [L.Rescaling(1 / 127.5, offset=-1)], (4, 5, 3), x=image((4, 5, 3), 0, 255))
    case("rescaling per channel", [L.Rescaling([0.1, 0.2, 0.3], offset=[1.0, 2.0, 3.0])], (4, 5, 3))
    case("normalization", [L.Normalization()], (4, 5, 3))
    case("normalization given", [L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.5, 2.5])], (4, 5, 3))
    case("normalization given scalars", [L.Normalization(mean=0.5, variance=4.0)], (4, 5, 3))
    case("normalization inverted", [L.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 1.5, 2.5], invert=True)], (4, 5, 3))
    for interpolation in ("bilinear", "nearest"):
        for height, width in ((4, 6), (11, 9), (8, 3)):
            layer = L.Resizing(height, width, interpolation=interpolation)
            case(f"resizing {interpolation} to {height}x{width}", [layer], (7, 6, 2))
    case("resizing crop_to_aspect_ratio", [L.Resizing(4, 4, crop_to_aspect_ratio=True)], (7, 12, 2))
    case("center_crop", [L.CenterCrop(4, 3)], (7, 6, 2))
    case("center_crop odd", [L.CenterCrop(3, 4)], (8, 9, 2))
    case("center_crop of a smaller image", [L.CenterCrop(8, 8)], (5, 6, 2))


def networks():
    """Whole classifiers, so that layers are also seen together."""
    case(
        "network of the tutorial",
        [
            L.Conv2D(8, 2, padding="same", activation="relu"),
            L.MaxPooling2D(2),
            L.Conv2D(12, 2, padding="same", activation="relu"),
            L.MaxPooling2D(2),
            L.Flatten(),
            L.Dense(16, activation="relu"),
            L.Dropout(0.5),
            L.Dense(10, activation="softmax"),
        ],
        (12, 12, 1),
    )
    case(
        "network with normalization",
        [
            L.Rescaling(1 / 255),
            L.Conv2D(6, 3, strides=2, use_bias=False),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.SeparableConv2D(8, 3, padding="same"),
            L.BatchNormalization(),
            L.ReLU(6.0),
            L.GlobalAveragePooling2D(),
            L.Dense(4),
        ],
        (13, 11, 3),
        x=image((13, 11, 3), 0, 255),
    )


def main():
    for group in (
        dense,
        activations,
        convolutions,
        depthwise_and_separable,
        pooling,
        shapes,
        normalizations,
        at_rest,
        preprocessing,
        networks,
    ):
        group()
    assert len({c["name"] for c in cases}) == len(cases)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "index.json", "w") as index:
        lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
        index.write(f"[\n{lines}\n]\n")
    save_file(tensors, FOLDER / "tensors.safetensors", {"keras_version": keras.__version__})
    os.chmod(FOLDER / "tensors.safetensors", 0o644)
    print(f"{len(cases)} cases, {len(tensors)} tensors, Keras {keras.__version__} on {keras.backend.backend()}")


if __name__ == "__main__":
    main()
