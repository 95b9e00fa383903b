"""FastAPI on uvicorn: a process for each CPU, each with one thread of ONNX Runtime, no batching (FastAPI has none).

uvicorn's workers: https://fastapi.tiangolo.com/deployment/server-workers/. The handler is `async` and computes in
place: a thread pool around a millisecond of work costs more than it gives.
"""

import json

from fastapi import FastAPI, Request, Response
from inference import Network, pixels

app = FastAPI()
network = Network(threads=1)


@app.post("/predict")
async def predict(request: Request):
    scores = network.scores([pixels(await request.body())])[0]
    return Response(json.dumps({"scores": scores.tolist()}), media_type="application/json")
