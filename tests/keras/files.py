"""Writes tests/fixtures/interchange: model files as Keras 3, tf_keras 2, Keras 2.0 and Keras 1 write them.

    python tests/keras/files.py

The files of Keras 3 and tf_keras are written by those; those of the older ones, which no longer install, are laid out by
hand after their sources (keras/engine/topology.py and keras/models.py of Keras 1.2 and 2.0). expected.safetensors holds
what must be read from each: tensors named `<file>:<layer>/<variable>`, in Keras 3's channels-last layouts.
"""

import io
import json
import os
import pathlib
import zipfile

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
import tf_keras
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "interchange"

random = np.random.default_rng(20170403)
expected = {}


def expect(file, weights):
    """Keeps what must be read from the file; equal copies are cheap to store and plain to read."""
    for path, value in weights.items():
        expected[f"{file}:{path}"] = np.ascontiguousarray(value, dtype=np.float32)


def variables(model):
    """`<layer>/<variable>` of each weight, with Keras 3's names for the variables."""
    names = {}
    for layer in model.layers:
        for variable in layer.weights:
            name = variable.name.rsplit("/", 1)[-1].removesuffix(":0")
            if type(layer).__name__ == "DepthwiseConv2D" and name == "depthwise_kernel":
                name = "kernel"
            names[f"{layer.name}/{name}"] = variable
    return names


def fill(model):
    for path, variable in variables(model).items():
        low, high = (0.3, 2.0) if path.endswith(("variance", "gamma")) else (-0.5, 0.5)
        if path.endswith("/count"):
            continue
        variable.assign(random.uniform(low, high, variable.shape))


def values(model):
    return {path: v.numpy().astype("float32") for path, v in variables(model).items() if not path.endswith("/count")}


def network(k):
    """Each layer with weights, some twice, for either Keras."""
    L = k.layers
    return [
        L.Conv2D(3, (3, 2), activation="relu"),
        L.BatchNormalization(),
        L.Conv2D(4, 2, padding="same", use_bias=False),
        L.LayerNormalization(),
        L.DepthwiseConv2D(2),
        L.SeparableConv2D(3, 2),
        L.MaxPooling2D(2),
        L.Dropout(0.25),
        L.Flatten(),
        L.Dense(5),
        L.ReLU(),
        L.Dense(4),
        L.Activation("softmax"),
    ]


def by_keras_3():
    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((8, 7, 2)), keras.layers.Normalization(), *network(keras)], name="classifier")
    fill(model)
    model.compile(keras.optimizers.Adam(0.002), "categorical_crossentropy", metrics=["accuracy"])
    # The archive first: saving as .h5 makes Keras 3 forget the optimizer in what it saves afterwards.
    for file in ("keras3.keras", "keras3.h5", "keras3.weights.h5"):
        save = model.save_weights if ".weights." in file else model.save
        save(FOLDER / file)
        expect(file, values(model))
    (FOLDER / "keras3.json").write_text(model.to_json())
    deflate("keras3.keras", "deflated.keras")
    expect("deflated.keras", values(model))

    for dtype in ("float16", "bfloat16", "float64", "mixed_float16"):
        keras.utils.clear_session()
        policy = keras.dtype_policies.DTypePolicy(dtype)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, dtype=policy), keras.layers.Dense(2, dtype=policy)])
        fill(model)
        for kind in ("h5", "keras"):
            model.save(FOLDER / f"{dtype}.{kind}")
            expect(f"{dtype}.{kind}", values(model))

    keras.utils.clear_session()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Lambda(lambda x: x * 2)])
    model.save(FOLDER / "lambda.h5")
    model.save(FOLDER / "lambda.keras")


