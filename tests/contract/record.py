"""Recorded examples: asks a fresh Irori with the shipped models everything that the contract shows an
example of, and writes what was sent and what was answered into src/http/examples. The tables in
src/http/examples.rs say what each is an example of.

    irori serve --models COPY-OF-MODELS --data EMPTY --admin-token contract
    python tests/contract/record.py http://127.0.0.1:8080 contract
"""

import base64
import gzip
import io
import json
import pathlib
import struct
import sys
import tarfile
import time
import urllib.request
import zipfile

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "src" / "http" / "examples"
DIGITS = ROOT / "tests" / "fixtures" / "digits"
BOUNDARY = "frontier"


def form(parts):
    """A multipart body: for each part its name, its file's name or None, and its content."""
    body = b""
    for name, file, content in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        body += f"--{BOUNDARY}\r\ncontent-disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def bits():
    """A data set of zeros and ones, in each kind of archive: two classes make a report that can be taken in."""
    files = {
        f"{digit}/{file.name}": file.read_bytes()
        for digit in "01"
        for file in sorted((DIGITS / digit).iterdir())[:4]
    }
    tarred, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    tarred = tarred.getvalue()
    return {"bits.tar": tarred, "bits.tar.gz": gzip.compress(tarred, mtime=0), "bits.zip": zipped.getvalue()}


def infer(image):
    """A request for /v2 in bytes: its JSON, and behind it one image file."""
    tensor = struct.pack("<I", len(image)) + image
    given = {"name": "input_layer", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tensor)}}
    wanted = {"name": "dense_1", "parameters": {"binary_data": True}}
    text = json.dumps({"inputs": [given], "outputs": [wanted]}).encode()
    return text + tensor, len(text)


def main(url, token):
    def ask(method, path, body=None, content_type="application/json", **headers):
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(url + path, body, method=method)
        request.add_header("authorization", f"Bearer {token}")
        if body is not None:
            request.add_header("content-type", content_type)
        for name, value in {"accept": "application/json", **headers}.items():
            request.add_header(name.replace("_", "-"), str(value))
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def keep(file, content):
        (EXAMPLES / file).write_bytes(content)
        return content

    def record(name, *request, only=None):
        answer = json.loads(ask(*request))
        answer = {member: answer[member] for member in only} if only else answer
        keep(f"{name}.json", (json.dumps(answer, indent=1, ensure_ascii=False) + "\n").encode())
        return answer

    def record_sent(name, path, body):
        keep(f"send_{name}.json", (json.dumps(body) + "\n").encode())
        record(name, "POST", path, body)

    def ended(job):
        while json.loads(ask("GET", f"/admin/jobs/{job}"))["state"] in ("queued", "running"):
            time.sleep(0.1)

    contract = json.loads(ask("GET", "/openapi.json"))

    def shown(path):
        """The body in JSON that the contract shows for a request."""
        return contract["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]

    seven, two = (sorted((DIGITS / digit).iterdir())[0].read_bytes() for digit in "72")
    keep("digit.png", seven)
    keep("digits.form", form([("image", "seven.png", seven), ("image", "two.png", two)]))
    seven = base64.b64encode(seven).decode()
    record_sent("predict", "/predict?top_k=2", {"images": [{"b64": seven}]})
    record_metrics(ask, keep, record)
    record("ready", "GET", "/health/ready")
    record("live", "GET", "/health/live")
    record_protocols(record, record_sent, seven)
    body, length = infer(base64.b64decode(seven))
    keep("infer.bin", body)
    bytes_behind = {"inference_header_content_length": length}
    keep("infer_answer.bin", ask("POST", "/v2/models/digits/infer", body, "application/octet-stream", **bytes_behind))

    archives = {file: keep(file, archive) for file, archive in bits().items()}
    record("put_dataset", "PUT", "/admin/datasets/bits", archives["bits.zip"], "application/zip")
    record("datasets", "GET", "/admin/datasets")
    train = shown("/admin/models/{model}/train")
    record("train", "POST", "/admin/models/bits/train", train)
    record("jobs", "GET", "/admin/jobs")
    ended(1)
    exported = "/admin/models/bits/versions/1/export?format="
    record("architecture", "GET", exported + "json")
    files = {kind: keep(f"bits.{kind}", ask("GET", exported + kind)) for kind in ("h5", "keras", "safetensors")}
    parts = [("file", "bits.safetensors", files["safetensors"]), ("labels", None, b"0,1")]
    parts.append(("architecture", None, (EXAMPLES / "architecture.json").read_bytes()))
    keep("bits.form", form(parts))
    record("import", "POST", "/admin/models/bits/versions?labels=0,1", files["keras"], "application/octet-stream")
    record("evaluate", "POST", "/admin/models/bits/evaluate", shown("/admin/models/{model}/evaluate"))
    ended(2)
    record("job", "GET", "/admin/jobs/1")
    record("promote", "POST", "/admin/models/bits/promote", shown("/admin/models/{model}/promote"))
    record("models", "GET", "/models")
    record("model", "GET", "/models/bits")
    record("version", "GET", "/models/bits/versions/1")
    record("evaluation", "GET", "/models/bits/evaluation")
    for picture in ("confusion", "history"):
        keep(f"{picture}.svg", ask("GET", f"/models/bits/evaluation/{picture}.svg"))
    record("rollback", "POST", "/admin/models/bits/rollback")


def record_metrics(ask, keep, record):
    """Two of the metrics, in each of their forms."""
    some = ("irori_images_total", "irori_queue_depth")
    record("metrics", "GET", "/metrics", only=some)
    for name, accept in {"metrics": "text/plain", "openmetrics": "application/openmetrics-text"}.items():
        lines = ask("GET", "/metrics", accept=accept).decode().splitlines(keepends=True)
        # OpenMetrics leaves the suffix out in the heads.
        of_some = [line for line in lines if any(metric.removesuffix("_total") in line for metric in some)]
        keep(f"{name}.txt", "".join(of_some + lines[-1:] * (name == "openmetrics")).encode())


def record_protocols(record, record_sent, image):
    """What digits is sent under /v1 and /v2 with a PNG file in base64, and what it answers."""
    given = {"name": "input_layer", "shape": [1], "datatype": "BYTES", "data": [image]}
    wanted = {"name": "dense_1", "parameters": {"classification": 3}}
    record_sent("v2_infer", "/v2/models/digits/infer", {"id": "seven", "inputs": [given], "outputs": [wanted]})
    record("v2_server", "GET", "/v2")
    record("v2_live", "GET", "/v2/health/live")
    record("v2_ready", "GET", "/v2/health/ready")
    record("v2_model", "GET", "/v2/models/digits")
    record("v2_config", "GET", "/v2/models/digits/config")
    record("v2_model_ready", "GET", "/v2/models/digits/ready")
    record("v2_statistics", "GET", "/v2/models/stats")
    record("v2_index", "POST", "/v2/repository/index", {})
    record_sent("v1_predict", "/v1/models/digits:predict", {"instances": [{"b64": image}]})
    record_sent("v1_classify", "/v1/models/digits:classify", {"examples": [{"image": {"b64": image}}]})
    record("v1_status", "GET", "/v1/models/digits")
    record("v1_metadata", "GET", "/v1/models/digits/metadata")


if __name__ == "__main__":
    main(*sys.argv[1:])
