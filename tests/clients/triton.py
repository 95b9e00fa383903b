"""Asks a running Irori over /v2 with NVIDIA's own client, sync and asyncio, and compares every answer
with the native route, bit for bit.

    python tests/clients/triton.py --url 127.0.0.1:8080 --admin-token TOKEN tests/fixtures/digits
"""

import argparse
import asyncio
import json
import pathlib
import urllib.request

import ml_dtypes
import numpy as np
import tritonclient.http as sync
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

MODEL = "digits"


def native(url, image):
    """The probabilities of all labels, by their index."""
    request = urllib.request.Request(f"http://{url}/models/{MODEL}/predict?top_k=1000", data=image)
    with urllib.request.urlopen(request) as answer:
        prediction = json.load(answer)["predictions"][0]
    top = {entry["index"]: entry["probability"] for entry in prediction["top"]}
    return np.array([top[index] for index in range(len(top))], np.float32)


def pixels(image):
    """What the shipped model's preprocessing makes of a 28x28 grey PNG: the bytes over 255."""
    import io

    from PIL import Image

    grey = np.asarray(Image.open(io.BytesIO(image)).convert("L"))
    return (grey.astype(np.float32) * np.float32(1 / 255))[:, :, None]


def tensor(module, values, datatype, binary):
    given = module.InferInput(names["input"], list(values.shape), datatype)
    return [given.set_data_from_numpy(values, binary_data=binary)]


names = {}


