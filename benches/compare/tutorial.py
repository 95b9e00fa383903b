"""Trains the tutorial's network on Fashion-MNIST in Keras, and prints images per second for each epoch.

    python benches/compare/tutorial.py data/sources/fashion-mnist

Run it in turn with
    irori train --dataset data/sources/fashion-mnist --architecture examples/tutorial.json --model fashion --epochs 2
on a machine that does nothing else. Needs keras and tensorflow-cpu.
"""

import gzip
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

BATCH = 128
EPOCHS = 2


def read(folder, name, offset):
    with gzip.open(folder / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


folder = pathlib.Path(sys.argv[1])
x = read(folder, "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1).astype("float32") / 255
y = read(folder, "train-labels-idx1-ubyte.gz", 8)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 2, padding="same"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 2, padding="same"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
# The first steps build the graph, which is not what is measured.
model.fit(x[: 16 * BATCH], y[: 16 * BATCH], batch_size=BATCH, verbose=0)
for epoch in range(EPOCHS):
    started = time.time()
    model.fit(x, y, batch_size=BATCH, verbose=0)
    print(f"epoch {epoch + 1}: {len(x) / (time.time() - started):.0f} images/s")
