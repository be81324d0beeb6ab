"""Reads of single jobs that come at the same time share statements, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import psycopg
import pytest

from dtsched.api.job_reads import JobReads
from dtsched.client import Client
from dtsched.errors import DatabaseUnreachable, NotFound
from dtsched.jobs import Job
from tests.conftest import Connect


@pytest.fixture
def connection(connect: Connect) -> psycopg.Connection:
    return connect()


@pytest.fixture
async def client(database: str) -> AsyncGenerator[Client]:
    async with Client(database, role="api", pool_size=3, wait_seconds=0.01) as client:
        yield client


async def test_a_thousand_who_ask_together_queue_for_no_connection(
    client: Client, connection: psycopg.Connection
) -> None:
    connection.execute("insert into dtsched.jobs (task) select 'echo' from generate_series(1, 300)")
    ids = [row[0] for row in connection.execute("select id from dtsched.jobs order by id")]
    reads = JobReads(client)
    answers = await asyncio.gather(*(reads.get(one) for _ in range(3) for one in ids))
    assert [job.id for job in answers] == ids * 3
    missing = await asyncio.gather(reads.get(ids[0]), reads.get(10**9), reads.get(10**30), return_exceptions=True)
    assert [type(one) for one in missing] == [Job, NotFound, NotFound]


async def test_who_waits_when_the_server_stops_is_told(client: Client, connection: psycopg.Connection) -> None:
    reads = JobReads(client)
    asking = [asyncio.create_task(reads.get(one)) for one in range(1, 200)]
    await asyncio.sleep(0)
    await reads.close()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {DatabaseUnreachable, NotFound}
