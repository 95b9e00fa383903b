"""Times Irori beside ONNX Runtime, PyTorch and Keras on the same networks with the same weights, in turn.

    cargo build --release
    python3 benches/compare/compare.py --write-readme

Machines whose speed varies make figures of different minutes incomparable. So all runtimes are timed in one run, one
after another for each cell, round after round; a ratio is taken within a round, and its median, least and greatest over
the rounds are shown. Needs Python 3.10 and, for what PyTorch compiles, g++; makes its own venv (some 7 GB, for PyTorch
brings CUDA along). With --mnist: how long Irori and Keras train until 99 % of MNIST's test images are right.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path.home() / ".cache" / "irori-compare"
PACKAGES = [
    "keras==3.15.1",
    "numpy",
    "onnx",
    "onnxruntime==1.32.0",
    "safetensors",
    "tensorflow-cpu==2.21.0",
    "torch==2.15.0",
]
FORWARD, TRAIN = [1, 8, 32, 128], [32, 128]
THREADS = [1, 2]
# How far scores may differ between runtimes.
TOLERANCE = 1e-4
PEERS = {"forward": ["onnxruntime", "torch", "keras"], "train": ["torch", "keras"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "irori"
    parser.add_argument("--irori", type=pathlib.Path, default=built, metavar="FILE", help="the binary [%(default)s]")
    parser.add_argument("--rounds", type=int, default=15, help="[%(default)s]")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each runtime, cell and round [%(default)s]")
    parser.add_argument("--networks", default="ABCD", help="those to compare [%(default)s]")
    parser.add_argument("--results", type=pathlib.Path, default=CACHE / "results.json", metavar="FILE",
                        help="where all figures go [%(default)s]")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round of two batch sizes, to see that it works")
    parser.add_argument("--mnist", action="store_true", help="instead: MNIST to 99 %%, Irori beside Keras")
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    return parser.parse_args()


def enter_venv():
    """Goes on in the venv, which is made where there is none that is whole."""
    if pathlib.Path(sys.prefix) == CACHE / "venv":
        return
    python = CACHE / "venv" / "bin" / "python"
    installed = CACHE / "installed"
    if not installed.exists() or installed.read_text() != "\n".join(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        installed.write_text("\n".join(PACKAGES))
    os.execv(python, [python, *sys.argv])


class Peer:
    """A worker process."""

    def __init__(self, runtime, threads):
        # Variables, because some libraries of the runtimes read nothing else.
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(threads))
        self.errors = open(CACHE / f"{runtime}-{threads}.log", "w")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", runtime, str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=os.environ | limits,
        )  # fmt: skip
        self.name = self.ask(do="about")["about"]

    def ask(self, **command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"a worker ended; see {self.errors.name}")
        return json.loads(answer)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Irori:
    """The binary, and the networks as models that it has imported."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.models = folder / "models"

    def run(self, *command):
        done = subprocess.run([self.binary, *map(str, command)], capture_output=True, text=True, timeout=600)
        if done.returncode:
            sys.exit(f"irori {' '.join(map(str, command))}:\n{done.stderr}")
        return done.stdout

    def add(self, network):
        from networks import document, draw_weights
        from safetensors.numpy import save_file

        architecture, weights = self.folder / f"{network}.json", self.folder / f"{network}.safetensors"
        architecture.write_text(json.dumps(document(network)))
        save_file(draw_weights(network), weights)
        self.run("import", weights, "--architecture", architecture, "--model", network, "--models", self.models)

    def scores(self, network, count):
        from networks import draw_images
        from safetensors.numpy import load_file, save_file

        x, y = self.folder / "x.safetensors", self.folder / "y.safetensors"
        save_file({"x": draw_images(network, count)}, x)
        self.run("predict", "--tensor", x, "--output", y, "--model", network, "--models", self.models)
        return load_file(y)["y"]

    def time(self, network, mode, batch, threads, seconds):
        """Seconds for a batch, and the peak that was measured then."""
        options = ["--train"] if mode == "train" else []
        answer = json.loads(
            self.run("bench", "--json", "--model", network, "--models", self.models, "--batch", batch,
                     "--threads", threads, "--seconds", seconds, *options)
        )  # fmt: skip
        return answer["results"][0]["seconds_median"], answer["peak_gflops"]