def by_tf_keras():
    tf_keras.backend.clear_session()
    layers = network(tf_keras)
    model = tf_keras.Sequential([tf_keras.layers.InputLayer((8, 7, 2)), *layers])
    fill(model)
    model.compile(tf_keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    for file in ("tf_keras.h5", "tf_keras.keras", "tf_keras_weights.h5", "tf_keras.weights.h5"):
        save = model.save_weights if "weights" in file else model.save
        save(FOLDER / file)
        expect(file, values(model))
    (FOLDER / "tf_keras.json").write_text(model.to_json())
    as_keras_2_14("tf_keras.keras", "keras2_14.keras")
    expect("keras2_14.keras", values(model))


def as_keras_2_14(file, into):
    """As Keras 2.12 to 2.14 named the group of the layers in an archive; all else is as in tf_keras."""
    with zipfile.ZipFile(FOLDER / file) as new, zipfile.ZipFile(FOLDER / into, "w") as old:
        for entry in new.infolist():
            content = new.read(entry)
            if entry.filename == "model.weights.h5":
                weights = io.BytesIO(content)
                with h5py.File(weights, "r+") as f:
                    f.move("layers", "_layer_checkpoint_dependencies")
                content = weights.getvalue()
            old.writestr(entry.filename, content)


def deflate(file, into):
    """As someone who unpacks an archive and zips it again."""
    with zipfile.ZipFile(FOLDER / file) as stored, zipfile.ZipFile(FOLDER / into, "w", zipfile.ZIP_DEFLATED) as deflated:
        for entry in stored.infolist():
            deflated.writestr(entry.filename, stored.read(entry))


def write_old(file, config, weights, version, backend, fixed=True, chunks=1):
    """A whole model as Keras 1 and 2.0 wrote it. `weights` is a list of (layer, [(weight name, array)])."""

    def names(list_):
        return np.array([n.encode() for n in list_]) if fixed else [n.encode() for n in list_]

    with h5py.File(FOLDER / file, "w") as f:
        if version:
            f.attrs["keras_version"] = version.encode()
        if backend:
            f.attrs["backend"] = backend.encode()
        f.attrs["model_config"] = json.dumps(config).encode()
        group = f.create_group("model_weights")
        layer_names = [layer for layer, _ in weights]
        if chunks == 1:
            group.attrs["layer_names"] = names(layer_names)
        else:
            for i, part in enumerate(np.array_split(layer_names, chunks)):
                group.attrs[f"layer_names{i}"] = names(part)
        if version and version[0] != "1":
            group.attrs["keras_version"] = version.encode()
            group.attrs["backend"] = backend.encode()
        for layer, arrays in weights:
            g = group.create_group(layer)
            g.attrs["weight_names"] = names([n for n, _ in arrays])
            for name, array in arrays:
                g[name] = array.astype(np.float32)


def apart(file, config):
    """The whole model of `file` once more as a file of its weights, as save_weights wrote it, and its to_json()."""
    stem = file.removesuffix(".h5")
    (FOLDER / f"{stem}.json").write_text(json.dumps(config))
    with h5py.File(FOLDER / file) as whole, h5py.File(FOLDER / f"{stem}_weights.h5", "w") as weights:
        for name, value in whole["model_weights"].attrs.items():
            weights.attrs[name] = value
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", weights)
        if "backend" in whole.attrs:
            weights.attrs["backend"] = whole.attrs["backend"]


def draw(*shape):
    return random.uniform(-0.5, 0.5, shape).astype(np.float32)


def by_keras_2_0():
    """Sequential's config is a list, the first layer has batch_input_shape, and no InputLayer is listed anywhere."""
    conv, bias, kernel, bias2 = draw(3, 3, 1, 4), draw(4), draw(64, 3), draw(3)
    initializer = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}}
    zeros = {"class_name": "Zeros", "config": {}}
    common = {
        "trainable": True, "use_bias": True, "kernel_initializer": initializer, "bias_initializer": zeros,
        "kernel_regularizer": None, "bias_regularizer": None, "activity_regularizer": None,
        "kernel_constraint": None, "bias_constraint": None,
    }  # fmt: skip
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Conv2D", "config": {
                "name": "conv2d_1", "batch_input_shape": [None, 10, 10, 1], "dtype": "float32", "filters": 4,
                "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "data_format": "channels_last",
                "dilation_rate": [1, 1], "activation": "relu", **common}},
            {"class_name": "MaxPooling2D", "config": {
                "name": "max_pooling2d_1", "trainable": True, "pool_size": [2, 2], "padding": "valid", "strides": [2, 2],
                "data_format": "channels_last"}},
            {"class_name": "Dropout", "config": {"name": "dropout_1", "trainable": True, "rate": 0.25}},
            {"class_name": "Flatten", "config": {"name": "flatten_1", "trainable": True}},
            {"class_name": "Dense", "config": {
                "name": "dense_1", "trainable": True, "units": 3, "activation": "softmax", **common}},
        ],
    }  # fmt: skip
    weights = [
        ("conv2d_1", [("conv2d_1/kernel:0", conv), ("conv2d_1/bias:0", bias)]),
        ("max_pooling2d_1", []),
        ("dropout_1", []),
        ("flatten_1", []),
        ("dense_1", [("dense_1/kernel:0", kernel), ("dense_1/bias:0", bias2)]),
    ]
    out = {"conv2d_1/kernel": conv, "conv2d_1/bias": bias, "dense_1/kernel": kernel, "dense_1/bias": bias2}
    write_old("keras2_0.h5", config, weights, "2.0.8", "tensorflow")
    expect("keras2_0.h5", out)
    write_old("keras2_0_variable.h5", config, weights, "2.1.6", "tensorflow", fixed=False)
    expect("keras2_0_variable.h5", out)
    write_old("keras2_0_split.h5", config, weights, "2.3.1", "tensorflow", chunks=3)
    expect("keras2_0_split.h5", out)

    # Theano convolves with the kernel upside down.
    flipped = [("conv2d_1", [("conv2d_1/kernel:0", conv[::-1, ::-1]), ("conv2d_1/bias:0", bias)]), *weights[1:]]
    write_old("keras2_0_theano.h5", config, flipped, "2.0.8", "theano")
    expect("keras2_0_theano.h5", out)

    # Channels first: the kernel as always, Flatten through each channel as a whole.
    first = json.loads(json.dumps(config).replace("channels_last", "channels_first"))
    first["config"][0]["config"]["batch_input_shape"] = [None, 1, 10, 10]
    by_channel = kernel.reshape(4, 4, 4, 3).transpose(2, 0, 1, 3).reshape(64, 3)
    turned = [*weights[:-1], ("dense_1", [("dense_1/kernel:0", by_channel), ("dense_1/bias:0", bias2)])]
    write_old("keras2_0_channels_first.h5", first, turned, "2.0.8", "tensorflow")
    expect("keras2_0_channels_first.h5", out)
    apart("keras2_0_channels_first.h5", first)
    save_file({**out, "dense_1/kernel": by_channel}, FOLDER / "keras2_0_channels_first.safetensors")
    os.chmod(FOLDER / "keras2_0_channels_first.safetensors", 0o644)


