"""Asks a running Irori over /v1 as users of TensorFlow Serving do, by plain `curl -d`, and compares
every answer with the native route, bit for bit.

    python tests/clients/tensorflow.py --url 127.0.0.1:8080 tests/fixtures/digits
"""

import argparse
import base64
import json
import math
import pathlib
import subprocess

MODEL = "digits"


def curl(url, body=None):
    """The answer to a GET, or to a POST of what `curl -d` sends, with the form's content type."""
    command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", url]
    if body is not None:
        command += ["-d", "@-"]
    output = subprocess.run(command, input=body, capture_output=True, text=True, check=True).stdout
    answer, status = output.rsplit("\n", 1)
    return json.loads(answer), int(status)


def native(url, path):
    command = ["curl", "--silent", "--data-binary", f"@{path}", f"{url}/models/{MODEL}/predict?top_k=1000"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return answer["predictions"][0]["top"]


def pixels(path):
    """What the shipped model's preprocessing makes of a 28x28 grey PNG: the bytes over 255."""
    import numpy as np
    from PIL import Image

    grey = np.asarray(Image.open(path).convert("L")).astype(np.float32) * np.float32(1 / 255)
    return grey[:, :, None].tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("images", type=pathlib.Path)
    arguments = parser.parse_args()
    url = f"http://{arguments.url}"
    model = f"{url}/v1/models/{MODEL}"

    paths = sorted(arguments.images.glob("*/*.png"))[:16]
    files = [{"b64": base64.b64encode(path.read_bytes()).decode()} for path in paths]
    tensors = [pixels(path) for path in paths]
    tops = [native(url, path) for path in paths]
    expected = [[p for _, p in sorted((c["index"], c["probability"]) for c in top)] for top in tops]

    status, code = curl(model)
    assert code == 200 and status["model_version_status"][0]["state"] == "AVAILABLE", status
    metadata, code = curl(f"{model}/metadata")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    (name,) = signature["inputs"]
    assert code == 200 and signature["inputs"][name]["dtype"] == "DT_FLOAT", metadata

    requests = {
        "predictions": [
            {"instances": files},
            {"instances": tensors},
            {"instances": [{name: tensor} for tensor in tensors], "signature_name": "serving_default"},
        ],
        "outputs": [{"inputs": tensors}, {"inputs": {name: files}}],
    }
    for key, bodies in requests.items():
        for body in bodies:
            for address in ["", "/versions/1"]:
                answer, code = curl(f"{model}{address}:predict", json.dumps(body))
                assert code == 200 and answer == {key: expected}, (code, answer)
    answer, code = curl(f"{model}:classify", json.dumps({"examples": [{"image": file} for file in files]}))
    labels = [[[c["label"], c["probability"]] for c in top] for top in tops]
    assert code == 200 and answer == {"results": labels}, (code, answer)

    # Python's own json writes and reads NaN as TensorFlow Serving does.
    tensors[0][0][0][0] = math.nan
    answer, code = curl(f"{model}:predict", json.dumps({"instances": tensors[:1]}))
    assert code == 200 and all(map(math.isnan, answer["predictions"][0])), (code, answer)

    for path, body, refusal in [
        (f"{model}:predict", "{}", 400),
        (f"{model}:predict", '{"instances": [[1, 2, 3]]}', 400),
        (f"{model}:regress", "{}", 501),
        (f"{model}/labels/none:predict", "{}", 404),
        (f"{url}/v1/models/nobody:predict", "{}", 404),
    ]:
        answer, code = curl(path, body)
        assert code == refusal and list(answer) == ["error"], (path, code, answer)
    print(f"curl -d: {len(files)} images, every answer bit for bit that of the native route")


main()
