"""LitServe: an inference worker for each CPU, dynamic batching, ZeroMQ between the processes.

`workers_per_device` as many as CPUs, `fast_queue` past 100 requests/s, and `num_api_servers` as many as workers are
what the documentation of `LitServer` and its `run` recommends:
https://lightning.ai/docs/litserve/api-reference/litserver. Batching:
https://lightning.ai/docs/litserve/features/batching. It takes JSON or forms, no raw body.
"""

import base64
import sys

import litserve
from inference import THREADS, Network, pixels


class Api(litserve.LitAPI):
    def setup(self, device):
        self.network = Network(threads=1)

    def decode_request(self, request):
        return pixels(base64.b64decode(request["image"]))

    def batch(self, inputs):
        return inputs

    def predict(self, images):
        return self.network.scores(images)

    def unbatch(self, output):
        return output.tolist()

    def encode_response(self, output):
        return {"scores": output}


if __name__ == "__main__":
    # A wait of 0 makes the workers spin, and a longer one is paid by every lone client.
    api = Api(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=THREADS, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=THREADS,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
