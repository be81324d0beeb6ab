"""A few times a second: what the tables say of the run, and what time it is there. Goes on through outages."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString

import psycopg

from dtsched.outage import first_line
from dtsched.torture.clocks import Pair
from dtsched.torture.history import Recorder
from dtsched.torture.state import read_clock

LISTENERS: LiteralString = """
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'dtsched listener'"""
"""Of workers. Who waits for the ends of jobs listens under another name, and not always."""

# `finished` counts ends, less what was brought back. An entry of ready may be stale: these are figures to look at.
_LOOK: LiteralString = f"""
    select
        (select coalesce(sum(case when event in ('complete', 'fail', 'cancel') then jobs
                                  when event in ('uncomplete', 'unfail', 'uncancel') then -jobs end), 0)::bigint
         from dtsched.counted('-infinity', 'infinity')),
        (select count(*) from dtsched.ready),
        (select count(*) from dtsched.leases),
        (select count(*) from dtsched.scheduled where run_at <= dtsched.now()),
        (select coalesce(jsonb_object_agg(lane.queue, jsonb_build_object('jobs', lane.jobs, 'age', lane.age)), '{{}}')
         from (select entry.queue, count(*) as jobs, extract(epoch from
                   dtsched.now() - min(greatest(job.created_at, job.run_at)))::double precision as age
               from (select entry.queue, entry.job_id from dtsched.ready entry limit 2000) entry
               join dtsched.jobs job on job.id = entry.job_id and job.state = 'ready'
               group by entry.queue) lane),
        (select count(*) from pg_stat_activity
         where datname = current_database() and starts_with(application_name, 'dtsched')),
        ({LISTENERS})"""

_STATEMENT_MS = 2000


class Pulses(threading.Thread):
    """`clocks` grows with each pulse that was answered. `count_workers` says how many are at work, each of
    which is to listen."""

    def __init__(
        self,
        dsn: Callable[[], str],
        record: Recorder,
        *,
        count_workers: Callable[[], int] = lambda: 0,
        pause_seconds: float = 0.3,
    ) -> None:
        super().__init__(name="torture-pulse", daemon=True)
        self.clocks: list[Pair] = []
        self._dsn = dsn
        self._record = record
        self._count_workers = count_workers
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._connection: psycopg.Connection | None = None

    def run(self) -> None:
        while not self._over.wait(self._pause_seconds):
            try:
                self._beat()
            except (psycopg.Error, OSError, ValueError) as error:  # ValueError: the access to a server in the making
                if not self._over.is_set():
                    self._record("pulse", "fail", error=first_line(error))
        self._close()

    def stop(self) -> None:
        """A server that does not answer does not keep it."""
        self._over.set()
        self.join(_STATEMENT_MS / 1000)
        if self.is_alive() and self._connection is not None:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=self._connection.fileno()) as line:
                line.shutdown(socket.SHUT_RDWR)
                line.detach()
            self.join(1.0)

    def _beat(self) -> None:
        connection = self._open()
        clock = read_clock(connection)
        self.clocks.append(clock)
        row = connection.execute(_LOOK).fetchone()
        assert row is not None
        finished, ready, running, late, queues, connections, listeners = row
        self._record(
            "pulse",
            "ok",
            finished=finished,
            ready=ready,
            running=running,
            due=ready + late,
            oldest_due_seconds=max((lane["age"] for lane in queues.values()), default=0.0),
            queues=queues,
            connections=connections,
            workers=self._count_workers(),
            listeners=listeners,
            clock=clock,
        )

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn(),
                autocommit=True,
                connect_timeout=2,
                application_name="torture pulse",
                options=f"-c statement_timeout={_STATEMENT_MS} -c timezone=UTC",
            )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
