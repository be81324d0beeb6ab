"""The ceiling: a loop over dtsched.work() in psycopg, which does nothing with what it claims.

python -m benchmarks.bars.bare DSN QUEUE BATCH

It begins when nobody holds START alone, and ends when nothing is left. No leases are renewed, nothing is retried,
nothing listens; one connection a process.
"""

import asyncio
import sys
from typing import LiteralString
from uuid import uuid4

import msgspec
import psycopg
from psycopg.types.json import set_json_loads

START: LiteralString = "7001"
"""The advisory lock that whoever starts several of them holds until all have connected."""

_WAIT: LiteralString = f"select pg_advisory_lock_shared({START}), pg_advisory_unlock_shared({START})"
_WORK: LiteralString = """
    select lease_id, job_id, task, args, attempt, max_attempts, timeout_seconds, correlation_id
    from dtsched.work(%b, %b, null, null, %b, %b)
"""


async def loop(dsn: str, queue: str, batch: int) -> None:
    worker = uuid4()
    decode = msgspec.json.Decoder(dict[str, object]).decode
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        set_json_loads(lambda raw: raw, connection)
        await connection.execute(
            "select dtsched.register_worker(%s, 'bare', %s, null, %s, interval '1 h')", (worker, [queue], batch)
        )
        await connection.execute(_WAIT)
        done: list[int] = []
        async with connection.cursor(binary=True) as cursor:
            while True:
                await cursor.execute(_WORK, (worker, done, queue, batch), prepare=True)
                claimed = await cursor.fetchall()
                if not claimed and not done:
                    return
                done = []
                for job in claimed:
                    decode(job[3])
                    done.append(job[0])


if __name__ == "__main__":
    asyncio.run(loop(sys.argv[1], sys.argv[2], int(sys.argv[3])))
