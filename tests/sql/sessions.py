"""Database sessions as the tests of the SQL use them: anybody's, and a registered worker's."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

Row = tuple[Any, ...]


class Session:
    """One connection in autocommit; `begin`, `savepoint` and the like are run as statements."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def run(self, statement: LiteralString, *values: object) -> None:
        self.connection.execute(statement, values or None)

    def rows(self, statement: LiteralString, *values: object) -> list[Row]:
        return self.connection.execute(statement, values or None).fetchall()

    def column(self, statement: LiteralString, *values: object) -> list[Any]:
        return [row[0] for row in self.rows(statement, *values)]

    def value(self, statement: LiteralString, *values: object) -> Any:
        (value,) = self.column(statement, *values)
        return value

    def insert(self, count: int = 1, *, priority: int = 5, queue: str = "default", task: str = "echo") -> list[int]:
        """Submits jobs by one plain INSERT and returns their ids."""
        return self.column(
            """
            insert into dtsched.jobs (queue, task, priority)
            select %s, %s, %s from generate_series(1, %s)
            returning id
            """,
            queue,
            task,
            priority,
            count,
        )

    def insert_limited(self, key: str, count: int = 1, *, priority: int = 5, queue: str = "default") -> list[int]:
        """Submits jobs with a limit key by one plain INSERT and returns their ids."""
        return self.column(
            """
            insert into dtsched.jobs (queue, task, priority, limit_key)
            select %s, 'echo', %s, %s from generate_series(1, %s)
            returning id
            """,
            queue,
            priority,
            key,
            count,
        )

    def set_queue(self, queue: str = "default", **settings: object) -> None:
        self.run("select dtsched.set_queue(%s, %s)", queue, Jsonb(settings))

    def state(self, job: int) -> str:
        return self.value("select state from dtsched.jobs where id = %s", job)

    def states(self) -> dict[str, int]:
        return dict(self.rows("select state, count(*) from dtsched.jobs group by state"))

    def take_over_the_clock(self) -> None:
        """From here on dtsched.now() is the real time plus what `travel` has added up."""
        self.run("create table public.clock as select interval '0' as ahead")
        self.run("""
            create or replace function dtsched.now() returns timestamptz language sql volatile security definer
            as $$ select clock_timestamp() + ahead from public.clock $$
            """)

    def stop_the_clock(self) -> None:
        """Once it is taken over: time passes by `travel` only."""
        self.run("alter table public.clock add column stopped_at timestamptz default clock_timestamp()")
        self.run("""
            create or replace function dtsched.now() returns timestamptz language sql volatile security definer
            as $$ select stopped_at + ahead from public.clock $$
            """)

    def travel(self, by: str) -> None:
        self.run("update public.clock set ahead = ahead + %s::interval", by)

    def begin_transaction_with_an_xid(self) -> None:
        self.run("begin")
        self.run("select pg_current_xact_id()")

    def pass_transactions(self, count: int) -> None:
        """Lets xids go by, so that transactions still open are older than what is submitted next."""
        for _ in range(count):
            self.run("select pg_current_xact_id()")


class Worker(Session):
    """A registered worker. It sweeps its past only when told to, so that nothing hides a hole in the cursor."""

    def __init__(
        self, dsn: str, *, lease: str = "1 hour", queues: list[str] | None = None, tasks: list[str] | None = None
    ) -> None:
        super().__init__(dsn)
        self.id: UUID = uuid4()
        self.leases: dict[int, int] = {}
        self.tasks = tasks
        self.run("set dtsched.sweep = '86400'")
        self.run("select set_config('test.worker', %s, false)", str(self.id))  # a DO block takes no parameters
        self.register(lease=lease, queues=queues)

    def register(self, *, lease: str = "1 hour", queues: list[str] | None = None) -> None:
        self.run(
            "select dtsched.register_worker(%s, 'test', %s, %s, 10, %s::interval)",
            self.id,
            queues or ["default"],
            self.tasks,
            lease,
        )

    def claim(self, limit: int = 100, *, queue: str = "default") -> list[int]:
        """The ids of the claimed jobs; their leases are kept in `leases`."""
        claimed = self.rows(
            "select job_id, lease_id from dtsched.claim(%s, %s, %s, %s)", self.id, queue, limit, self.tasks
        )
        self.leases.update((job, lease) for job, lease in claimed)
        return [job for job, _ in claimed]

    def sweep(self, limit: int = 100) -> list[int]:
        """A claim that also looks for what was left behind its heads."""
        self.run("set dtsched.sweep = '0'")
        try:
            return self.claim(limit)
        finally:
            self.run("set dtsched.sweep = '86400'")

    def drain(self, limit: int = 100) -> list[int]:
        """Claims until three claims in a row have found nothing."""
        jobs: list[int] = []
        empty = 0
        while empty < 3:
            claimed = self.claim(limit)
            jobs += claimed
            empty = 0 if claimed else empty + 1
        return jobs

    def finish(self, *jobs: int) -> list[int]:
        """Completes jobs that this worker has claimed; returns the leases that were accepted."""
        return self.column("select dtsched.finish(%s, %s)", self.id, [self.leases[job] for job in jobs])

    def finish_as(self, outcome: str, *jobs: int, delay: float | None = None) -> list[int]:
        return self.column(
            """
            select dtsched.finish(%s, '{}', null, (
                select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                    'lease', lease, 'outcome', %s::text, 'delay', %s::float8,
                    'error', jsonb_build_object('type', 'ValueError', 'message', 'told to'))))
                from unnest(%s::bigint[]) lease))
            """,
            self.id,
            outcome,
            delay,
            [self.leases[job] for job in jobs],
        )

    def renew(self) -> bool:
        """Whether the worker is still taken for alive."""
        return self.value("select alive from dtsched.renew(%s)", self.id)

    def rescue(self) -> list[int]:
        """The jobs that were taken back."""
        return self.column("select job_id from dtsched.rescue(%s)", self.id)

    def release(self, *, never_started: list[int] | None = None, started: list[int] | None = None) -> list[int]:
        """Hands leases back by their jobs; returns the jobs whose leases were still held."""
        leases = {lease: job for job, lease in self.leases.items()}
        released = self.column(
            "select dtsched.release(%s, %s, %s)",
            self.id,
            [self.leases[job] for job in never_started or []],
            [self.leases[job] for job in started or []],
        )
        return [leases[lease] for lease in released]
