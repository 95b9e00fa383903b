"""The servers that are compared: what each needs from PyPI, how it is started, and how it is asked.

Every peer runs ONNX Runtime on the CPU with the settings that its documentation recommends for throughput on a CPU; the
sources are named in its file under `peers/`. Where there was a choice (batch or not, threads or processes, raw body or
base64), what was faster on two CPUs was taken.
"""

import base64
import json
import os
import pathlib
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
LABELS = [str(digit) for digit in range(10)]


@dataclass
class Setting:
    """Where a server is to run, and on what."""

    network: str  # "a" or "b"
    port: int
    folder: pathlib.Path  # its own, empty
    networks: pathlib.Path  # what networks.py wrote
    models: pathlib.Path  # the same networks as Irori's models
    irori: pathlib.Path
    venv: pathlib.Path

    def environment(self):
        """For a peer: the network to serve, and where `inference` is found."""
        return {
            **os.environ,
            "SERVE_NETWORK": self.network,
            "SERVE_MODEL": str(self.networks / f"{self.network}.onnx"),
            "PYTHONPATH": str(PEERS),
            "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
        }


@dataclass
class Contender:
    """One server. `command` gives what `subprocess.Popen` takes; `body` wraps a PNG and `scores` unwraps an answer."""

    name: str
    command: Callable[[Setting], dict]
    requirements: list[str] = field(default_factory=list)
    path: str = "/predict"
    headers: dict[str, str] = field(default_factory=dict)
    body: Callable[[bytes], bytes] = lambda png: png
    scores: Callable[[bytes], list[float]] = lambda answer: json.loads(answer)["scores"]

    @property
    def key(self):
        """Its name on the command line and for its virtual environment."""
        return self.name.split()[0].lower()


def b64(png):
    return base64.b64encode(png).decode()


def irori(setting):
    return {
        "args": [
            setting.irori, "--log", "warn", "serve", "--models", setting.models, "--data", setting.folder,
            "--default-model", setting.network, "--listen", f"127.0.0.1:{setting.port}",
        ],
        "env": os.environ,
    }  # fmt: skip


def irori_scores(answer):
    (prediction,) = json.loads(answer)["predictions"]
    probabilities = {top["label"]: top["probability"] for top in prediction["top"]}
    return [probabilities[label] for label in LABELS]


def fastapi(setting):
    cpus = len(os.sched_getaffinity(0))
    options = f"--host 127.0.0.1 --port {setting.port} --workers {cpus} --no-access-log --log-level warning"
    return {"args": ["uvicorn", "with_fastapi:app", *options.split()], "env": setting.environment()}


def litserve(setting):
    return {"args": ["python", PEERS / "with_litserve.py", str(setting.port)], "env": setting.environment()}


def bentoml(setting):
    options = f"--working-dir {PEERS} --host 127.0.0.1 --port {setting.port}"
    environment = {
        **setting.environment(),
        "BENTOML_HOME": str(setting.folder),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    return {"args": ["bentoml", "serve", "with_bentoml:Service", *options.split()], "env": environment}


def mlserver(setting):
    cpus = len(os.sched_getaffinity(0))
    server = {
        "host": "127.0.0.1",
        "http_port": setting.port,
        "grpc_port": setting.port + 1,
        "metrics_endpoint": None,
        "debug": False,
        "parallel_workers": cpus,
    }
    model = {
        "name": "network",
        "implementation": "with_mlserver.Runtime",
        "max_batch_size": 32,
        "max_batch_time": 0.001,
    }
    (setting.folder / "settings.json").write_text(json.dumps(server))
    (setting.folder / "model-settings.json").write_text(json.dumps(model))
    return {"args": ["mlserver", "start", "."], "env": setting.environment()}


def mlserver_body(png):
    image = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": [b64(png)]}
    return json.dumps({"inputs": [{**image, "parameters": {"content_type": "base64"}}]}).encode()


TRITON_CONFIG = """
backend: "python"
max_batch_size: 32
dynamic_batching {{}}
input [{{ name: "image" data_type: TYPE_STRING dims: [1] }}]
output [{{ name: "scores" data_type: TYPE_FP32 dims: [10] }}]
instance_group [{{ kind: KIND_CPU count: {cpus} }}]
"""


def triton(setting):
    # nvidia-pytriton carries the server itself; PyTriton's own way through a proxy would only make it slower.
    packages = next(setting.venv.glob("lib/python3*/site-packages"))
    server = packages / "pytriton" / "tritonserver"
    backends, model = setting.folder / "backends", setting.folder / "models" / "network"
    shutil.copytree(server / "backends", backends)
    version = packages.parent.name.removeprefix("python")
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    (model / "1").mkdir(parents=True)
    shutil.copy(PEERS / "with_triton.py", model / "1" / "model.py")
    shutil.copy(PEERS / "inference.py", model / "1")
    (model / "config.pbtxt").write_text(TRITON_CONFIG.format(cpus=len(os.sched_getaffinity(0))))
    options = {
        "model-repository": model.parent,
        "backend-directory": backends,
        "http-address": "127.0.0.1",
        "http-port": setting.port,
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    environment = setting.environment()
    environment["PYTHONPATH"] += f":{packages}"
    environment["LD_LIBRARY_PATH"] = str(packages / "nvidia_pytriton.libs")
    arguments = [f"--{option}={value}" for option, value in options.items()]
    return {"args": [server / "bin" / "tritonserver", *arguments], "env": environment}


RUNTIME = ["onnxruntime==1.32.0", "opencv-python-headless"]
JSON = {"Content-Type": "application/json"}
CONTENDERS = [
    Contender("Irori", irori, path="/predict?top_k=10", scores=irori_scores),
    Contender(
        "FastAPI + uvicorn",
        fastapi,
        ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", *RUNTIME],
    ),
    Contender(
        "LitServe",
        litserve,
        ["litserve==0.2.19", *RUNTIME],
        headers=JSON,
        body=lambda png: json.dumps({"image": b64(png)}).encode(),
    ),
    Contender(
        "BentoML",
        bentoml,
        ["bentoml==1.4.40", *RUNTIME],
        headers=JSON,
        body=lambda png: json.dumps({"images": [b64(png)]}).encode(),
        scores=lambda answer: json.loads(answer)[0],
    ),
    Contender(
        "MLServer",
        mlserver,
        ["mlserver==1.7.1", "uvloop<0.22", *RUNTIME],
        path="/v2/models/network/infer",
        headers=JSON,
        body=mlserver_body,
        scores=lambda answer: json.loads(answer)["outputs"][0]["data"],
    ),
    Contender(
        "Triton (Python backend)",
        triton,
        ["nvidia-pytriton==0.7.0", *RUNTIME],
        path="/v2/models/network/infer",
        headers={"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"},
        # Ten numbers after the JSON, as the binary tensor extension answers.
        scores=lambda answer: list(struct.unpack("<10f", answer[-40:])),
    ),
]
