"""Triton's Python backend: the `model.py` that Triton runs.

An instance for each CPU, and the dynamic batcher with its defaults, which take what waits and delay nothing:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/batcher.html. The image is the raw body:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html.
"""

import numpy as np
import triton_python_backend_utils as triton
from inference import Network, pixels


class TritonPythonModel:
    def initialize(self, args):
        self.network = Network(threads=1)

    def execute(self, requests):
        images = [pixels(triton.get_input_tensor_by_name(request, "image").as_numpy().item()) for request in requests]
        scores = self.network.scores(images)
        return [triton.InferenceResponse([triton.Tensor("scores", row[np.newaxis])]) for row in scores]