def check_metadata(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1") and not client.is_model_ready("nobody")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(MODEL)
    names["input"], names["output"] = metadata["inputs"][0]["name"], metadata["outputs"][0]["name"]
    assert metadata["inputs"][0]["shape"] == [-1, 28, 28, 1], metadata
    config = client.get_model_config(MODEL, "1")
    assert config["input"][0]["format"] == "FORMAT_NHWC" and config["max_batch_size"] > 0, config
    assert {"name": MODEL, "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()


def check_sync(client, files, batch, expected):
    outputs = {
        "bytes": None,
        "bytes, asked for": [sync.InferRequestedOutput(names["output"])],
        "JSON": [sync.InferRequestedOutput(names["output"], binary_data=False)],
    }
    for binary in [True, False]:
        for form, asked in outputs.items():
            given = tensor(sync, batch, "FP32", binary)
            result = client.infer(MODEL, given, outputs=asked, request_id="seven")
            assert result.get_response()["id"] == "seven"
            np.testing.assert_array_equal(result.as_numpy(names["output"]), expected, form)
    # Types in which the values of an image that is black or white are the same.
    sharp = np.round(batch)
    same = client.infer(MODEL, tensor(sync, sharp, "FP32", True)).as_numpy(names["output"])
    types = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float64"]
    for dtype in types:
        values = sharp.astype(dtype)
        datatype = {"float16": "FP16", "float64": "FP64"}.get(dtype, dtype.upper())
        result = client.infer(MODEL, tensor(sync, values, datatype, True))
        np.testing.assert_array_equal(result.as_numpy(names["output"]), same, dtype)
    result = client.infer(MODEL, tensor(sync, sharp.astype(ml_dtypes.bfloat16), "BF16", True))
    np.testing.assert_array_equal(result.as_numpy(names["output"]), same, "BF16")

    # Files, which the server decodes and preprocesses itself.
    encoded = np.array(files, dtype=np.object_)
    result = client.infer(MODEL, tensor(sync, encoded, "BYTES", True), model_version="1")
    np.testing.assert_array_equal(result.as_numpy(names["output"]), expected)

    asked = [sync.InferRequestedOutput(names["output"], class_count=3)]
    classes = client.infer(MODEL, tensor(sync, batch, "FP32", True), outputs=asked).as_numpy(names["output"])
    assert classes.shape == (len(files), 3)
    for row, probabilities in zip(classes, expected):
        value, index, label = row[0].decode().split(":")
        assert int(index) == probabilities.argmax() and np.float32(value) == probabilities.max() and label == index

    for algorithm in ["gzip", "deflate"]:
        result = client.infer(
            MODEL,
            tensor(sync, batch, "FP32", True),
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        np.testing.assert_array_equal(result.as_numpy(names["output"]), expected, algorithm)

    waiting = [client.async_infer(MODEL, tensor(sync, batch, "FP32", True)) for _ in range(8)]
    for answer in waiting:
        np.testing.assert_array_equal(answer.get_result().as_numpy(names["output"]), expected)

    for wrong in [batch[:, :, :, 0], np.zeros((0, 28, 28, 1), np.float32)]:
        try:
            client.infer(MODEL, tensor(sync, wrong, "FP32", True))
        except InferenceServerException as error:
            assert error.status().endswith("400") and error.message(), error
        else:
            raise AssertionError(f"{wrong.shape} was taken")


def check_statistics(client, url, image):
    def statistics():
        (version,) = client.get_inference_statistics(MODEL, "1")["model_stats"]
        return version

    before = statistics()
    native(url, image)
    after = statistics()
    assert after["inference_count"] == before["inference_count"] + 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]


def check_lifecycle(client, token, batch):
    try:
        client.unload_model(MODEL)
    except InferenceServerException as error:
        assert error.status().endswith("401"), error
    else:
        raise AssertionError("a model was unloaded without the token")
    headers = {"Authorization": f"Bearer {token}"}
    client.unload_model(MODEL, headers=headers)
    assert not client.is_model_ready(MODEL)
    try:
        client.infer(MODEL, tensor(sync, batch, "FP32", True))
    except InferenceServerException as error:
        assert "unloaded" in error.message(), error
    client.load_model(MODEL, headers=headers)
    assert client.is_model_ready(MODEL)


async def check_aio(url, files, batch, expected):
    async with aio.InferenceServerClient(url) as client:
        assert await client.is_server_ready() and await client.is_model_ready(MODEL)
        await client.get_server_metadata()
        await client.get_model_metadata(MODEL)
        await client.get_model_config(MODEL)
        await client.get_inference_statistics()
        await client.get_model_repository_index()
        for binary in [True, False]:
            result = await client.infer(MODEL, tensor(aio, batch, "FP32", binary))
            np.testing.assert_array_equal(result.as_numpy(names["output"]), expected)
        for algorithm in ["gzip", "deflate"]:
            result = await client.infer(
                MODEL,
                tensor(aio, batch, "FP32", True),
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
            np.testing.assert_array_equal(result.as_numpy(names["output"]), expected)
        encoded = np.array(files, dtype=np.object_)
        many = [client.infer(MODEL, tensor(aio, encoded, "BYTES", True)) for _ in range(8)]
        for result in await asyncio.gather(*many):
            np.testing.assert_array_equal(result.as_numpy(names["output"]), expected)
        try:
            await client.infer("nobody", tensor(aio, batch, "FP32", True))
        except InferenceServerException as error:
            assert error.status() == "404" and "digits" in error.message(), error
        else:
            raise AssertionError("nobody answered")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--admin-token", required=True)
    parser.add_argument("images", type=pathlib.Path)
    arguments = parser.parse_args()

    paths = sorted(arguments.images.glob("*/*.png"))[:32]
    files = [path.read_bytes() for path in paths]
    batch = np.stack([pixels(file) for file in files])
    expected = np.stack([native(arguments.url, file) for file in files])
    client = sync.InferenceServerClient(arguments.url, concurrency=4)
    check_metadata(client)
    check_sync(client, files, batch, expected)
    check_statistics(client, arguments.url, files[0])
    asyncio.run(check_aio(arguments.url, files, batch, expected))
    check_lifecycle(client, arguments.admin_token, batch)
    print(f"tritonclient, sync and aio: {len(files)} images, every answer bit for bit that of the native route")


main()
