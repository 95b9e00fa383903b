"""The two networks of the comparison, the same weights for every server.

    python networks.py FOLDER PNG…

writes to FOLDER, for each network: NAME.onnx for ONNX Runtime, NAME.json and NAME.safetensors (Keras' architecture and
layout) for `irori import`, NAME-preprocessing.json, and NAME-expected.json: for each PNG the scores that ONNX Runtime
gives. Needs numpy, onnx, onnxruntime, safetensors and opencv-python-headless.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent / "peers"))
from inference import pixels

# Keras' layers, as a person types them for `irori import`.
NETWORKS = {
    # Bound by compute: 24 million operations an image.
    "a": (
        (28, 28, 1),
        [
            ("Conv2D", {"filters": 32, "kernel_size": [3, 3], "activation": "relu"}),
            ("Conv2D", {"filters": 64, "kernel_size": [3, 3], "activation": "relu"}),
            ("MaxPooling2D", {"pool_size": [2, 2]}),
            ("Flatten", {}),
            ("Dense", {"units": 128, "activation": "relu"}),
            ("Dense", {"units": 10, "activation": "softmax"}),
        ],
    ),
    # The tutorial's, bound by what surrounds it: 2 million operations.
    "b": (
        (28, 28, 3),
        [
            ("Conv2D", {"filters": 32, "kernel_size": [2, 2], "padding": "same"}),
            ("MaxPooling2D", {"pool_size": [2, 2]}),
            ("Conv2D", {"filters": 32, "kernel_size": [2, 2], "padding": "same"}),
            ("MaxPooling2D", {"pool_size": [2, 2]}),
            ("Flatten", {}),
            ("Dense", {"units": 10, "activation": "softmax"}),
        ],
    ),
}
SEED = 6


def glorot(random, shape):
    """Keras' default initializer, for kernels of any rank."""
    field = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return random.uniform(-limit, limit, shape).astype(np.float32)


class Onnx:
    """An ONNX graph that grows by a node at a time: channels first, as ONNX Runtime wants it."""

    def __init__(self, height, width, channels):
        self.nodes, self.weights, self.last = [], [], "image"
        self.input = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, height, width])

    def add(self, operation, weights=(), **attributes):
        output = f"{operation.lower()}_{len(self.nodes)}"
        names = [f"{output}_weight_{i}" for i in range(len(weights))]
        self.weights += [numpy_helper.from_array(np.ascontiguousarray(w), n) for w, n in zip(weights, names)]
        self.nodes.append(helper.make_node(operation, [self.last, *names], [output], **attributes))
        self.last = output

    def write(self, path):
        output = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["batch", 10])
        graph = helper.make_graph(self.nodes, "network", [self.input], [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def make(folder, name, input_shape, layers):
    """Writes one network in both forms."""
    random = np.random.default_rng(SEED)
    height, width, channels = input_shape
    graph, tensors, typed = Onnx(*input_shape), {}, []
    flattened_from = None
    for number, (kind, config) in enumerate(layers):
        layer = f"{kind.lower()}_{number}"
        typed.append({"class_name": kind, "config": {"name": layer, **config}})
        if kind == "Conv2D":
            kernel = glorot(random, (*config["kernel_size"], channels, config["filters"]))
            bias = random.uniform(-0.1, 0.1, config["filters"]).astype(np.float32)
            tensors |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
            same = config.get("padding") == "same"
            # Height, width, in, out becomes out, in, height, width.
            weights = [kernel.transpose(3, 2, 0, 1), bias]
            graph.add("Conv", weights, auto_pad="SAME_UPPER" if same else "VALID")
            channels = config["filters"]
            if not same:
                height, width = (size - window + 1 for size, window in zip((height, width), config["kernel_size"]))
        elif kind == "MaxPooling2D":
            graph.add("MaxPool", kernel_shape=config["pool_size"], strides=config["pool_size"])
            height, width = (size // pool for size, pool in zip((height, width), config["pool_size"]))
        elif kind == "Flatten":
            graph.add("Flatten")
            flattened_from, channels = (height, width, channels), height * width * channels
        elif kind == "Dense":
            kernel = glorot(random, (channels, config["units"]))
            bias = random.uniform(-0.1, 0.1, config["units"]).astype(np.float32)
            tensors |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
            if flattened_from:
                # Keras flattens channels last, ONNX channels first: the rows change their order.
                rows = kernel.reshape(*flattened_from, -1).transpose(2, 0, 1, 3)
                kernel, flattened_from = rows.reshape(kernel.shape), None
            graph.add("Gemm", [kernel, bias])
            channels = config["units"]
        if config.get("activation") == "relu":
            graph.add("Relu")
        elif config.get("activation") == "softmax":
            graph.add("Softmax", axis=-1)
    typed[0]["config"]["input_shape"] = list(input_shape)
    graph.write(folder / f"{name}.onnx")
    (folder / f"{name}.json").write_text(json.dumps({"layers": typed}, indent=1))
    save_file(tensors, folder / f"{name}.safetensors")
    color = "grayscale" if input_shape[-1] == 1 else "rgb"
    (folder / f"{name}-preprocessing.json").write_text(json.dumps({"color": color, "scale": 1 / 255}))


def main():
    folder, pngs = pathlib.Path(sys.argv[1]), sys.argv[2:]
    for name, (input_shape, layers) in NETWORKS.items():
        make(folder, name, input_shape, layers)
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        images = np.stack([pixels(pathlib.Path(png).read_bytes(), input_shape[-1]) for png in pngs])
        (scores,) = session.run(None, {"image": images})
        (folder / f"{name}-expected.json").write_text(json.dumps(dict(zip(pngs, scores.tolist()))))


if __name__ == "__main__":
    main()
