"""Measures Irori beside other servers: the same networks, the same images, the same load.

    cargo build --release
    python benches/serve/run.py --irori target/release/irori

Brings what it needs (PyPI, into ~/.cache/irori-serve-bench) but for wrk, which is a package of Debian. Every round
starts each server in turn on each network, checks its answers, and drives it at each number of connections; what is
reported is the median of the rounds. Writes results.json and results.md.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile

import report
from contenders import CONTENDERS, RUNTIME, Setting
from load import load, wrk
from server import DidNotStart, Server, Weighing

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = HERE.parent.parent / "tests" / "fixtures" / "digits"
# What makes the networks; not measured.
TOOLS = ["numpy", "onnx", "safetensors", *RUNTIME]
TOLERANCE = 1e-4
CACHE = pathlib.Path.home() / ".cache" / "irori-serve-bench"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [contender.key for contender in CONTENDERS]
    parser.add_argument("--irori", type=pathlib.Path, default=os.environ.get("IRORI_BIN", "target/release/irori"))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SERVER", help=", ".join(names))
    parser.add_argument("--networks", nargs="+", choices=["a", "b"], default=["a", "b"])
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of load at each number of connections")
    parser.add_argument("--warm-up", type=int, default=3, help="seconds of load before, at 64 connections")
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds each: does it work at all?")
    parser.add_argument("--port", type=int, default=21400)
    parser.add_argument("--cache", type=pathlib.Path, default=CACHE)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("target/serve-bench"))
    parser.add_argument("--write-readme", action="store_true", help="put the tables between the README's marks")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.warm_up = 1, 2, 1
    options.irori, options.output = options.irori.resolve(), options.output.resolve()
    return options


def environment(folder, requirements):
    """A virtual environment with these packages: made once, and again when they change."""
    stamp = folder / "requirements"
    if not (stamp.exists() and stamp.read_text().split() == requirements):
        print(f"installing into {folder}", file=sys.stderr, flush=True)
        # Debian's own Python where there is one: Triton's backend links with its shared library.
        python = next(filter(os.path.exists, ["/usr/bin/python3.11"]), sys.executable)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        stamp.write_text("\n".join(requirements))
    return folder


def size(path):
    """Bytes on disk of a file or a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def prepare(options, work):
    """The networks in both forms, and the images to send."""
    tools = environment(options.cache / "tools", TOOLS)
    pngs = sorted(IMAGES.glob("*/*.png"))
    networks, models = work / "networks", work / "models"
    networks.mkdir()
    subprocess.run([tools / "bin" / "python", HERE / "networks.py", networks, *pngs], check=True)
    for name in options.networks:
        subprocess.run(
            [
                options.irori, "import", networks / f"{name}.safetensors", "--architecture", networks / f"{name}.json",
                "--preprocessing", networks / f"{name}-preprocessing.json", "--model", name, "--models", models,
            ],
            check=True,
        )  # fmt: skip
    return networks, models, pngs


def measure(contender, setting, pngs, options):
    """One server's turn on one network."""
    with Server(contender, setting) as server:
        figures = {"start_seconds": server.start_seconds, "difference": server.check(TOLERANCE), "load": {}}
        load(server, pngs, 64, options.warm_up)
        for connections in options.connections:
            before = server.cpu_seconds()
            with Weighing(server) as weighing:
                measured = load(server, pngs, connections, options.seconds)
            measured["cpu_seconds_per_request"] = (server.cpu_seconds() - before) / max(measured["requests"], 1)
            measured["resident_bytes"] = weighing.resident
            measured["proportional_bytes"] = weighing.proportional
            figures["load"][str(connections)] = measured
    return figures


def main():
    options = arguments()
    wrk()
    contenders = [contender for contender in CONTENDERS if contender.key in options.only]
    results = {
        "machine": {"cpus": len(os.sched_getaffinity(0)), "cpu": report.cpu_model(), "system": platform.platform()},
        "settings": {key: getattr(options, key) for key in ("rounds", "seconds", "warm_up", "connections")},
        "servers": {},
    }
    for contender in contenders:
        entry = results["servers"][contender.key] = {"name": contender.name, "rounds": {}, "failures": {}}
        if contender.requirements:
            folder = environment(options.cache / contender.key, contender.requirements)
            entry["requirements"], entry["installed_bytes"] = contender.requirements, size(folder)
        else:
            entry["installed_bytes"] = size(options.irori)
    with tempfile.TemporaryDirectory(prefix="irori-serve-") as work:
        work = pathlib.Path(work)
        networks, models, pngs = prepare(options, work)
        turns = 0
        for number in range(options.rounds):
            for network in options.networks:
                # Another order every round, so that nobody always comes after the same one.
                for contender in contenders[number % len(contenders) :] + contenders[: number % len(contenders)]:
                    entry, turns = results["servers"][contender.key], turns + 1
                    setting = Setting(
                        network, options.port, work / f"turn-{turns}", networks, models, options.irori,
                        options.cache / contender.key,
                    )  # fmt: skip
                    setting.folder.mkdir()
                    print(f"round {number + 1}, network {network}: {contender.name}", file=sys.stderr, flush=True)
                    try:
                        figures = measure(contender, setting, pngs, options)
                    except (DidNotStart, OSError, ValueError, subprocess.SubprocessError) as error:
                        entry["failures"][network] = f"{type(error).__name__}: {error}"
                        print(f"  {entry['failures'][network]}", file=sys.stderr, flush=True)
                        continue
                    entry["rounds"].setdefault(network, []).append(figures)
                    for connections, measured in figures["load"].items():
                        print(f"  {connections:>4}: {report.line(measured)}", file=sys.stderr, flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(results, indent=1))
    text = report.markdown(results)
    (options.output / "results.md").write_text(text)
    print(text)
    if options.write_readme:
        report.write_readme(HERE.parent.parent / "README.md", text)
    return 1 if any(entry["failures"] for entry in results["servers"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
