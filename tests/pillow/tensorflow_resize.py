"""Writes what tf.image.resize makes of the fixtures' images without antialiasing, rounded to whole levels, for tests/it/imaging.rs.

    venv/bin/pip install tensorflow-cpu==2.21.0 pillow && venv/bin/python tests/pillow/tensorflow_resize.py

Run fixtures.py first: this reads its PNG files. Keras' `Resizing` and `image_dataset_from_directory` call the same function.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

OUT = Path(__file__).parent.parent / "fixtures" / "imaging"
METHODS = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "lanczos3"}

cases, pixels = [], []
for file in ["wide.png", "tall.png"]:
    image = tf.image.decode_png((OUT / file).read_bytes(), channels=3)
    for width, height in [(28, 28), (32, 20), (70, 45), (13, 64)]:
        for name, method in METHODS.items():
            resized = tf.image.resize(image, (height, width), method=method, antialias=False).numpy()
            pixels.append(np.clip(np.rint(resized), 0, 255).astype(np.uint8).tobytes())
            cases.append({
                "file": file, "color": "rgb", "mode": "stretch", "filter": name,
                "height": height, "width": width,
            })

listing = {"tensorflow": tf.__version__, "background": [0, 0, 0], "cases": cases}
(OUT / "tensorflow.json").write_text(json.dumps(listing, indent=0))
(OUT / "tensorflow.bin.gz").write_bytes(gzip.compress(b"".join(pixels), 9, mtime=0))
