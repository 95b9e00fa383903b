"""One runtime with a number of threads, in a process of its own: times on command what compare.py asks for.

Reads a JSON object a line on standard input, `{"do": …, "network": "A", …}`, and answers one a line.
"""

import importlib
import json
import os
import statistics
import sys
import time

# How long each way of running a cell is tried before the fastest is chosen.
TRIAL_SECONDS = 0.3


def repeat(step, seconds):
    """The seconds that each step takes, over `seconds` in all, after one that isn't timed."""
    step()
    times = []
    began = time.perf_counter()
    while not times or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return times


class Worker:
    def __init__(self, runtime, threads):
        self.runtime = importlib.import_module(f"run_{runtime}")
        self.runtime.start(threads)
        self.steps = {}

    def about(self):
        return {"about": self.runtime.about()}

    def scores(self, network, count):
        return {"scores": self.runtime.scores(network, count).tolist()}

    def prepare(self, network, mode, batch):
        """Tries each way of running a cell and keeps the fastest."""
        best, tried = None, {}
        for name, make in self.runtime.ways(network, mode, batch).items():
            try:
                step = make()
                # The least, for a way is to be chosen by what it can do, not by what else ran just then.
                tried[name] = min(repeat(step, TRIAL_SECONDS))
            except Exception as error:
                tried[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                continue
            if best is None or tried[name] < tried[best]:
                best = name
                self.steps[network, mode, batch] = step
        return {"way": best, "tried": tried}

    def time(self, network, mode, batch, seconds):
        busy = time.process_time()
        began = time.perf_counter()
        times = repeat(self.steps[network, mode, batch], seconds)
        cores = (time.process_time() - busy) / (time.perf_counter() - began)
        return {"seconds": statistics.median(times), "cores": cores}


def main():
    runtime, threads = sys.argv[1], int(sys.argv[2])
    # What the runtimes print goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(runtime, threads)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        print(json.dumps(answer), file=answers, flush=True)


main()
