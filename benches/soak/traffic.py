"""What is sent: good requests whose answers are known, hostile ones, and changes of the served version.

Every published version carries its own labels, `<tag>-<digit>`, and is of one of two kinds that answer differently: `p`
sees the image as it is, `i` inverted. So an answer shows which version gave it, and whether it is that image's answer.
"""

import asyncio
import base64
import contextlib
import json
import random
import time

from client import Client, Lost, form, read_answer

MODEL = "digits"
TOLERANCE = 1e-5


class Known:
    """The images and their answers by each kind, and the tag that each version was seen with."""

    def __init__(self, images):
        self.images = images
        self.answers = {}
        self.tags = {}

    async def learn(self, client, kind, version):
        """Asks one version for every image, one at a time."""
        self.answers[kind] = answers = []
        for image in self.images:
            answer = await client.ask("POST", f"/models/{MODEL}/versions/{version}/predict?top_k=10", image)
            if answer.status != 200:
                raise SystemExit(f"version {version} does not answer: {answer}")
            (prediction,) = answer.json()["predictions"]
            answers.append({top["index"]: top["probability"] for top in prediction["top"]})

    def wrong(self, sent, answer):
        """What is wrong with the answer to these images, or None."""
        if len(answer["predictions"]) != len(sent):
            return f"{len(answer['predictions'])} predictions for {len(sent)} images"
        for image, prediction in zip(sent, answer["predictions"]):
            tag, _, digit = prediction["label"].rpartition("-")
            if self.tags.setdefault(answer["version"], tag) != tag:
                return f"version {answer['version']} with the labels of another: {tag}"
            expected = self.answers[tag[:1] or "p"][image]
            given = {top["index"]: top["probability"] for top in prediction["top"]}
            if int(digit) != prediction["index"] or given.keys() - expected.keys():
                return f"image {image}: labels are mixed up: {prediction}"
            if any(abs(given[index] - expected[index]) > TOLERANCE for index in given):
                return f"image {image} of version {answer['version']} ({tag}): {given}, not {expected}"
        return None


class Tally:
    """What came back."""

    def __init__(self):
        self.latencies, self.images, self.refused, self.faults, self.lost = [], 0, 0, [], []
        self.hostile, self.changes = {}, 0

    def percentile(self, share):
        """Seconds, of the good requests."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def good_request(known, random):
    """Some images in one of the three forms, and which they are."""
    count = random.choice([1, 1, 1, 1, 2, 5])
    sent = [random.randrange(len(known.images)) for _ in range(count)]
    files = [known.images[image] for image in sent]
    form_of = random.randrange(3) if count == 1 else random.randrange(1, 3)
    if form_of == 0:
        return sent, files[0], []
    if form_of == 1:
        return sent, *form([(f"f{number}", f"{number}.png", file) for number, file in enumerate(files)])
    images = [{"b64": base64.b64encode(file).decode()} for file in files]
    return sent, json.dumps({"images": images}).encode(), [("Content-Type", "application/json")]


async def good(port, known, tally, seed, stop, may_lose):
    """A client that asks, waits for the answer, and asks again. `may_lose()` says whether the server is being killed:
    then a request is asked again until it is answered, which it must be."""
    rng, client = random.Random(seed), Client(port)
    while not stop.is_set():
        sent, body, headers = good_request(known, rng)
        path = rng.choice([f"/models/{MODEL}/predict", f"/models/{MODEL}/versions/1/predict", "/predict"])
        started = time.perf_counter()
        try:
            answer = await client.ask("POST", path, body, headers)
        except Lost as error:
            if not may_lose():
                tally.faults.append(f"lost: {error}")
            tally.lost.append(path)
            await asyncio.sleep(0.02)
            continue
        if answer.status == 429 and "retry-after" in answer.headers:
            tally.refused += 1
            await asyncio.sleep(0.05)
        elif answer.status != 200:
            tally.faults.append(f"{path}: {answer}")
        elif wrong := known.wrong(sent, answer.json()):
            tally.faults.append(f"{path}: {wrong}")
        else:
            tally.latencies.append(time.perf_counter() - started)
            tally.images += len(sent)
    client.close()


def mutated(image, rng):
    """An image file with something broken."""
    broken = bytearray(image)
    kind = rng.randrange(4)
    if kind == 0:
        del broken[rng.randrange(len(broken)) :]
    elif kind == 1:
        for _ in range(rng.randrange(1, 20)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
    elif kind == 2:
        at = rng.randrange(len(broken))
        broken[at:at] = rng.randbytes(rng.randrange(1, 200))
    else:
        # The header of a PNG says how large it is; this one lies.
        broken[16:24] = rng.randbytes(8)
    return bytes(broken)


def hostile_request(known, rng):
    """A request that should be refused, or at most be answered."""
    image = known.images[rng.randrange(len(known.images))]
    b64 = base64.b64encode(image).decode()
    path, json_type = f"/models/{MODEL}/predict", [("Content-Type", "application/json")]
    return rng.choice(
        [
            ("POST", path, mutated(image, rng), []),
            ("POST", path, mutated(image, rng), [("Content-Type", "image/png")]),
            ("POST", path, b"", []),
            ("POST", path, rng.randbytes(rng.randrange(1, 5000)), []),
            ("POST", path, mutated(f'{{"images":[{{"b64":"{b64}"}}]}}'.encode(), rng), json_type),
            ("POST", path, b"[" * 10000, json_type),
            ("POST", path, json.dumps({"images": [{"b64": b64}] * 1000}).encode(), json_type),
            (
                "POST",
                path,
                mutated(form([("f", "f.png", image)])[0], rng),
                [("Content-Type", "multipart/form-data; boundary=x")],
            ),
            ("POST", f"{path}?top_k={rng.choice(['0', '-1', 'x', '99999999999999999999'])}", image, []),
            ("POST", f"/models/{rng.choice(['none', '..%2f..%2fetc', '%00', 'a' * 5000])}/predict", image, []),
            ("POST", f"/models/{MODEL}/versions/{rng.choice(['0', '-1', '999999', 'x'])}/predict", image, []),
            ("POST", f"/admin/models/{MODEL}/promote", b'{"version":1}', json_type),
            (rng.choice(["GET", "PUT", "DELETE", "PATCH"]), path, image, []),
            ("GET", rng.choice(["/metrics", "/models", "/", "/nowhere", "/openapi.json"]), b"", []),
        ]
    )


async def hostile(port, known, tally, seed, stop, may_lose):
    """A client that means no good: broken requests, and connections that are left half open."""
    rng, client = random.Random(seed), Client(port)
    while not stop.is_set():
        try:
            if rng.random() < 0.1:
                await leave_early(client, known, rng)
                kind = "left early"
            else:
                method, path, body, headers = hostile_request(known, rng)
                answer = await client.ask(method, path, body, headers)
                kind = answer.status
                if answer.status >= 500 and not may_lose():
                    tally.faults.append(f"hostile {method} {path[:80]} {body[:80]!r}: {answer}")
        except (Lost, OSError):
            # The server may well hang up on such a client.
            kind = "hung up"
            await asyncio.sleep(0.02)
        tally.hostile[kind] = tally.hostile.get(kind, 0) + 1
        await asyncio.sleep(0.002)
    client.close()


async def leave_early(client, known, rng):
    """Sends a whole request or a part of one, and goes."""
    image = known.images[rng.randrange(len(known.images))]
    request = (
        f"POST /models/{MODEL}/predict HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(image)}\r\n\r\n".encode() + image
    )
    _, writer = await client.open()
    writer.write(request[: rng.choice([len(request), rng.randrange(len(request))])])
    await writer.drain()
    writer.close()


async def slow(port, stop):
    """A slow loris: a byte of a request's head every half second, and never its end."""
    while not stop.is_set():
        with contextlib.suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /predict HTTP/1.1\r\nHost: soak\r\nX-Slow: ")
            while not stop.is_set():
                writer.write(b"x")
                await writer.drain()
                try:
                    await asyncio.wait_for(read_answer(reader), 0.5)
                    break
                except TimeoutError:
                    pass
            writer.close()


