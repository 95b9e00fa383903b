"""Traffic: sends a running Irori predictions, a few that are wrong among them, by turns few and many.

    python tests/dashboard/traffic.py http://127.0.0.1:8080 60
"""

import http.client
import pathlib
import random
import sys
import threading
import time
import urllib.parse

DIGITS = pathlib.Path(__file__).parents[1] / "fixtures" / "digits"
BOUNDARY = "frontier"


def form(images):
    """A multipart body of these images."""
    head = (
        f"--{BOUNDARY}\r\n"
        'content-disposition: form-data; name="image"; filename="image.png"\r\n\r\n'
    ).encode()
    return b"".join(head + image + b"\r\n" for image in images) + f"--{BOUNDARY}--\r\n".encode()


def request(images, random):
    """A body, its type, and whether it deserves an answer."""
    kind = random.random()
    if kind < 0.02:
        return b"this is no image", "application/octet-stream", False
    if kind < 0.3:
        some = random.sample(images, random.randint(2, 16))
        return form(some), f"multipart/form-data; boundary={BOUNDARY}", True
    return random.choice(images), "image/png", True


def client(address, images, until, is_wanted, seed, failures):
    """Asks one request after the other, while it is wanted."""
    choose = random.Random(seed)
    connection = http.client.HTTPConnection(address, timeout=30)
    while time.monotonic() < until:
        if not is_wanted():
            time.sleep(0.05)
            continue
        body, content_type, is_good = request(images, choose)
        connection.request("POST", "/models/digits/predict", body, {"content-type": content_type})
        answer = connection.getresponse()
        answer.read()
        if answer.status != (200 if is_good else 422):
            failures.append(answer.status)
        time.sleep(0.005)


def main(url, seconds, clients=8):
    images = [file.read_bytes() for file in sorted(DIGITS.glob("*/*.png"))]
    started = time.monotonic()
    until = started + seconds
    address = urllib.parse.urlsplit(url).netloc
    failures = []

    # The crowd comes and goes three times.
    def wanted(number):
        phase = (time.monotonic() - started) / seconds * 3 % 1
        return number < clients * (0.15 if phase < 0.5 else 1)

    threads = [
        threading.Thread(
            target=client,
            args=(address, images, until, lambda n=number: wanted(n), number, failures),
        )
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"{len(failures)} answers were not as they should be: {sorted(set(failures))}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
