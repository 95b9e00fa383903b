"""A small HTTP client on asyncio: what the soak needs to see, and can be told to do wrong."""

import asyncio
import json
import uuid

TIMEOUT = 60


class Lost(Exception):
    """The connection ended before the answer did."""


class Answer:
    """A status, headers in lower case, and a body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.status} {self.body[:300]!r}"


async def read_answer(reader):
    """The next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", 0))))


class Client:
    """One connection that is kept and opened again where it is lost."""

    def __init__(self, port, token=None):
        self.port, self.token, self.streams = port, token, None

    async def open(self):
        """A new connection, as its reader and writer."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, method, path, body=b"", headers=()):
        """One request and its answer; `Lost` where the connection fails."""
        if isinstance(body, dict):
            body, headers = json.dumps(body).encode(), [*headers, ("Content-Type", "application/json")]
        lines = [f"{method} {path} HTTP/1.1", "Host: soak", f"Content-Length: {len(body)}"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        lines += [f"{name}: {value}" for name, value in headers]
        try:
            async with asyncio.timeout(TIMEOUT):
                if self.streams is None:
                    self.streams = await self.open()
                reader, writer = self.streams
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                answer = await read_answer(reader)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise Lost(f"{method} {path}: {error!r}") from error
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self):
        if self.streams:
            self.streams[1].close()
        self.streams = None


def form(parts):
    """`multipart/form-data` of `(name, file name or None, bytes)`, as its body and header."""
    boundary = uuid.uuid4().hex
    body = bytearray()
    for name, file, content in parts:
        file = f'; filename="{file}"' if file else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), [("Content-Type", f"multipart/form-data; boundary={boundary}")]
