"""Keras on TensorFlow: predictions as TensorFlow's graphs and compiled by XLA, of which the faster counts; training as
graphs, for XLA takes many times as long there.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from networks import document, draw_classes, draw_images, draw_weights


def start(threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def about():
    return f"Keras {keras.__version__} on TensorFlow {tf.__version__}"


def build(network):
    model = keras.Sequential(layers_of(document(network)))
    weights = draw_weights(network)
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(weights[f"{layer.name}/{variable.name}"])
    return model


def layers_of(document):
    """The layers of a document, with the input in front."""
    first, *_ = listed = [dict(layer.get("config", {})) for layer in document["layers"]]
    yield keras.Input(first.pop("input_shape"))
    for layer, config in zip(document["layers"], listed):
        yield getattr(keras.layers, layer["class_name"])(**config)


def inference(network, batch, jit):
    model = build(network)
    images = tf.constant(draw_images(network, batch))
    run = tf.function(lambda x: model(x, training=False), jit_compile=jit)
    return lambda: run(images).numpy()


def training(network, batch):
    model = build(network)
    images, classes = tf.constant(draw_images(network, batch)), tf.constant(draw_classes(batch))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    # The step of `fit`, without what `fit` does around it.
    run = tf.function(lambda x, y: model.train_step((x, y))["loss"])
    return lambda: float(run(images, classes))


def scores(network, count):
    return build(network)(draw_images(network, count), training=False).numpy()


def ways(network, mode, batch):
    if mode == "train":
        return {"graph": lambda: training(network, batch)}
    return {
        "graph": lambda: inference(network, batch, False),
        "XLA": lambda: inference(network, batch, True),
    }