def by_keras_1():
    """Other names for layers and options; weights named after the layer with a letter."""
    conv, bias = draw(3, 2, 2, 4), draw(4)
    gamma, beta, mean, variance = (random.uniform(0.3, 2.0, 4).astype(np.float32) for _ in range(4))
    kernel, bias2 = draw(4 * 4 * 4, 3), draw(3)
    unused = {
        "trainable": True, "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
        "W_constraint": None, "b_constraint": None, "bias": True,
    }  # fmt: skip
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Convolution2D", "config": {
                "name": "convolution2d_1", "batch_input_shape": [None, 6, 5, 2], "input_dtype": "float32", "nb_filter": 4,
                "nb_row": 3, "nb_col": 2, "subsample": [1, 1], "border_mode": "valid", "dim_ordering": "tf",
                "init": "glorot_uniform", "activation": "relu", **unused}},
            {"class_name": "BatchNormalization", "config": {
                "name": "batchnormalization_1", "trainable": True, "axis": -1, "mode": 0, "momentum": 0.99, "epsilon": 0.001,
                "gamma_regularizer": None, "beta_regularizer": None}},
            {"class_name": "Flatten", "config": {"name": "flatten_1", "trainable": True}},
            {"class_name": "Dense", "config": {
                "name": "dense_1", "output_dim": 3, "init": "glorot_uniform", "activation": "softmax", "input_dim": None, **unused}},
        ],
    }  # fmt: skip
    weights = [
        ("convolution2d_1", [("convolution2d_1_W:0", conv), ("convolution2d_1_b:0", bias)]),
        ("batchnormalization_1", [
            ("batchnormalization_1_gamma:0", gamma), ("batchnormalization_1_beta:0", beta),
            ("batchnormalization_1_running_mean:0", mean), ("batchnormalization_1_running_std:0", variance)]),
        ("flatten_1", []),
        ("dense_1", [("dense_1_W:0", kernel), ("dense_1_b:0", bias2)]),
    ]  # fmt: skip
    out = {
        "convolution2d_1/kernel": conv, "convolution2d_1/bias": bias,
        "batchnormalization_1/gamma": gamma, "batchnormalization_1/beta": beta,
        "batchnormalization_1/moving_mean": mean, "batchnormalization_1/moving_variance": variance,
        "dense_1/kernel": kernel, "dense_1/bias": bias2,
    }  # fmt: skip
    write_old("keras1.h5", config, weights, "1.2.2", None)
    expect("keras1.h5", out)

    # As Theano had it: channels first, kernels [out, in, height, width] and upside down, no version.
    first = json.loads(json.dumps(config).replace('"dim_ordering": "tf"', '"dim_ordering": "th"'))
    first["config"][0]["config"]["batch_input_shape"] = [None, 2, 6, 5]
    first["config"][1]["config"]["axis"] = 1
    theano = conv[::-1, ::-1].transpose(3, 2, 0, 1)
    by_channel = kernel.reshape(4, 4, 4, 3).transpose(2, 0, 1, 3).reshape(64, 3)
    turned = [
        ("convolution2d_1", [("convolution2d_1_W", theano), ("convolution2d_1_b", bias)]),
        *weights[1:3],
        ("dense_1", [("dense_1_W", by_channel), ("dense_1_b", bias2)]),
    ]
    write_old("keras1_theano.h5", first, turned, "1.2.2", "theano")
    expect("keras1_theano.h5", out)
    apart("keras1_theano.h5", first)


def hostile():
    """Files that claim more than they hold."""
    dense = {"name": "dense", "units": 20000, "use_bias": False, "batch_input_shape": [None, 20000]}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "Dense", "config": dense}]}}
    with h5py.File(FOLDER / "unwritten.h5", "w") as f:
        f.attrs["model_config"] = json.dumps(config)
        group = f.create_group("model_weights")
        group.attrs["layer_names"] = ["dense"]
        layer = group.create_group("dense")
        layer.attrs["weight_names"] = ["kernel"]
        layer.create_dataset("kernel", (20000, 20000), "f4", chunks=(1000, 1000), compression="gzip")
    with h5py.File(FOLDER / "circular.h5", "w") as f:
        f.attrs["model_config"] = json.dumps(config)
        f["model_weights"] = h5py.SoftLink("/b")
        f["b"] = h5py.SoftLink("/model_weights")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    by_keras_3()
    by_tf_keras()
    by_keras_2_0()
    by_keras_1()
    hostile()
    save_file(expected, FOLDER / "expected.safetensors", {"keras": keras.__version__, "tf_keras": tf_keras.__version__})
    os.chmod(FOLDER / "expected.safetensors", 0o644)
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.stat().st_size:8} {path.name}")


if __name__ == "__main__":
    main()
