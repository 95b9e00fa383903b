"""Where one request's microseconds go in Irori: the network, decoding, and all that surrounds them.

    python benches/serve/breakdown.py --irori target/release/irori

Drives POST /predict with 64 connections and compares the processor time that a request takes with what the network
alone takes in the same batches (`irori bench`) and with what decoding takes.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.request
from collections import Counter

import report
from contenders import CONTENDERS, Setting
from load import load
from run import CACHE, prepare
from server import TICKS, Server, stat


def metrics(server):
    """Irori's own count and sum of what it measures, by name, over all series."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.setting.port}/metrics", headers={"Accept": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        families = json.load(answer)
    figures = {}
    for name, family in families.items():
        for series in family["series"]:
            if "sum" in series and series["labels"].get("route", "/predict") == "/predict":
                count, total = figures.get(name, (0, 0))
                figures[name] = count + series["count"], total + series["sum"]
    return figures


def threads(server):
    """Seconds of processor time by the name of the thread."""
    used = Counter()
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if task.name == str(server.process.pid):
            name = "main"
        name = name.rstrip("-0123456789")
        used[name] += sum(map(int, stat(f"{server.process.pid}/task/{task.name}")[11:13])) / TICKS
    return used


def drive(server, pngs, connections, seconds):
    """Load, and what changed while it went on: the means of Irori's own measurements, and threads' time."""
    before, used_before = metrics(server), threads(server)
    measured = load(server, pngs, connections, seconds)
    after, used_after = metrics(server), threads(server)
    means = {
        name: (total - before.get(name, (0, 0))[1]) / (count - before.get(name, (0, 0))[0])
        for name, (count, total) in after.items()
        if count > before.get(name, (0, 0))[0]
    }
    used = {name: (time - used_before[name]) / measured["requests"] for name, time in used_after.items()}
    return measured, means, {name: time for name, time in used.items() if time > 0}


def forward(options, models, network, batch):
    """Seconds of one thread for one image, in the network alone; of the quickest batch, which nothing disturbed."""
    command = [options.irori, "bench", "--models", models, "--model", network, "--batch", str(batch)]
    output = subprocess.run([*command, "--threads", "1", "--json"], capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(f"irori bench: {output.stderr}")
    return json.loads(output.stdout)["results"][0]["seconds_min"] / batch


def micro(seconds):
    return f"{seconds * 1e6:.1f} µs"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--irori", type=pathlib.Path, default=os.environ.get("IRORI_BIN", "target/release/irori"))
    parser.add_argument("--networks", nargs="+", choices=["a", "b"], default=["a", "b"])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--port", type=int, default=21410)
    parser.add_argument("--cache", type=pathlib.Path, default=CACHE)
    options = parser.parse_args()
    options.irori = options.irori.resolve()
    (irori,) = (contender for contender in CONTENDERS if contender.key == "irori")
    with tempfile.TemporaryDirectory(prefix="irori-breakdown-") as work:
        work = pathlib.Path(work)
        networks, models, pngs = prepare(options, work)
        for network in options.networks:
            folder = work / network
            folder.mkdir()
            setting = Setting(network, options.port, folder, networks, models, options.irori, options.cache)
            with Server(irori, setting) as server:
                load(server, pngs, 64, 2)
                _, alone, _ = drive(server, pngs, 1, options.seconds)
                measured, means, used = drive(server, pngs, 64, options.seconds)
            # A lone image finds cold caches, and a crowd's waits for a processor: the lower is nearer to the work itself.
            decode = min(alone["irori_decode_seconds"], means["irori_decode_seconds"])
            show(options, models, network, measured, means, used, decode)


def show(options, models, network, measured, means, used, decode):
    batch = max(round(means["irori_batch_size"]), 1)
    network_alone = forward(options, models, network, batch)
    whole = sum(used.values())
    computing = sum(time for name, time in used.items() if name in ("irori-engine", "irori-split")) - decode
    rest = whole - computing - decode
    rate = measured["requests_per_second"]
    print(f"\n**{report.NETWORKS[network]}**, 64 connections: {rate:,.0f} requests/s\n")
    rows = [
        ["the network, in batches of " + str(batch), micro(computing), f"{computing / whole:.0%}"],
        ["decoding", micro(decode), f"{decode / whole:.0%}"],
        ["HTTP, JSON, waking threads, the system", micro(rest), f"{rest / whole:.0%}"],
        ["all", micro(whole), "100%"],
    ]
    print(report.table(["processor time of one request", "", ""], rows), "\n")
    rows = [[name, micro(time)] for name, time in sorted(used.items(), key=lambda item: -item[1])]
    print(report.table(["of which by thread", ""], rows), "\n")
    duration = means["irori_http_request_duration_seconds"]
    parts = {part: means[f"irori_{part}_seconds"] for part in ("decode", "queue", "compute")}
    rows = [[part, micro(time)] for part, time in parts.items()]
    rows += [["before, between and after", micro(duration - sum(parts.values()))], ["all", micro(duration)]]
    print(report.table(["time of one request, as the server sees it", ""], rows), "\n")
    share = (network_alone + decode) / whole
    print(
        f"The network alone takes {micro(network_alone)} an image in batches of {batch}. In the processor time that"
        f" was used, it and decoding would answer {rate / share:,.0f} requests/s: /predict reached {share:.0%} of that."
    )


if __name__ == "__main__":
    main()
