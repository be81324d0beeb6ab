"""What POST /v1/jobs and JSON batches cost, against a bare Litestar route: `python -m benchmarks.api [--dsn DSN]`.

The bare route decodes the same body with msgspec and answers as many bytes, and is served with the same options; rounds
of both alternate, so that what else the machine does falls on both. Only ratios mean something from one machine to
another.
"""

import argparse
import contextlib
import cProfile
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import httpx
import msgspec
import psutil
import uvicorn
from litestar import Litestar, Request, Response, post

from dtsched import embedded, migrations
from dtsched.api.application import create_app
from dtsched.api.server import configuration, listen, spare_what_stays
from dtsched.jobs import NewJob
from dtsched.settings import load as load_settings

JOB = {"task": "echo", "queue": "mail", "args": {"to": "somebody@example.org", "subject": "x" * 120}, "priority": 7}
_ANSWER = b'{"id":1,"pad":"%s"}'


def bare(answer_bytes: int) -> Litestar:
    body = _ANSWER % (b"x" * (answer_bytes - len(_ANSWER) + 2))

    decode = msgspec.json.Decoder(NewJob).decode

    @post("/v1/jobs")
    async def submit(request: Request[Any, Any, Any]) -> Response[bytes]:
        decode(await request.body())
        return Response(body, status_code=201, media_type="application/json")

    return Litestar([submit], openapi_config=None, logging_config=None)


def serve(kind: str, of: str, options: dict[str, Any]) -> None:
    app = bare(int(of)) if kind == "bare" else create_app(load_settings({"dsn": of}))
    with listen("127.0.0.1", 0, allow_anybody=False) as listening:
        print(listening.getsockname()[1], flush=True)
        signal.signal(signal.SIGTERM, _nothing)  # uvicorn has its own, and raises it again when it has ended
        spare_what_stays()
        profile = options.pop("profile")
        profiler = cProfile.Profile()
        if profile and kind == "ours":
            profiler.enable()
        uvicorn.Server(configuration(app, **options)).run(sockets=[listening])
        if profile and kind == "ours":
            profiler.dump_stats(profile)


def _nothing(_signal: int, _frame: FrameType | None) -> None: ...


class Server(NamedTuple):
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        used = self.process.cpu_times()
        return used.user + used.system


@contextlib.contextmanager
def served(kind: str, of: str, options: dict[str, Any]) -> Generator["Server"]:
    command = [sys.executable, "-m", "benchmarks.api", "--serve", kind, of, json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), psutil.Process(process.pid))
        finally:
            process.terminate()


def loaded(server: Server, connections: int, seconds: float, path: str, body: object) -> dict[str, float]:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(msgspec.json.encode(body))
        command = [sys.executable, "-m", "benchmarks.load", str(server.port)]
        command += [str(connections), str(seconds), path, file.name]
        before = server.cpu_seconds()
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return {**found, "cpu_us": 1e6 * (server.cpu_seconds() - before) / found["requests"]}


def median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def ratio(ones: list[dict[str, float]], others: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] / other[name] for one, other in zip(ones, others, strict=True))


def told(name: str, rounds: list[dict[str, float]]) -> None:
    figures = {figure: median(rounds, figure) for figure in ("per_second", "p50_ms", "p99_ms", "busy", "cpu_us")}
    print(f"{name:6}", "  ".join(f"{figure} {value:9.2f}" for figure, value in figures.items()))


def measure(dsn: str, *, rounds: int, seconds: float, connections: int, options: dict[str, Any]) -> None:
    with served("ours", dsn, options) as ours, contextlib.ExitStack() as stack:
        loaded(ours, 4, 0.5, "/v1/jobs", JOB)
        answer_bytes = _answer_bytes(ours)
        bare_port = stack.enter_context(served("bare", str(answer_bytes), options))
        loaded(bare_port, 4, 0.5, "/v1/jobs", JOB)
        found: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
        for _ in range(rounds):
            for name, port in (("bare", bare_port), ("ours", ours)):
                found[name].append(loaded(port, connections, seconds, "/v1/jobs", JOB))
        for name, figures in found.items():
            told(name, figures)
        share, tail = (ratio(found["ours"], found["bare"], name) for name in ("per_second", "p99_ms"))
        print(f"requests/s: {share:.2f} of the bare route's; p99: {tail:.2f} times its")
        if options["profile"]:
            return
        batches = [loaded(ours, 3, seconds, "/v1/jobs/batch", [JOB] * 1000) for _ in range(rounds)]
        told("batch", batches)
        print(f"batches of 1,000: {1000 * median(batches, 'per_second'):,.0f} jobs/s")


def _answer_bytes(server: Server) -> int:
    return len(httpx.post(f"http://127.0.0.1:{server.port}/v1/jobs", json=JOB).content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", help="of a database to be filled; default: an embedded server, thrown away")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--loop", default="auto")
    parser.add_argument("--profile", help="a file for what cProfile says of the server")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        kind, of, options = given.serve
        serve(kind, of, json.loads(options))
        return
    with contextlib.ExitStack() as stack:
        dsn = given.dsn or stack.enter_context(embedded.temporary()).dsn
        migrations.up(dsn)
        options = {"loop": given.loop, "profile": given.profile}
        measure(
            dsn,
            rounds=given.rounds,
            seconds=given.seconds,
            connections=given.connections,
            options=options,
        )


if __name__ == "__main__":
    main()
