"""The API in this process, and as a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from dtsched.api import create_app
from dtsched.settings import Settings

BASE_URL = "http://127.0.0.1"
_PROGRAM = """
import sys
from dtsched import logs
from dtsched.api import serve
from dtsched.settings import load
logs.configure("text")
serve(load({"dsn": sys.argv[1]}), sys.argv[2], 0)
"""
_LISTENING = re.compile(r"listening on (http://\S+)")


# Each client of httpx reads the certificates anew, which takes longer than a request.
_TLS = ssl.create_default_context()


@dataclass
class ApiProcess:
    """`serve()` in a process of its own, on a free port of loopback."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def submit(self, body: object) -> httpx.Response:
        return self.request("POST", "/v1/jobs", body)

    def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", json=body, timeout=10, verify=_TLS)

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


Serve = Callable[[str], ApiProcess]


@pytest.fixture
async def api(database: str) -> AsyncIterator[AsyncTestClient[Litestar]]:
    async with AsyncTestClient(create_app(Settings(dsn=database)), base_url=BASE_URL) as client:
        yield client


@pytest.fixture
def serve_api(tmp_path: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as running:
        yield lambda dsn: running.enter_context(_served(dsn, tmp_path / "api.log"))


@contextlib.contextmanager
def _served(dsn: str, log: Path) -> Generator[ApiProcess]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, dsn, "127.0.0.1"], stdout=output, stderr=output, env={**os.environ}
        ) as process,
    ):
        try:
            yield ApiProcess(process, _url(process, log), log)
        finally:
            process.kill()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if found := _LISTENING.search(log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"the API does not listen:\n{log.read_text()}")
