"""ONNX Runtime: ONNX graphs of a fixed batch size, all optimizations on, inputs and outputs bound once."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from networks import CLASSES, NETWORKS, draw_images, draw_weights, walk

options = onnxruntime.SessionOptions()


def start(threads):
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def about():
    return f"ONNX Runtime {onnxruntime.__version__}"


def graph(network, batch):
    """Channels first, as ONNX has it; the rows of the first dense layer are put in that order."""
    nodes, initializers = [], []
    weights = draw_weights(network)
    value, flattened = "x", None

    def constant(name, array):
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(operator, inputs, output, **attributes):
        nonlocal value
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        value = output

    for layer in walk(network):
        name, config = layer.name, layer.config
        own = {variable: weights[f"{name}/{variable}"] for variable in layer.weights}
        if layer.kind in ("Conv2D", "DepthwiseConv2D"):
            depthwise = layer.kind == "DepthwiseConv2D"
            kernel = own["kernel"].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            inputs = [value, constant(f"{name}.kernel", kernel)]
            if "bias" in own:
                inputs.append(constant(f"{name}.bias", own["bias"]))
            top, bottom, left, right = layer.padding
            add(
                "Conv", inputs, name, kernel_shape=config["kernel_size"], strides=config.get("strides", [1, 1]),
                pads=[top, left, bottom, right], group=layer.input[-1] if depthwise else 1,
            )  # fmt: skip
        elif layer.kind == "BatchNormalization":
            order = ("gamma", "beta", "moving_mean", "moving_variance")
            add("BatchNormalization", [value, *(constant(f"{name}.{v}", own[v]) for v in order)], name, epsilon=1e-3)
        elif layer.kind == "MaxPooling2D":
            add("MaxPool", [value], name, kernel_shape=config["pool_size"], strides=config["pool_size"])
        elif layer.kind == "Flatten":
            flattened = layer.input
            add("Flatten", [value], name)
        elif layer.kind == "GlobalAveragePooling2D":
            add("GlobalAveragePool", [value], f"{name}.mean")
            add("Flatten", [value], name)
        elif layer.kind == "Dense":
            kernel = own["kernel"]
            if flattened:
                kernel = kernel.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
                flattened = None
            add("Gemm", [value, constant(f"{name}.kernel", kernel), constant(f"{name}.bias", own["bias"])], name)
        activation = config.get("activation")
        if activation:
            add({"relu": "Relu", "softmax": "Softmax"}[activation], [value], f"{name}.{activation}")
    (height, width, channels), _ = NETWORKS[network]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, height, width])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, [batch, CLASSES])
    model = helper.make_model(
        helper.make_graph(nodes, network, [x], [y], initializers), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bound(network, batch):
    session = onnxruntime.InferenceSession(graph(network, batch), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    images = np.ascontiguousarray(draw_images(network, batch).transpose(0, 3, 1, 2))
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(images))
    scores = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((batch, CLASSES), np.float32))
    binding.bind_ortvalue_output(session.get_outputs()[0].name, scores)
    return lambda: session.run_with_iobinding(binding), scores


def scores(network, count):
    step, result = bound(network, count)
    step()
    return result.numpy().copy()


def ways(network, mode, batch):
    return {"session": lambda: bound(network, batch)[0]} if mode == "forward" else {}