async def crowd(port, known, tally, stop):
    """More at once than the queue holds, twice a second: all are answered, some with 429."""
    image = known.images[0]
    body, headers = form([(f"f{number}", "f.png", image) for number in range(8)])

    async def one(client):
        with contextlib.suppress(Lost):
            answer = await client.ask("POST", f"/models/{MODEL}/predict", body, headers)
            if answer.status == 200:
                if wrong := known.wrong([0] * 8, answer.json()):
                    tally.faults.append(f"crowd: {wrong}")
            elif answer.status == 429 and "retry-after" in answer.headers:
                tally.refused += 1
            elif answer.status != 503:
                tally.faults.append(f"crowd: {answer}")

    clients = [Client(port) for _ in range(60)]
    while not stop.is_set():
        await asyncio.gather(*map(one, clients))
        await asyncio.sleep(0.5)
    for client in clients:
        client.close()


class Changes:
    """Publishes, promotes, rolls back and deletes, as an operator with a hurry would."""

    def __init__(self, port, token, model_file):
        self.client, self.model_file = Client(port, token), model_file
        self.published = 0

    async def publish(self, kind):
        """A new version of this kind; answers its number."""
        self.published += 1
        labels = [f"{kind}{self.published}-{digit}" for digit in range(10)]
        preprocessing = {"color": "grayscale", "scale": 1 / 255, "invert": kind == "i"}
        body, headers = form(
            [
                ("labels", None, json.dumps(labels).encode()),
                ("preprocessing", None, json.dumps(preprocessing).encode()),
                ("file", "model.keras", self.model_file),
            ]
        )
        return (await self.expect(201, "POST", f"/admin/models/{MODEL}/versions", body, headers))["version"]

    async def expect(self, status, method, path, body=b"", headers=()):
        """Asks, and takes no other status."""
        answer = await self.client.ask(method, path, body, headers)
        if answer.status != status:
            raise Lost(f"{method} {path}: {answer}")
        return answer.json() if answer.body else None

    async def promote(self, version):
        await self.expect(200, "POST", f"/admin/models/{MODEL}/promote", {"version": version})

    async def reload(self, times, tally):
        """So often a new version, promoted, in the place of the one before it."""
        before = None
        for number in range(times):
            version = await self.publish("pi"[number % 2])
            await self.promote(version)
            if before:
                await self.expect(204, "DELETE", f"/admin/models/{MODEL}/versions/{before}")
            before = version
            tally.changes += 1
        await self.promote(1)
        await self.expect(204, "DELETE", f"/admin/models/{MODEL}/versions/{before}")

    async def run(self, tally, stop, may_lose):
        """Changes until it is stopped."""
        kind = 0
        while not stop.is_set():
            kind += 1
            try:
                version = await self.publish("pi"[kind % 2])
                await self.promote(version)
                await self.promote(1)
                await self.expect(200, "POST", f"/admin/models/{MODEL}/rollback")
                await self.promote(1)
                await self.expect(204, "DELETE", f"/admin/models/{MODEL}/versions/{version}")
                tally.changes += 5
            except Lost as error:
                if not may_lose():
                    tally.faults.append(f"change: {error}")
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)
