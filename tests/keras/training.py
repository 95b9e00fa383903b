"""Writes tests/fixtures/keras-training: how Keras trains, step by step, for each optimizer and loss.

    python tests/keras/training.py

index.json lists the runs: {name, architecture, optimizer, loss, x, y, initial, losses, final}. `x` names a tensor of
30 batches, [30, 8, height, width, channels], and `y` their targets: [30, 8, outputs], or [30, 8] class indices for
the sparse loss. `initial` and `final` map each `<layer>/<variable>` to a tensor; `losses` has the loss of each batch
before its step (with the penalties of regularizers, as Keras reports it).
"""

import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers as L
from keras import optimizers as O
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "keras-training"
STEPS, BATCH, SHAPE, CLASSES = 30, 8, (6, 6, 2), 3

OPTIMIZERS = {
    "sgd": lambda: O.SGD(0.1),
    "sgd momentum": lambda: O.SGD(0.02, momentum=0.9),
    "sgd nesterov": lambda: O.SGD(0.02, momentum=0.9, nesterov=True),
    "rmsprop": lambda: O.RMSprop(0.005),
    "rmsprop momentum": lambda: O.RMSprop(0.002, momentum=0.5),
    "rmsprop centered": lambda: O.RMSprop(0.002, centered=True),
    "rmsprop centered momentum": lambda: O.RMSprop(0.002, momentum=0.5, centered=True),
    "adagrad": lambda: O.Adagrad(0.05),
    "adadelta": lambda: O.Adadelta(1.0),
    "adam": lambda: O.Adam(0.01),
    # With a short memory, so that the second moment also falls and amsgrad differs from plain Adam.
    "adam short memory": lambda: O.Adam(0.02, beta_1=0.5, beta_2=0.5),
    "adam amsgrad": lambda: O.Adam(0.02, beta_1=0.5, beta_2=0.5, amsgrad=True),
}
# Loss, outputs, last activation.
LOSSES = {
    "mean_squared_error": (CLASSES, "linear"),
    "categorical_crossentropy": (CLASSES, "softmax"),
    "sparse_categorical_crossentropy": (CLASSES, "softmax"),
    "binary_crossentropy": (1, "sigmoid"),
}

random = np.random.default_rng(20170402)
tensors = {}
runs = []


def examples():
    """Images whose class is told by where they are bright, under noise."""
    classes = random.integers(0, CLASSES, (STEPS, BATCH))
    x = random.normal(0, 0.5, (STEPS, BATCH, *SHAPE)).astype(np.float32)
    for step in range(STEPS):
        for i, c in enumerate(classes[step]):
            x[step, i, 2 * c : 2 * c + 2, :, c % SHAPE[2]] += 1
    tensors["x"] = x
    tensors["y one-hot"] = np.eye(CLASSES, dtype=np.float32)[classes]
    tensors["y class"] = classes.astype(np.float32)
    tensors["y binary"] = (classes == 0).astype(np.float32)[..., None]
    tensors["y many"] = np.stack([classes == 0, classes != 1, classes == 2], -1).astype(np.float32)


def targets(loss, outputs):
    if loss == "sparse_categorical_crossentropy":
        return "y class"
    if loss == "binary_crossentropy":
        return "y binary" if outputs == 1 else "y many"
    return "y one-hot"


def network(outputs, activation, regularizer=None):
    # No bias before BatchNormalization: its gradient is zero but for rounding, which Adam and its like would
    # blow up to full steps.
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            L.Conv2D(4, 3, use_bias=False, kernel_regularizer=regularizer),
            L.BatchNormalization(momentum=0.9),
            L.Activation("tanh"),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(5, activation="sigmoid"),
            L.Dense(outputs, activation=activation, kernel_regularizer=regularizer),
        ]
    )


def weights(model):
    return {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}


initial_weights = {}


def run(name, optimizer, loss, outputs, activation, regularizer=None):
    keras.utils.clear_session()
    model = network(outputs, activation, regularizer)
    initial = {}
    for path, variable in weights(model).items():
        key = (path, *variable.shape)
        if key not in initial_weights:
            positive = variable.name in ("gamma", "moving_variance")
            low, high = (0.5, 1.5) if positive else (-0.5, 0.5)
            initial_weights[key] = random.uniform(low, high, variable.shape).astype(np.float32)
        initial[path] = f"initial {path} {'x'.join(map(str, variable.shape))}"
        tensors[initial[path]] = initial_weights[key]
        variable.assign(initial_weights[key])
    model.compile(optimizer, loss)
    x, y = "x", targets(loss, outputs)
    losses = []
    for step in range(STEPS):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(tensors[x][step], tensors[y][step])))
    final = {}
    for path, variable in weights(model).items():
        final[path] = f"{name}: {path}"
        tensors[final[path]] = variable.numpy()
    runs.append(
        {
            "name": name,
            "architecture": json.loads(model.to_json()),
            "optimizer": keras.optimizers.serialize(optimizer),
            "loss": loss,
            "x": x,
            "y": y,
            "initial": initial,
            "losses": losses,
            "final": final,
        }
    )
    print(f"{name}: {losses[0]:.5f} -> {losses[-1]:.5f}")


def main():
    examples()
    for optimizer, make in OPTIMIZERS.items():
        for loss, (outputs, activation) in LOSSES.items():
            run(f"{optimizer}, {loss}", make(), loss, outputs, activation)
    run("adam, binary_crossentropy of many", O.Adam(0.01), "binary_crossentropy", CLASSES, "sigmoid")
    run("sgd, mean_squared_error of softmax", O.SGD(0.1), "mean_squared_error", CLASSES, "softmax")
    penalty = keras.regularizers.L1L2(0.001, 0.01)
    run("sgd, categorical_crossentropy, regularized", O.SGD(0.1), "categorical_crossentropy", CLASSES, "softmax", penalty)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "index.json", "w") as index:
        lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in runs)
        index.write(f"[\n{lines}\n]\n")
    save_file(tensors, FOLDER / "tensors.safetensors", {"keras_version": keras.__version__})
    os.chmod(FOLDER / "tensors.safetensors", 0o644)
    print(f"{len(runs)} runs, Keras {keras.__version__} on {keras.backend.backend()}")


if __name__ == "__main__":
    main()
