"""The load: wrk with one thread, a number of connections, and the images in turn."""

import json
import pathlib
import shutil
import subprocess

SCRIPT = pathlib.Path(__file__).parent / "load.lua"


def wrk():
    """Where wrk is."""
    found = shutil.which("wrk")
    if not found:
        raise SystemExit("wrk is missing: apt-get install wrk")
    return found


def load(server, pngs, connections, seconds):
    """Keeps `connections` requests in flight for some seconds. Latencies in seconds; refusals count as errors."""
    folder = server.setting.folder / "bodies"
    if not folder.exists():
        folder.mkdir()
        for number, png in enumerate(pngs):
            (folder / f"{number:04}").write_bytes(server.contender.body(pathlib.Path(png).read_bytes()))
    contender = server.contender
    headers = [option for name, value in contender.headers.items() for option in ("-H", f"{name}: {value}")]
    command = [
        wrk(), "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s", "-s", SCRIPT, *headers,
        f"http://127.0.0.1:{server.setting.port}{contender.path}", "--", *sorted(folder.iterdir()),
    ]  # fmt: skip
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    measured = json.loads(output.splitlines()[-1])
    measured["requests_per_second"] = (measured["requests"] - measured["errors"]) / measured["seconds"]
    return measured
