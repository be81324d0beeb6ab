"""The API as a process of its own."""

from __future__ import annotations

import contextlib
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
from psycopg.conninfo import make_conninfo

from tests.support.patience import PATIENCE_SECONDS

_PROGRAM = """
import sys
from dtsched import logs
from dtsched.api import serve
from dtsched.settings import load
logs.configure("text")
serve(load({"dsn": sys.argv[1]}), "127.0.0.1", 0)
"""
_LISTENING = re.compile(r"listening on (http://\S+)")
# Each client of httpx reads the certificates anew, which takes longer than a request.
_TLS = ssl.create_default_context()

POOLED = 19
"""Connections to the database that a server opens at most, beside those for maintenance and listening: ten for what
writes, six for what reads, three for submissions that are gathered."""


@dataclass
class ApiProcess:
    """`serve()` on a free port of loopback."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def submit(self, body: object) -> httpx.Response:
        return self.request("POST", "/v1/jobs", body)

    def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", json=body, timeout=PATIENCE_SECONDS, verify=_TLS)

    def send(self, body: bytes) -> httpx.Response:
        """Submits a body as it is."""
        headers = {"content-type": "application/json"}
        return httpx.post(f"{self.url}/v1/jobs", content=body, headers=headers, timeout=PATIENCE_SECONDS, verify=_TLS)

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def with_rights_of_a_server(dsn: str) -> str:
    """A superuser's DSN without the rights of one: what a server may do is enough for all that the tests ask of it."""
    return make_conninfo(dsn, options="-c role=dtsched_api")


@contextlib.contextmanager
def served(dsn: str, log: Path, *, as_superuser: bool = False) -> Generator[ApiProcess]:
    command = [sys.executable, "-P", "-c", _PROGRAM, dsn if as_superuser else with_rights_of_a_server(dsn)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield ApiProcess(process, _url(process, log), log)
        finally:
            process.kill()


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := _LISTENING.search(log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"the API does not listen:\n{log.read_text()}")
