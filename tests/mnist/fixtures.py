"""Cuts small fixtures out of MNIST and Fashion-MNIST.

    venv/bin/pip install pillow numpy && venv/bin/python tests/mnist/fixtures.py FOLDER

FOLDER holds the folders `mnist` and `fashion-mnist` with the four .gz files each, as published. The same images are taken every time.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path(sys.argv[1])
OUT = Path(__file__).parent.parent / "fixtures"


def read(folder, part):
    images = gzip.decompress((SOURCE / folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((SOURCE / folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def idx(values):
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.tobytes()


# The first ten test digits of each class, one PNG each, named by their place in the test set.
images, labels = read("mnist", "t10k")
for digit in range(10):
    folder = OUT / "digits" / str(digit)
    folder.mkdir(parents=True, exist_ok=True)
    for index in np.flatnonzero(labels == digit)[:10]:
        Image.fromarray(images[index]).save(folder / f"{index:05}.png", optimize=True)

# The first thousand to train on and the first five hundred to test on.
folder = OUT / "fashion-mnist-small"
folder.mkdir(parents=True, exist_ok=True)
for part, count in [("train", 1000), ("t10k", 500)]:
    images, labels = read("fashion-mnist", part)
    for name, values in [("images-idx3", images[:count]), ("labels-idx1", labels[:count])]:
        (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values), 9, mtime=0))
