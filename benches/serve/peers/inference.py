"""What all peers share: a PNG to the network's input, and a session of ONNX Runtime.

OpenCV decodes a 28×28 PNG in 7 µs where Pillow takes 38 µs, so OpenCV it is.
"""

import os

import cv2
import numpy as np
import onnxruntime

# The servers have as many processes as there are CPUs; threads of OpenCV's own would only get in their way.
cv2.setNumThreads(1)

NETWORK = os.environ.get("SERVE_NETWORK", "a")
MODEL = os.environ.get("SERVE_MODEL", "")
CHANNELS = 1 if NETWORK == "a" else 3
THREADS = len(os.sched_getaffinity(0))


def pixels(png, channels=CHANNELS):
    """The image as `[channels, height, width]`, 0 to 1."""
    encoded = np.frombuffer(png, np.uint8)
    if channels == 1:
        image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)[np.newaxis]
    else:
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB).transpose(2, 0, 1)
    return image.astype(np.float32) * np.float32(1 / 255)


class Network:
    """A network in ONNX Runtime, with `threads` to compute with."""

    def __init__(self, threads):
        # https://onnxruntime.ai/docs/performance/tune-performance/threading.html
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the CPU from the rest of the server.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])

    def scores(self, images):
        """`[batch, 10]` for images as `pixels` gives them."""
        return self.session.run(None, {"image": np.stack(images)})[0]
