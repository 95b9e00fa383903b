"""Checks Irori against Keras itself: random models there and back, number for number.

    python tests/keras/live.py --irori target/release/irori [--count 100] [--seed 1]

Each model is made from the seed, saved by Keras as .h5 and as .keras, imported by Irori and run there; then exported by
Irori as .h5 and as .keras, loaded by Keras (and the .h5 by tf_keras, where it is installed) and run there. All must agree
with the original's predictions: probabilities within 1e-4, other outputs within 1e-4 of their largest. Loaded models must
also be compiled, so that evaluate() works at once. Exits with 1 at the first disagreement, and keeps its files.
"""

import argparse
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers as L
from safetensors.numpy import load_file, save_file

try:
    import tf_keras
except ImportError:
    tf_keras = None

# A new model each time makes TensorFlow trace anew, and an optimizer without state is loaded without state: both are meant.
for logger in ("tensorflow", "absl"):
    logging.getLogger(logger).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message=".*retracing|.*variable loading for optimizer|.*deprecated")

ACTIVATIONS = ["relu", "tanh", "sigmoid", "elu", "selu", "softplus", "silu", "gelu", "linear", "leaky_relu", "hard_sigmoid"]
# tf_keras computes hard_sigmoid by another formula, and knows no activation of the name leaky_relu's slope.
NOT_IN_TF_KERAS = {"hard_sigmoid", "leaky_relu"}
TOLERANCE = 1e-4


def convolution(r):
    kernel = (r.randint(1, 4), r.randint(1, 4))
    strides = (r.randint(1, 2), r.randint(1, 2))
    options = {"padding": r.choice(["valid", "same"]), "use_bias": r.random() < 0.8, "activation": r.choice(ACTIVATIONS)}
    kind = r.choice(["conv", "conv", "conv", "dilated", "depthwise", "separable"])
    if kind == "conv":
        return L.Conv2D(r.randint(1, 8), kernel, strides=strides, **options)
    if kind == "dilated":
        return L.Conv2D(r.randint(1, 8), kernel, dilation_rate=(r.randint(1, 2), r.randint(1, 2)), **options)
    square = r.randint(1, 2)
    if kind == "depthwise":
        return L.DepthwiseConv2D(kernel, strides=square, depth_multiplier=r.randint(1, 2), **options)
    return L.SeparableConv2D(r.randint(1, 8), kernel, strides=square, depth_multiplier=r.randint(1, 2), **options)


def on_images(r):
    kind = r.choice(["conv"] * 5 + ["pool"] * 3 + ["norm"] * 2 + ["shape", "rest", "activation"])
    if kind == "conv":
        return convolution(r)
    if kind == "pool":
        layer = r.choice([L.MaxPooling2D, L.AveragePooling2D])
        pool = (r.randint(1, 3), r.randint(1, 3))
        return layer(pool, strides=r.choice([None, 1, 2]), padding=r.choice(["valid", "same"]))
    if kind == "norm":
        if r.random() < 0.3:
            return L.LayerNormalization(epsilon=r.choice([1e-3, 1e-5]))
        return L.BatchNormalization(epsilon=r.choice([1e-3, 1e-5]), scale=r.random() < 0.8, center=r.random() < 0.8)
    if kind == "shape":
        return r.choice(
            [
                L.ZeroPadding2D(((1, 0), (2, 1))),
                L.Cropping2D(((0, 1), (1, 0))),
                L.UpSampling2D(2),
                L.UpSampling2D((1, 2), interpolation="bilinear"),
                L.Permute((2, 1, 3)),
            ]
        )
    if kind == "rest":
        return r.choice([L.Dropout(0.3), L.SpatialDropout2D(0.2), L.GaussianNoise(0.1)])
    return r.choice([L.Activation(r.choice(ACTIVATIONS)), L.ReLU(6.0), L.LeakyReLU(), L.ELU()])


def random_model(r):
    """A Sequential classifier of images, or of vectors now and then."""
    outputs = r.randint(2, 10)
    end = r.choice([("softmax", outputs)] * 4 + [("sigmoid", 1), (None, outputs)])
    if r.random() < 0.15:
        stack = [keras.Input((r.randint(1, 30),))]
    else:
        stack = [keras.Input((r.randint(8, 20), r.randint(8, 20), r.choice([1, 3])))]
        if r.random() < 0.3:
            stack.append(L.Rescaling(1 / 127.5, offset=-1))
        model = keras.Sequential(stack)
        for _ in range(r.randint(1, 6)):
            layer = on_images(r)
            model.add(layer)
            if min(layer.output.shape[1:]) < 1:  # cropped away
                model.pop()
            elif min(layer.output.shape[1:3]) < 3:
                break
        stack = [keras.Input(model.input_shape[1:]), *model.layers]
        stack.append(r.choice([L.Flatten, L.Flatten, L.GlobalAveragePooling2D, L.GlobalMaxPooling2D])())
    for _ in range(r.randint(0, 2)):
        stack.append(L.Dense(r.randint(1, 32), activation=r.choice(ACTIVATIONS), use_bias=r.random() < 0.8))
        if r.random() < 0.3:
            stack.append(r.choice([L.Dropout(0.5), L.BatchNormalization()]))
    activation, units = end
    stack.append(L.Dense(units, activation=activation if r.random() < 0.5 else None))
    if stack[-1].activation is keras.activations.linear and activation:
        stack.append(L.Activation(activation))
    return keras.Sequential(stack), activation