def check(networks, irori, peers):
    """All runtimes give the same scores for the same images."""
    import numpy as np

    largest = {}
    for network in networks:
        expected = irori.scores(network, 16)
        # Scores that hardly differ from image to image would agree whatever was computed.
        if min(expected.std(0).max(), expected.std(1).max()) < 10 * TOLERANCE:
            sys.exit(f"the scores of {network} say too little to be compared")
        for peer in peers:
            scores = np.array(peer.ask(do="scores", network=network, count=16)["scores"])
            difference = float(np.abs(scores - expected).max())
            largest[network] = max(largest.get(network, 0.0), difference)
            if not difference <= TOLERANCE:
                sys.exit(f"{peer.name} and Irori differ by {difference} on {network}")
    return largest


def measure(args):
    networks = list(args.networks)
    forward, train, rounds, seconds = FORWARD, TRAIN, args.rounds, args.seconds
    if args.quick:
        forward, train, rounds, seconds = [8], [32], 2, 0.05
    peers = {(name, threads): Peer(name, threads) for threads in THREADS for name in PEERS["forward"]}
    with tempfile.TemporaryDirectory() as folder:
        irori = Irori(args.irori, pathlib.Path(folder))
        for network in networks:
            irori.add(network)
        differences = check(networks, irori, [peers[name, 1] for name in PEERS["forward"]])
        cells = [
            {"network": network, "mode": mode, "batch": batch, "threads": threads, "ways": {}, "rounds": []}
            for mode, batches in [("forward", forward), ("train", train)]
            for network in networks
            for batch in batches
            for threads in THREADS
        ]
        for cell in cells:
            what = {key: cell[key] for key in ("network", "mode", "batch")}
            for name in PEERS[cell["mode"]]:
                cell["ways"][name] = found = peers[name, cell["threads"]].ask(do="prepare", **what)
                if not found["way"]:
                    sys.exit(f"{cell_name(cell)}: {name} can't: {found['tried']}")
            progress(f"{cell_name(cell)}: " + ", ".join(f"{n} {way['way']}" for n, way in cell["ways"].items()))
        for number in range(1, rounds + 1):
            progress(f"round {number} of {rounds}")
            for cell in cells:
                what = {key: cell[key] for key in ("network", "mode", "batch")}
                taken, peak = irori.time(**what, threads=cell["threads"], seconds=seconds)
                figures = {"irori": taken, "peak_gflops": peak, "cores": {}}
                for name in PEERS[cell["mode"]]:
                    answer = peers[name, cell["threads"]].ask(do="time", **what, seconds=seconds)
                    figures[name] = answer["seconds"]
                    figures["cores"][name] = answer["cores"]
                cell["rounds"].append(figures)
    for cell in cells:
        for name in cell["ways"]:
            cores = statistics.median(figures["cores"][name] for figures in cell["rounds"])
            if cores > 1.1 * cell["threads"]:
                progress(f"{cell_name(cell)}: {name} was busy on {cores:.1f} processors")
    for peer in peers.values():
        peer.stop()
    names = {name: peers[name, 1].name for name in PEERS["forward"]}
    return {"names": names, "rounds": rounds, "differences": differences, "cells": cells}


def cell_name(cell):
    return f"{cell['network']} {cell['mode']} {cell['batch']}, threads: {cell['threads']}"


def progress(line):
    print(line, file=sys.stderr, flush=True)


def main():
    args = arguments()
    if not args.irori.exists():
        sys.exit(f"{args.irori} does not exist; build it with cargo build --release, or name it with --irori")
    enter_venv()
    import mnist
    import report

    if args.mnist:
        block, results = "benches/compare/mnist", mnist.measure(args.irori, ROOT, seeds=1 if args.quick else 3)
        text = mnist.table(results)
    else:
        block, results = "benches/compare", measure(args)
        text = report.table(results)
    args.results.write_text(json.dumps(results, indent=1))
    print(text)
    if args.write_readme:
        report.write(ROOT / "README.md", block, text)


main()
