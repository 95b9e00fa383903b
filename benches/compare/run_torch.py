"""PyTorch: eager, compiled, and traced and frozen; channels last, as it advises, unless said; the fastest counts."""

import numpy as np
import torch
from torch import nn

from networks import draw_classes, draw_images, draw_weights, walk

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def start(threads):
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch._inductor.config.freezing = True


def about():
    return f"PyTorch {torch.__version__.split('+')[0]}"


class Flatten(nn.Module):
    """In Keras' order; nothing is moved where the memory is channels last."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def build(network):
    """The network without its softmax, with the weights of `draw_weights`."""
    modules = []
    weights = draw_weights(network)

    def add(module, **state):
        module.load_state_dict({name: tensor(array) for name, array in state.items()}, strict=False)
        modules.append(module)

    for layer in walk(network):
        config = layer.config
        own = {variable: weights[f"{layer.name}/{variable}"] for variable in layer.weights}
        bias = {"bias": own["bias"]} if "bias" in own else {}
        if layer.kind in ("Conv2D", "DepthwiseConv2D"):
            depthwise = layer.kind == "DepthwiseConv2D"
            top, bottom, left, right = layer.padding
            padding = (top, left)
            if (top, left) != (bottom, right):
                padding = 0
                add(nn.ZeroPad2d((left, right, top, bottom)))
            convolution = nn.Conv2d(
                layer.input[-1], layer.output[-1], config["kernel_size"], config.get("strides", 1), padding,
                groups=layer.input[-1] if depthwise else 1, bias=bool(bias),
            )  # fmt: skip
            kernel = own["kernel"].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            add(convolution, weight=kernel, **bias)
        elif layer.kind == "BatchNormalization":
            add(
                nn.BatchNorm2d(layer.input[-1], eps=1e-3, momentum=0.01),
                weight=own["gamma"], bias=own["beta"],
                running_mean=own["moving_mean"], running_var=own["moving_variance"],
            )  # fmt: skip
        elif layer.kind == "MaxPooling2D":
            add(nn.MaxPool2d(config["pool_size"]))
        elif layer.kind == "Flatten":
            add(Flatten())
        elif layer.kind == "GlobalAveragePooling2D":
            add(Mean())
        elif layer.kind == "Dense":
            add(nn.Linear(layer.input[-1], layer.output[-1]), weight=own["kernel"].T, **bias)
        if config.get("activation") == "relu":
            add(nn.ReLU())
    return nn.Sequential(*modules)


def eager(module, _):
    return module


def frozen(module, images):
    return torch.jit.optimize_for_inference(torch.jit.trace(module, images))


def compiled(module, _):
    # As a function with code of its own: what is compiled of the same code, for other networks and batches too, is
    # looked through at each call, and past some number no longer compiled.
    names = {"module": module}
    exec(f"def run_{id(module)}(x):\n    return module(x)", names)
    return torch.compile(names[f"run_{id(module)}"], dynamic=False, fullgraph=True)


def images_of(network, batch, layout):
    return tensor(draw_images(network, batch).transpose(0, 3, 1, 2)).to(memory_format=LAYOUTS[layout])


def classifier(network, layout):
    return nn.Sequential(*build(network), nn.Softmax(1)).eval().to(memory_format=LAYOUTS[layout])


def inference(prepare, network, batch, layout):
    images = images_of(network, batch, layout)
    with torch.inference_mode():
        run = prepare(classifier(network, layout), images)

    def step():
        with torch.inference_mode():
            return run(images)

    return step


def training(prepare, network, batch):
    images = images_of(network, batch, "channels last")
    classes = torch.from_numpy(draw_classes(batch))
    model = build(network).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    run = prepare(model, images)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(run(images), classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def scores(network, count):
    images = images_of(network, count, "channels last")
    with torch.inference_mode():
        return classifier(network, "channels last")(images).numpy()


def ways(network, mode, batch):
    if mode == "train":
        return {
            "eager": lambda: training(eager, network, batch),
            "compiled": lambda: training(compiled, network, batch),
        }
    return {
        "eager": lambda: inference(eager, network, batch, "channels last"),
        "compiled": lambda: inference(compiled, network, batch, "channels last"),
        "frozen": lambda: inference(frozen, network, batch, "channels last"),
        "frozen, channels first": lambda: inference(frozen, network, batch, "channels first"),
    }
