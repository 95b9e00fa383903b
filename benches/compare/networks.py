"""The networks that are compared, each written once, as Irori and Keras read them.

`walk` adds the shapes that the builders for other runtimes need, `draw_weights` the weights that all of them get.
"""

from math import ceil, prod
from typing import Iterator, NamedTuple

import numpy as np

CLASSES = 10


def conv(filters, size, **config):
    return "Conv2D", {"filters": filters, "kernel_size": [size, size], **config}


def depthwise(size, **config):
    return "DepthwiseConv2D", {"kernel_size": [size, size], "padding": "same", **config}


def pool():
    return "MaxPooling2D", {"pool_size": [2, 2]}


def dense(units, activation):
    return "Dense", {"units": units, "activation": activation}


def normalized(convolution):
    """A convolution, batch normalization, relu."""
    name, config = convolution
    return [(name, {**config, "use_bias": False}), ("BatchNormalization", {}), ("Activation", {"activation": "relu"})]


def twice(filters):
    """Two convolutions as in VGG, and a pool."""
    return 2 * normalized(conv(filters, 3, padding="same")) + [pool()]


def separable(filters, stride):
    """A block as in MobileNet."""
    return normalized(depthwise(3, strides=[stride, stride])) + normalized(conv(filters, 1))


FLATTEN = ("Flatten", {})
CLASSIFY = dense(CLASSES, "softmax")

NETWORKS = {
    "A": (
        [28, 28, 1],
        [conv(32, 3, activation="relu"), conv(64, 3, activation="relu"), pool(), FLATTEN, dense(128, "relu"), CLASSIFY],
    ),
    "B": (
        [28, 28, 3],
        [conv(32, 2, padding="same"), pool(), conv(32, 2, padding="same"), pool(), FLATTEN, CLASSIFY],
    ),
    "C": (
        [32, 32, 3],
        [*twice(32), *twice(64), *twice(128), FLATTEN, dense(128, "relu"), CLASSIFY],
    ),
    "D": (
        [96, 96, 3],
        [
            *separable(32, 2),
            *separable(64, 1),
            *separable(128, 2),
            *separable(128, 1),
            *separable(256, 2),
            ("GlobalAveragePooling2D", {}),
            CLASSIFY,
        ],
    ),
}

DESCRIPTIONS = {
    "A": "two 3×3 convolutions and two dense layers on 28×28×1",
    "B": "the tutorial's: two 2×2 convolutions and a dense layer on 28×28×3",
    "C": "as VGG: six 3×3 convolutions with batch normalization on 32×32×3",
    "D": "as MobileNet: five depthwise blocks with batch normalization on 96×96×3",
}


def document(name):
    """The architecture as Irori and Keras read it; layers are called 0, 1, 2, …"""
    shape, layers = NETWORKS[name]
    listed = [
        {"class_name": class_name, "config": {"name": f"layer_{index}", **config}}
        for index, (class_name, config) in enumerate(layers)
    ]
    listed[0]["config"]["input_shape"] = shape
    return {"layers": listed}


class Layer(NamedTuple):
    """A layer with what follows from the layers before it. Shapes are without the batch axis, channels last."""

    name: str
    kind: str
    config: dict
    input: list
    output: list
    weights: dict
    """Names and shapes, in Keras' layouts."""
    padding: tuple = (0, 0, 0, 0)
    """Rows above and below, columns to the left and right."""


def walk(name) -> Iterator[Layer]:
    shape, layers = NETWORKS[name]
    for index, (kind, config) in enumerate(layers):
        *places, channels = output = list(shape)
        weights, padding = {}, (0, 0, 0, 0)
        if kind in ("Conv2D", "DepthwiseConv2D", "MaxPooling2D"):
            size = config.get("kernel_size") or config["pool_size"]
            strides = config.get("strides", [1, 1] if kind != "MaxPooling2D" else size)
            if config.get("padding") == "same":
                places, padding = [ceil(extent / stride) for extent, stride in zip(places, strides)], ()
                for axis in range(2):
                    total = max((places[axis] - 1) * strides[axis] + size[axis] - shape[axis], 0)
                    padding += (total // 2, total - total // 2)
            else:
                places = [(places[axis] - size[axis]) // strides[axis] + 1 for axis in range(2)]
            if kind == "Conv2D":
                weights["kernel"] = [*size, channels, config["filters"]]
                channels = config["filters"]
            elif kind == "DepthwiseConv2D":
                weights["kernel"] = [*size, channels, 1]
            if weights and config.get("use_bias", True):
                weights["bias"] = [channels]
            output = [*places, channels]
        elif kind == "Dense":
            output = [config["units"]]
            weights = {"kernel": [channels, config["units"]], "bias": output}
        elif kind == "BatchNormalization":
            weights = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), [channels])
        elif kind == "Flatten":
            output = [prod(shape)]
        elif kind == "GlobalAveragePooling2D":
            output = [channels]
        yield Layer(f"layer_{index}", kind, config, shape, output, weights, padding)
        shape = output


def draw_weights(name, seed=0):
    """Weights that keep the size of what goes through, none of them trivial: `layer/variable` to array."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in walk(name):
        for variable, shape in layer.weights.items():
            if variable == "kernel":
                inputs = prod(shape[:2]) if layer.kind == "DepthwiseConv2D" else prod(shape[:-1])
                values = rng.normal(0, (2 / inputs) ** 0.5, shape)
            elif variable in ("gamma", "moving_variance"):
                values = rng.uniform(0.5, 1.5, shape)
            else:
                values = rng.normal(0, 0.1, shape)
            weights[f"{layer.name}/{variable}"] = values.astype(np.float32)
    return weights


def draw_images(name, count, seed=1):
    """Images in 0..1, `[count, height, width, channels]`."""
    shape, _ = NETWORKS[name]
    return np.random.default_rng(seed).random((count, *shape), dtype=np.float32)


def draw_classes(count, seed=2):
    return np.random.default_rng(seed).integers(0, CLASSES, count)
