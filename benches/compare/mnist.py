"""MNIST to 99 %: how long Irori and Keras train the same network until so many test images are right.

Both get the network of examples/digits.json, the same images, Adam with its defaults and batches of 128, and are asked
for one epoch, then two, … from the start, with the same seed, until the target is met; the run that meets it is timed,
from the start of the process to its end, and so are the epochs alone.
"""

import gzip
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TARGET = 0.99
MOST_EPOCHS = 20
BATCH = 128
ARCHITECTURE = "examples/digits.json"


def measure(irori, root, seeds):
    datasets = pathlib.Path.home() / ".cache" / "irori-datasets"
    subprocess.run([root / "scripts" / "fetch-datasets", datasets], check=True, stdout=subprocess.DEVNULL)
    runs = []
    for seed in range(1, seeds + 1):
        for name, train in ("Irori", train_irori), ("Keras", train_keras):
            runs.append({"runtime": name, "seed": seed, **first_to_meet(train, irori, root, datasets / "mnist", seed)})
            print(runs[-1], file=sys.stderr, flush=True)
    return runs


def first_to_meet(train, *where):
    for epochs in range(1, MOST_EPOCHS + 1):
        started = time.time()
        accuracy, fit_seconds = train(epochs, *where)
        if accuracy >= TARGET:
            wall = time.time() - started
            return {"epochs": epochs, "accuracy": accuracy, "fit_seconds": fit_seconds, "wall_seconds": wall}
    sys.exit(f"{MOST_EPOCHS} epochs are not enough for {TARGET}")


def train_irori(epochs, irori, root, mnist, seed):
    """The accuracy on the test images, and the seconds that the epochs took."""
    with tempfile.TemporaryDirectory() as models:
        command = [irori, "train", "--dataset", mnist, "--architecture", root / ARCHITECTURE, "--model", "digits"]
        options = ["--models", models, "--epochs", epochs, "--batch-size", BATCH, "--seed", seed]
        subprocess.run(map(str, command + options), check=True, capture_output=True)
        version = pathlib.Path(models) / "digits" / "1"
        accuracy = json.loads((version / "evaluation.json").read_text())["accuracy"]
        history = json.loads((version / "history.json").read_text())
        return accuracy, sum(epoch["seconds"] for epoch in history["epochs"])


def train_keras(epochs, _, root, mnist, seed):
    command = [sys.executable, __file__, epochs, root / ARCHITECTURE, mnist, seed]
    done = subprocess.run(map(str, command), check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(runs):
    """Medians over the seeds, and each of them."""
    lines = ["| | epochs | training | from start to end | test accuracy |", "|---|--:|--:|--:|--:|"]
    for name in dict.fromkeys(run["runtime"] for run in runs):
        own = [run for run in runs if run["runtime"] == name]

        def each(key, form):
            return ", ".join(form.format(run[key]) for run in own)

        def seconds(key):
            return f"{statistics.median(run[key] for run in own):.1f} s ({each(key, '{:.1f}')})"

        columns = [each("epochs", "{}"), seconds("fit_seconds"), seconds("wall_seconds"), each("accuracy", "{:.2%}")]
        lines.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(lines)


def keras_in_its_process(epochs, architecture, mnist, seed):
    import run_keras

    import keras
    import numpy as np

    def read(name, offset):
        with gzip.open(mnist / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)

    def part(name):
        images = read(f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1).astype("float32") / 255
        return images, read(f"{name}-labels-idx1-ubyte.gz", 8)

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(run_keras.layers_of(json.loads(architecture.read_text())))
    # Left to itself it compiles by XLA, and takes four times as long.
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    images, classes = part("train")
    started = time.time()
    model.fit(images, classes, batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = time.time() - started
    _, accuracy = model.evaluate(*part("t10k"), batch_size=256, verbose=0)
    print(json.dumps([accuracy, seconds]))


if __name__ == "__main__":
    epochs, architecture, mnist, seed = sys.argv[1:]
    keras_in_its_process(int(epochs), pathlib.Path(architecture), pathlib.Path(mnist), int(seed))
