"""The soak: everything at once against one server for some minutes; ends with 1 where something was wrong.

    cargo build --release
    python benches/soak/run.py --irori target/release/irori --seconds 300

Good clients check every answer against the image's own. First a hundred new versions take each other's place under
their load. Then come hostile requests, crowds that overfill the queue, slow lorises, versions that are published,
promoted, rolled back and deleted, and a training job. In the middle the server is killed with SIGKILL and started
again; at the end it is told to end with requests in flight. Needs Python 3.11 and nothing else. Below 120 seconds
memory after the storm and latency while training are reported but not judged.
"""

import argparse
import asyncio
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from client import Client, Lost, form
from traffic import MODEL, Changes, Known, Tally, crowd, good, hostile, slow

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
FIXTURES = REPOSITORY / "tests" / "fixtures"
TOKEN = "soak"
# Versions that take each other's place: so many before memory is first looked at, because only with them the threads and
# buffers are there that every later one uses too; and then so many.
FIRST_RELOADS, RELOADS = 100, 100
GOOD_CLIENTS, HOSTILE_CLIENTS, SLOW_CLIENTS = 8, 3, 20
# Small enough for the crowd to overfill.
QUEUE = 256


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--irori", type=pathlib.Path, default=os.environ.get("IRORI_BIN", "target/release/irori"))
    parser.add_argument("--seconds", type=float, default=180, help="of load in all")
    parser.add_argument("--port", type=int, default=21450)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.irori = options.irori.resolve()
    return options


class Server:
    """The process under test."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder

    async def start(self):
        """Starts it and waits until it is ready; answers the seconds that took."""
        started = time.perf_counter()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self.options.irori, "--log", "warn", "serve", "--listen", f"127.0.0.1:{self.options.port}",
                    "--models", self.folder / "models", "--data", self.folder / "data", "--default-model", MODEL,
                    "--queue-capacity", str(QUEUE),
                ],
                env={**os.environ, "IRORI_ADMIN_TOKEN": TOKEN}, stdout=log, stderr=log,
            )  # fmt: skip
        client = Client(self.options.port)
        while True:
            try:
                if (await client.ask("GET", "/health/ready")).status == 200:
                    client.close()
                    return time.perf_counter() - started
            except Lost:
                pass
            if self.process.poll() is not None or time.perf_counter() - started > 30:
                raise SystemExit(f"it did not start: {(self.folder / 'log').read_text()[-2000:]}")
            await asyncio.sleep(0.005)

    def resident(self):
        """Bytes of memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


