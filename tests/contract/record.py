"""Recorded answers: asks a fresh Irori with the shipped models everything that the contract shows an
answer to, and writes the answers into src/http/examples. The table in src/http/examples.rs says what
each is an example of.

    irori serve --models COPY-OF-MODELS --data EMPTY --admin-token contract
    python tests/contract/record.py http://127.0.0.1:8080 contract
"""

import base64
import io
import json
import pathlib
import sys
import tarfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "src" / "http" / "examples"
DIGITS = ROOT / "tests" / "fixtures" / "digits"
ARCHITECTURE = {
    "layers": [
        {
            "class_name": "Conv2D",
            "config": {"filters": 8, "kernel_size": [3, 3], "activation": "relu", "input_shape": [28, 28, 1]},
        },
        {"class_name": "GlobalMaxPooling2D"},
        {"class_name": "Dense", "config": {"units": 2, "activation": "softmax"}},
    ]
}


def main(url, token):
    def ask(method, path, body=None, content_type="application/json"):
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(url + path, body, method=method)
        request.add_header("authorization", f"Bearer {token}")
        request.add_header("accept", "application/json")
        if body is not None:
            request.add_header("content-type", content_type)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def record(name, *request, only=None):
        answer = json.loads(ask(*request))
        answer = {member: answer[member] for member in only} if only else answer
        EXAMPLES.mkdir(exist_ok=True)
        text = json.dumps(answer, indent=1, ensure_ascii=False)
        (EXAMPLES / f"{name}.json").write_text(text + "\n")
        return answer

    def ended(job):
        while json.loads(ask("GET", f"/admin/jobs/{job}"))["state"] in ("queued", "running"):
            time.sleep(0.1)

    seven = (DIGITS / "7" / "00000.png").read_bytes()
    record("predict", "POST", "/predict?top_k=2", seven, "image/png")
    record("metrics", "GET", "/metrics", only=["irori_images_total", "irori_queue_depth"])
    record("ready", "GET", "/health/ready")
    record("live", "GET", "/health/live")
    record_protocols(record, base64.b64encode(seven).decode())

    # Zeros and ones only: two classes make a report that can be taken in.
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for digit in "01":
            tar.add(DIGITS / digit, digit)
    record("put_dataset", "PUT", "/admin/datasets/bits", archive.getvalue(), "application/x-tar")
    record("datasets", "GET", "/admin/datasets")
    train = {
        "dataset": "bits",
        "architecture": ARCHITECTURE,
        "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        "fit": {"batch_size": 4, "epochs": 2},
        "seed": 1,
    }
    record("train", "POST", "/admin/models/bits/train", train)
    record("jobs", "GET", "/admin/jobs")
    ended(1)
    ask("POST", "/admin/models/bits/train", {**train, "seed": 2})
    ended(2)
    record("evaluate", "POST", "/admin/models/bits/evaluate", {"dataset": "bits", "version": 1})
    ended(3)
    record("job", "GET", "/admin/jobs/1")
    record("promote", "POST", "/admin/models/bits/promote", {"version": 1})
    record("rollback", "POST", "/admin/models/bits/rollback")
    record("models", "GET", "/models")
    record("model", "GET", "/models/bits")
    record("version", "GET", "/models/bits/versions/1")
    record("evaluation", "GET", "/models/bits/evaluation")
    record("architecture", "GET", "/admin/models/bits/versions/1/export?format=json")
    h5 = ask("GET", "/admin/models/bits/versions/1/export?format=h5")
    record("import", "POST", "/admin/models/bits/versions?labels=0,1", h5, "application/octet-stream")


def record_protocols(record, image):
    """The answers under /v1 and /v2, which digits gives to a PNG file in base64."""
    given = {"name": "input_layer", "shape": [1], "datatype": "BYTES", "data": [image]}
    wanted = {"name": "dense_1", "parameters": {"classification": 3}}
    record("v2_infer", "POST", "/v2/models/digits/infer", {"id": "seven", "inputs": [given], "outputs": [wanted]})
    record("v2_server", "GET", "/v2")
    record("v2_live", "GET", "/v2/health/live")
    record("v2_ready", "GET", "/v2/health/ready")
    record("v2_model", "GET", "/v2/models/digits")
    record("v2_config", "GET", "/v2/models/digits/config")
    record("v2_model_ready", "GET", "/v2/models/digits/ready")
    record("v2_statistics", "GET", "/v2/models/stats")
    record("v2_index", "POST", "/v2/repository/index", {})
    record("v1_predict", "POST", "/v1/models/digits:predict", {"instances": [{"b64": image}]})
    record("v1_classify", "POST", "/v1/models/digits:classify", {"examples": [{"image": {"b64": image}}]})
    record("v1_status", "GET", "/v1/models/digits")
    record("v1_metadata", "GET", "/v1/models/digits/metadata")


if __name__ == "__main__":
    main(*sys.argv[1:])
