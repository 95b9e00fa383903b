"""A running server: started, asked, weighed and ended."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import struct
import subprocess
import threading
import time

START_SECONDS = 90
STOP_SECONDS = 15
TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """A server that gave no good answer in time, and what it wrote last."""


def stat(pid):
    """The fields of `/proc/PID/stat` after the name, or none once the process has gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def began(pid):
    """When a process began, in ticks since the machine did."""
    fields = stat(pid)
    return fields[19] if fields and fields[0] != "Z" else None


class Server:
    """A contender's processes; ends them all on leaving the `with`."""

    def __init__(self, contender, setting):
        self.contender, self.setting = contender, setting

    def __enter__(self):
        self.log = self.setting.folder / "log"
        command = self.contender.command(self.setting)
        started = time.perf_counter()
        with self.log.open("wb") as log:
            # A session of its own, so that its workers can be ended with it.
            self.process = subprocess.Popen(
                **command, cwd=self.setting.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.start_seconds = None
        try:
            self.wait_until_ready(started)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_ready(self, started):
        """Until an image is answered well: a port that is open says nothing yet."""
        png = next(iter(json.loads((self.setting.networks / f"{self.setting.network}-expected.json").read_text())))
        body = pathlib.Path(png).read_bytes()
        reason = "no answer"
        while time.perf_counter() - started < START_SECONDS:
            if self.process.poll() is not None:
                reason = f"it ended with {self.process.returncode}"
                break
            try:
                self.ask(body)
            except (OSError, http.client.HTTPException, LookupError, struct.error, TypeError, ValueError) as error:
                reason = repr(error)
                time.sleep(0.002)
            else:
                self.start_seconds = time.perf_counter() - started
                return
        tail = self.log.read_text(errors="replace").strip().splitlines()[-3:]
        raise DidNotStart(f"{reason}: {' / '.join(tail)}")

    def ask(self, png):
        """The scores of one image."""
        connection = http.client.HTTPConnection("127.0.0.1", self.setting.port, timeout=30)
        try:
            connection.request("POST", self.contender.path, self.contender.body(png), self.contender.headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise ValueError(f"{answer.status} {text[:200]!r}")
            return self.contender.scores(text)
        finally:
            connection.close()

    def check(self, tolerance):
        """Asks for every image and compares with what ONNX Runtime gives; answers the largest difference."""
        expected = json.loads((self.setting.networks / f"{self.setting.network}-expected.json").read_text())
        worst = 0.0
        for png, scores in expected.items():
            given = self.ask(pathlib.Path(png).read_bytes())
            if len(given) != len(scores):
                raise ValueError(f"{self.contender.name}: {len(given)} scores for {png}")
            worst = max(worst, *(abs(a - b) for a, b in zip(given, scores)))
        if worst > tolerance:
            raise ValueError(f"{self.contender.name}: scores differ by {worst}, more than {tolerance}")
        return worst

    def pids(self):
        """The server's process and all below it."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := stat(entry.name)):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def memory(self):
        """Resident bytes of all processes, summed; and proportionally, where shared pages count once."""
        resident = proportional = 0
        for pid in self.pids():
            try:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            for line in rollup.splitlines():
                if line.startswith("Rss:"):
                    resident += int(line.split()[1]) * 1024
                elif line.startswith("Pss:"):
                    proportional += int(line.split()[1]) * 1024
        return resident, proportional

    def cpu_seconds(self):
        """Processor time that all processes have used."""
        fields = filter(None, map(stat, self.pids()))
        return sum(int(user) + int(system) for user, system in (field[11:13] for field in fields)) / TICKS

    def stop(self):
        """SIGTERM, and SIGKILL for what does not listen; its workers too, should they outlive it."""
        alive = [(pid, began(pid)) for pid in self.pids()]
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        for pid, beginning in alive:
            # A number may be another's by now.
            if beginning and began(pid) == beginning:
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Weighing(threading.Thread):
    """Looks at a server's memory twice a second; `resident` and `proportional` are the most that was seen."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over = server, threading.Event()
        self.resident = self.proportional = 0

    def run(self):
        while True:
            resident, proportional = self.server.memory()
            self.resident, self.proportional = max(self.resident, resident), max(self.proportional, proportional)
            if self.over.wait(0.5):
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
