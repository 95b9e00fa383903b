"""MLServer: a runtime of our own with adaptive batching.

Parallel inference: https://docs.seldon.ai/mlserver/user-guide/parallel-inference. Batching:
https://docs.seldon.ai/mlserver/user-guide/adaptive-batching. Images come as base64, which is its protocol's way of
carrying bytes in JSON; it refuses binary tensors.
"""

from inference import Network, pixels
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceResponse


class Runtime(MLModel):
    async def load(self):
        self.network = Network(threads=1)
        return True

    async def predict(self, payload):
        images = Base64Codec.decode_input(payload.inputs[0])
        scores = self.network.scores([pixels(image) for image in images])
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
