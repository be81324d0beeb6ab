"""A load generator for HTTP/1.1 over raw connections, as a process of its own: one request after the other on each.

python -m benchmarks.load PORT CONNECTIONS SECONDS PATH FILE     # FILE: the body; prints one JSON object

What is sent before all connections have been busy for a while is not measured: they all begin at the same instant.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path

_WARM_SECONDS = 0.5
_LENGTH = re.compile(rb"content-length: ([0-9]+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, begins: float, ends: float, seconds: list[float]) -> None:
        self._request = request
        self._begins = begins
        self._ends = ends
        self._seconds = seconds
        self._received = b""
        self.answered = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or (length := _LENGTH.search(head)) is None or len(body) < int(length[1]):
            return
        if not head.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")):
            self.done.set_exception(RuntimeError(self._received[:500].decode()))
            return
        now = time.perf_counter()
        self.answered += 1
        if self._began >= self._begins:
            self._seconds.append(now - self._began)
        self._received = b""
        if now < self._ends:
            self._send()
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server has closed the connection"))

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, connections: int, seconds: float, request: bytes) -> tuple[list[float], int]:
    """How long each request took, and how many there were with those that are not measured."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    begins = time.perf_counter() + _WARM_SECONDS
    ends = begins + seconds
    opened = [
        await loop.create_connection(lambda: _Connection(request, begins, ends, took), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in opened))
    for transport, _ in opened:
        transport.close()
    return took, sum(connection.answered for _, connection in opened)


def main() -> None:
    port, connections, seconds, path, file = sys.argv[1:]
    body = Path(file).read_bytes()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    began, cpu = time.perf_counter(), time.process_time()
    request = f"{head}\r\n".encode() + body
    took, answered = asyncio.run(load(int(port), int(connections), float(seconds), request))
    took.sort()
    lasted = time.perf_counter() - began
    print(
        json.dumps(
            {
                "requests": answered,
                "per_second": len(took) / float(seconds),
                "p50_ms": 1000 * took[len(took) // 2],
                "p99_ms": 1000 * took[len(took) * 99 // 100],
                "busy": (time.process_time() - cpu) / lasted,
            }
        )
    )


if __name__ == "__main__":
    main()
