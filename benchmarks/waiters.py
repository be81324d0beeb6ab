"""How much 5,000 who wait cost one API process: memory, connections to the database, and the speed of others.

    python -m benchmarks.waiters --waiters 5000

Half of them wait for results with `Prefer: wait`, half watch by server-sent events (jobs, a queue, everything). Starts
an embedded PostgreSQL and a server, and ends both. Exit 1 where the server takes more than 300 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from dtsched import migrations
from dtsched.embedded import Cluster
from tests.api.processes import ApiProcess, served
from tests.support.servers import temporary_cluster

MOST_MB = 300
_OF_THE_API = "select count(*) from pg_stat_activity where application_name like 'dtsched %'"
_CONCURRENT = 200


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--waiters", type=int, default=5000)
    waiters = options.parse_args().waiters
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(waiters * 2, 4096), hard), hard))  # the server inherits it
    with temporary_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        migrations.up(cluster.dsn)
        with served(cluster.dsn, Path(folder) / "api.log") as api:
            return asyncio.run(_measure(cluster, api, waiters))


async def _measure(cluster: Cluster, api: ApiProcess, waiters: int) -> int:
    with psycopg.connect(cluster.dsn, autocommit=True) as database:
        database.execute("insert into dtsched.tasks (name) values ('echo') on conflict do nothing")
        database.execute("insert into dtsched.jobs (task) select 'echo' from generate_series(1, %s)", [waiters])
        jobs = [row[0] for row in database.execute("select id from dtsched.jobs order by id")]
        database.execute("select dtsched.pause('default')")
        database.execute("select dtsched.resume('default')")
        _submissions(api, 50)
        before = _submissions(api, 300)
        empty_mb = api.rss_bytes() / 2**20
        began = time.monotonic()
        gate = asyncio.Semaphore(_CONCURRENT)
        waiting = [asyncio.create_task(_wait(api, _request(number, job), gate)) for number, job in enumerate(jobs)]
        opened = await asyncio.gather(*waiting)
        print(f"opened {len(opened)} in {time.monotonic() - began:.1f} s")
        await asyncio.sleep(3)
        mb = api.rss_bytes() / 2**20
        (connections,) = database.execute(_OF_THE_API).fetchone() or (0,)
        cpu = _cpu_seconds(api)
        await asyncio.sleep(5)
        cpu = (_cpu_seconds(api) - cpu) / 5
        during = _submissions(api, 300)
        each_kb = (mb - empty_mb) * 1024 / waiters
        print(f"RSS {empty_mb:.0f} MB before, {mb:.0f} MB with {waiters}: {each_kb:.1f} kB each")
        print(f"connections to the database {connections}, CPU of the server while nothing happens {100 * cpu:.0f} %")
        print(f"submissions a second, one after the other: {before:.0f} before, {during:.0f} with all waiting")
        began = time.monotonic()
        database.execute("select dtsched.cancel(array(select id from dtsched.jobs where id = any(%s)))", [jobs[:1000]])
        ended = time.monotonic() - began
        told = 0
        for number, (reader, _) in enumerate(opened[:1000]):
            if number % 4 < 3:
                told += await _is_told(reader)
        print(f"{told} told of the end of 1,000 jobs {time.monotonic() - began - ended:.2f} s after its commit")
        peak = api.rss_bytes() / 2**20
        began = time.monotonic()
        api.process.terminate()
        await asyncio.to_thread(api.process.wait, 30)
        print(f"RSS {peak:.0f} MB after; SIGTERM took {time.monotonic() - began:.2f} s")
        for _, writer in opened:
            writer.close()
        return int(mb > MOST_MB)


def _request(number: int, job: int) -> str:
    """Of four, two wait for a result, one watches its job, and one a queue or everything."""
    if number % 4 < 2:
        return f"GET /v1/jobs/{job}/result HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=60\r\n\r\n"
    path = f"/v1/jobs/{job}/events" if number % 4 == 2 else ("/v1/events", "/v1/queues/default/events")[number // 4 % 2]
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


async def _wait(
    api: ApiProcess, request: str, gate: asyncio.Semaphore
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Returns when the server has it, which for a result is not to be seen."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(request.encode())
        await writer.drain()
        if "events" in request:
            await reader.readuntil(b"retry:")
        return reader, writer


async def _is_told(reader: asyncio.StreamReader) -> bool:
    text = b""
    while b"cancelled" not in text and b"HTTP/1.1 503" not in text:
        text += await asyncio.wait_for(reader.read(65536), 20)
    return b"cancelled" in text


def _submissions(api: ApiProcess, count: int) -> float:
    with httpx.Client(base_url=api.url, timeout=30) as client:
        began = time.monotonic()
        for _ in range(count):
            assert client.post("/v1/jobs", json={"task": "echo"}).status_code == 201
        return count / (time.monotonic() - began)


def _cpu_seconds(api: ApiProcess) -> float:
    fields = Path(f"/proc/{api.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / int(subprocess.check_output(["getconf", "CLK_TCK"]))


if __name__ == "__main__":
    sys.exit(main())