def attempt(r):
    while True:
        keras.utils.clear_session()
        try:
            return random_model(r)
        except ValueError:  # a window larger than what is left of the image
            continue


def disturb(model, random):
    """Weights as after training: no statistics of 0 and 1."""
    for layer in model.layers:
        for v in layer.weights:
            if v.name in ("moving_variance", "gamma"):
                v.assign(random.uniform(0.5, 1.5, v.shape))
            elif v.name in ("moving_mean", "beta", "bias"):
                v.assign(random.uniform(-0.3, 0.3, v.shape))


def compiled(model, activation, r):
    optimizer = r.choice(["sgd", "rmsprop", "adagrad", "adadelta", keras.optimizers.Adam(0.003, amsgrad=True)])
    if activation == "softmax":
        loss = r.choice(["categorical_crossentropy", "mean_squared_error"])
    else:
        loss = "binary_crossentropy" if activation == "sigmoid" else "mean_squared_error"
    model.compile(optimizer, loss, metrics=["accuracy"])


class Check:
    def __init__(self, irori, folder):
        self.irori, self.folder, self.largest = irori, folder, 0.0

    def command(self, *arguments):
        done = subprocess.run([self.irori, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"irori {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")

    def agree(self, what, found, wanted, activation):
        if not np.isfinite(wanted).all():
            raise SystemExit(f"{what}: Keras itself gives {wanted}")
        scale = 1.0 if activation else max(1.0, float(np.abs(wanted).max()))
        difference = float(np.abs(found - wanted).max()) / scale
        self.largest = max(self.largest, difference)
        if found.shape != wanted.shape or not difference <= TOLERANCE:
            raise SystemExit(f"{what}: differs by {difference}\n{found}\n{wanted}")

    def model(self, number, r):
        model, activation = attempt(r)
        numbers = np.random.default_rng(number)
        disturb(model, numbers)
        compiled(model, activation, r)
        x = numbers.uniform(-1, 1, (3, *model.input_shape[1:])).astype(np.float32)
        wanted = model.predict(x, verbose=0)
        truth = np.eye(wanted.shape[1], dtype=np.float32)[np.arange(3) % wanted.shape[1]]
        models = self.folder / "models"
        save_file({"x": x}, self.folder / "x.safetensors")
        classes = {type(layer).__name__ for layer in model.layers}
        used = {a.__name__ for layer in model.layers if (a := getattr(layer, "activation", None))}
        # The archive first: saving as .h5 makes Keras 3 forget the optimizer in what it saves afterwards.
        for kind in ("keras", "h5"):
            saved = self.folder / f"saved.{kind}"
            model.save(saved)
            name = f"m{number}-{kind}"
            self.command("import", saved, "--model", name, "--models", models)
            y = self.folder / "y.safetensors"
            self.command("predict", "--model", name, "--models", models, "--tensor", self.folder / "x.safetensors", "--output", y)
            self.agree(f"model {number}, {kind} in Irori", load_file(y)["y"], wanted, activation)
            back = self.folder / f"back.{kind}"
            self.command("export", "--model", name, "--models", models, "--format", kind, "--output", back)
            self.load(f"model {number}, {kind} back in Keras", keras, back, x, wanted, truth, activation)
            if kind == "h5" and tf_keras and not used & NOT_IN_TF_KERAS:
                self.load(f"model {number}, {kind} back in tf_keras", tf_keras, back, x, wanted, truth, activation)
        return classes

    def load(self, what, k, path, x, wanted, truth, activation):
        again = k.models.load_model(path)
        self.agree(what, again.predict(x, verbose=0), wanted, activation)
        loss, _ = again.evaluate(x, truth, verbose=0)
        if not np.isfinite(loss):
            raise SystemExit(f"{what}: its loss is {loss}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--irori", default="target/release/irori", help="the binary")
    parser.add_argument("--count", type=int, default=100, help="how many models")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="irori-live-"))
    print(f"Keras {keras.__version__}, tf_keras {tf_keras and tf_keras.__version__}, seed {options.seed}, in {folder}")
    check = Check(options.irori, folder)
    keras.utils.set_random_seed(options.seed)
    r = random.Random(options.seed)
    seen = set()
    for number in range(options.count):
        seen |= check.model(number, r)
        if sys.stdout.isatty() or number % 10 == 9:
            print(f"{number + 1} models, largest difference {check.largest:.2e}", flush=True)
    print(f"{options.count} models agree; layers seen: {', '.join(sorted(seen))}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
