"""Damaged images: sends a running Irori real images with some of their bytes changed, and holds it to
an answer that is never its own fault, and to memory that does not grow.

    python tests/fuzz/images.py http://127.0.0.1:8080 --count 10000 --pid $(pidof irori)
"""

import argparse
import collections
import http.client
import json
import pathlib
import random
import sys
import time
import urllib.parse

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
KINDS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MAX_BYTES = 256 << 10


def damaged(image, choose):
    """The image, with something done to it that a bad disk, a bad network or a bad person does."""
    image = bytearray(image)
    for _ in range(choose.randint(1, 4)):
        kind = choose.randrange(6)
        at = choose.randrange(len(image)) if image else 0
        # What the first bytes say is believed the longest.
        if choose.random() < 0.5:
            at = min(at, choose.randrange(64))
        if kind == 0 and image:
            image[at] ^= 1 << choose.randrange(8)
        elif kind == 1 and image:
            image[at] = choose.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del image[at:]
        elif kind == 3:
            del image[at : at + choose.randint(1, 16)]
        elif kind == 4:
            image[at:at] = choose.randbytes(choose.randint(1, 16))
        else:
            other = choose.randrange(len(image)) if image else 0
            image[at:at] = image[other : other + choose.randint(1, 256)]
    return bytes(image)


def resident(pid):
    """The process's memory in RAM, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    sys.exit(f"process {pid} has gone")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--pid", type=int, help="the server, whose memory is watched")
    given = arguments.parse_args()
    choose = random.Random(given.seed)
    files = [file for file in sorted(FIXTURES.rglob("*")) if file.suffix.lower() in KINDS]
    by_kind = collections.defaultdict(list)
    for file in files:
        if file.stat().st_size <= MAX_BYTES:
            by_kind[file.suffix.lower()].append(file.read_bytes())
    kinds = sorted(by_kind)

    connection = http.client.HTTPConnection(urllib.parse.urlsplit(given.url).netloc, timeout=60)
    answers = collections.Counter()
    slowest = 0.0
    memory = []
    for number in range(given.count):
        body = damaged(choose.choice(by_kind[choose.choice(kinds)]), choose)
        started = time.monotonic()
        connection.request(
            "POST", "/models/digits/predict", body, {"content-type": "application/octet-stream"}
        )
        answer = connection.getresponse()
        text = answer.read()
        slowest = max(slowest, time.monotonic() - started)
        code = "" if answer.status == 200 else json.loads(text)["code"]
        answers[f"{answer.status} {code}".strip()] += 1
        if answer.status >= 500:
            sys.exit(f"image {number} of seed {given.seed}: {answer.status} {text.decode()}")
        # Once the pools and caches are filled, it has to stay as it is.
        if given.pid and number >= given.count // 4 and number % 50 == 0:
            memory.append(resident(given.pid))

    print(f"{given.count} damaged images of {', '.join(kinds)}; the slowest took {slowest:.3f} s")
    for answer, count in answers.most_common():
        print(f"{count:6} {answer}")
    if memory:
        half = len(memory) // 2
        first, second = max(memory[:half]), max(memory[half:])
        print(f"memory: at most {first:.1f} MiB, then at most {second:.1f} MiB")
        if second > first * 1.1 + 4:
            sys.exit("the memory grows")


if __name__ == "__main__":
    main()
