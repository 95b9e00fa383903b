"""BentoML: a worker for each CPU, adaptive batching.

Workers: https://docs.bentoml.com/en/latest/guides/workers.html. Batching:
https://docs.bentoml.com/en/latest/guides/adaptive-batching.html. A file as the body would go through a temporary file
or Pillow; base64 in JSON is the faster one.
"""

import base64

import bentoml
from inference import THREADS, Network, pixels


@bentoml.service(
    workers=THREADS,
    traffic={"timeout": 60},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Service:
    def __init__(self):
        self.network = Network(threads=1)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60000)
    def predict(self, images: list[str]) -> list[list[float]]:
        return self.network.scores([pixels(base64.b64decode(image)) for image in images]).tolist()