class Soak:
    """The phases, and what they found."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.server = Server(options, folder)
        self.known = Known([file.read_bytes() for file in sorted((FIXTURES / "digits").glob("*/*.png"))])
        self.tallies, self.faults, self.killing = [], [], False
        self.seed = options.seed * 1000

    def judge(self, is_so, what):
        """Says it, and remembers where it is not so."""
        print(f"  {'ok  ' if is_so else 'FAIL'} {what}", flush=True)
        if not is_so:
            self.faults.append(what)

    async def phase(self, title, share, *, storm=False, meanwhile=None):
        """Load for a share of the time; `meanwhile` runs beside it."""
        seconds, tally, stop = self.options.seconds * share, Tally(), asyncio.Event()
        port, may_lose = self.options.port, lambda: self.killing
        tasks = []
        for _ in range(GOOD_CLIENTS):
            self.seed += 1
            tasks.append(good(port, self.known, tally, self.seed, stop, may_lose))
        if storm:
            for _ in range(HOSTILE_CLIENTS):
                self.seed += 1
                tasks.append(hostile(port, self.known, tally, self.seed, stop, may_lose))
            tasks += [slow(port, stop) for _ in range(SLOW_CLIENTS)]
            tasks += [crowd(port, self.known, tally, stop), self.changes.run(tally, stop, may_lose)]
        tasks = [asyncio.create_task(task) for task in tasks]
        if meanwhile:
            tasks.append(asyncio.create_task(meanwhile(seconds)))
        await asyncio.sleep(seconds)
        stop.set()
        await asyncio.gather(*tasks)
        self.tallies.append(tally)
        requests = len(tally.latencies)
        print(
            f"{title}: {requests} good requests, {tally.images} images, {requests / seconds:.0f}/s,"
            f" p50 {tally.percentile(0.5) * 1e3:.1f} ms, p99 {tally.percentile(0.99) * 1e3:.1f} ms;"
            f" {tally.refused} refused with 429, {len(tally.lost)} lost, {tally.changes} changes,"
            f" {sum(tally.hostile.values())} hostile {dict(sorted(tally.hostile.items(), key=str)) or ''};"
            f" {self.server.resident() / 1e6:.0f} MB",
            flush=True,
        )
        for fault in tally.faults[:5]:
            print(f"       {fault[:400]}")
        self.judge(requests > 0, f"{title}: good requests are answered")
        self.judge(not tally.faults, f"{title}: {len(tally.faults)} wrong, lost or failed")
        return tally

    async def reload(self, times):
        """So many reloads under load, and a moment of nothing but load; answers the memory after it."""
        tally, stop = Tally(), asyncio.Event()
        clients = []
        for _ in range(GOOD_CLIENTS):
            self.seed += 1
            clients.append(asyncio.create_task(good(self.options.port, self.known, tally, self.seed, stop, lambda: False)))
        await self.changes.reload(times, tally)
        # Freed memory goes back to the system within ten seconds.
        await asyncio.sleep(12)
        stop.set()
        await asyncio.gather(*clients)
        self.tallies.append(tally)
        for fault in tally.faults[:5]:
            print(f"       {fault[:400]}")
        self.judge(
            tally.latencies and not tally.faults,
            f"{times} reloads during {len(tally.latencies)} good requests: {len(tally.faults)} wrong, lost or failed",
        )
        return self.server.resident()

    async def reloads(self):
        """Whether memory is what it was after another hundred."""
        before = await self.reload(FIRST_RELOADS)
        after = await self.reload(RELOADS)
        self.judge(
            abs(after / before - 1) <= 0.1,
            f"memory before and after {RELOADS} reloads: {before / 1e6:.1f} and {after / 1e6:.1f} MB",
        )

    async def train(self):
        """Begins a training that outlasts the phases; answers the job's path."""
        job = await self.changes.expect(
            202,
            "POST",
            "/admin/models/trained/train",
            {
                "dataset": "digits",
                "architecture": {
                    "layers": [
                        {
                            "class_name": "Conv2D",
                            "config": {"filters": 32, "kernel_size": [3, 3], "input_shape": [28, 28, 1]},
                        },
                        {"class_name": "Conv2D", "config": {"filters": 64, "kernel_size": [3, 3]}},
                        {"class_name": "Flatten"},
                        {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
                    ]
                },
                "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"},
                "fit": {"batch_size": 32, "epochs": 10000},
            },
        )
        return f"/admin/jobs/{job['id']}"

    async def kill(self, seconds):
        """SIGKILL in the middle of a phase, and a new start on what is on the disk."""
        await asyncio.sleep(seconds / 2)
        version = await self.changes_of_its_own()
        self.killing = True
        self.server.process.kill()
        self.server.process.wait()
        took = await self.server.start()
        answer = await Client(self.options.port).ask("GET", f"/models/{MODEL}/versions/{version}")
        self.judge(
            answer.status == 200, f"killed and started again: ready in {took * 1e3:.0f} ms, what was published is there"
        )
        # Requests that were cut off are asked again; give them a moment before losses count anew.
        await asyncio.sleep(1)
        self.killing = False

    async def changes_of_its_own(self):
        """A version whose publication was answered just before the kill."""
        return await Changes(self.options.port, TOKEN, self.changes.model_file).publish("p")

    async def drain(self):
        """SIGTERM with requests in flight: they are answered, new ones refused, and the process ends well."""
        body, headers = form([(f"f{number}", "f.png", self.known.images[number]) for number in range(8)])
        clients = [Client(self.options.port) for _ in range(20)]
        for client in clients:
            await client.ask("GET", "/health/live")
        asking = [
            asyncio.create_task(client.ask("POST", f"/models/{MODEL}/predict", body, headers)) for client in clients
        ]
        await asyncio.sleep(0.003)
        self.server.process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        good = sum(
            not isinstance(a, Lost) and a.status == 200 and not self.known.wrong(range(8), a.json()) for a in answers
        )
        refused = sum(isinstance(a, Lost) or a.status == 503 for a in answers)
        code = await asyncio.to_thread(self.server.process.wait, 60)
        self.judge(
            code == 0 and good + refused == len(answers),
            f"ended by SIGTERM, exit {code}; {len(answers)} requests under way: {good} answered, {refused} turned away",
        )

    async def run(self):
        shutil.copytree(REPOSITORY / "models" / MODEL / "1", self.folder / "models" / MODEL / "1")
        print(f"ready in {await self.server.start() * 1e3:.0f} ms")
        admin = Client(self.options.port, TOKEN)
        model = await admin.ask("GET", f"/admin/models/{MODEL}/versions/1/export?format=keras")
        self.changes = Changes(self.options.port, TOKEN, model.body)
        with tarfile.open(self.folder / "digits.tar", "w") as archive:
            archive.add(FIXTURES / "digits", ".")
        await self.changes.expect(201, "PUT", "/admin/datasets/digits", (self.folder / "digits.tar").read_bytes())

        await self.known.learn(admin, "p", 1)
        inverted = await self.changes.publish("i")
        await self.changes.promote(1)
        await self.known.learn(admin, "i", inverted)

        await self.phase("warm-up", 0.1)
        idle = await self.phase("idle", 0.15)
        await self.reloads()
        resting = []
        for part in ("first", "second"):
            await self.phase(f"storm, {part} part", 0.12, storm=True)
            await self.phase("rest", 0.03)
            resting.append(self.server.resident())
        before, after = resting
        long = self.options.seconds >= 120
        growth = after / before - 1
        self.judge(
            growth < 0.1 or not long,
            f"memory after the first and the second part of the storm: {before / 1e6:.0f} and {after / 1e6:.0f} MB",
        )

        job = await self.train()
        training = await self.phase("while training", 0.15)
        state = (await self.changes.expect(200, "GET", job))["state"]
        self.judge(state == "running", f"the training went on all the while: {state}")
        ratio = training.percentile(0.99) / idle.percentile(0.99)
        self.judge(ratio <= 2 or not long, f"p99 while training is {ratio:.2f} times that when idle")

        killed = await self.phase("storm, training, killed", 0.2, storm=True, meanwhile=self.kill)
        self.judge(bool(killed.lost), f"the kill was felt: {len(killed.lost)} requests were cut off, and asked again")
        await self.phase("calm", 0.1)
        await self.drain()
        log = (self.folder / "log").read_text()
        self.judge("panic" not in log, "no panic in the log")

        print(
            f"\n{sum(len(tally.latencies) for tally in self.tallies)} good requests with"
            f" {sum(tally.images for tally in self.tallies)} images, every answer that image's own;"
            f" {sum(sum(tally.hostile.values()) for tally in self.tallies)} hostile requests;"
            f" {sum(tally.changes for tally in self.tallies)} changes of version; {len(self.faults)} faults"
        )
        return 1 if self.faults else 0


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="irori-soak-") as folder:
        soak = Soak(options, pathlib.Path(folder))
        try:
            return asyncio.run(soak.run())
        finally:
            process = getattr(soak.server, "process", None)
            if process and process.poll() is None:
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
