"""For the tests of programs that submit jobs: a real database for each test, whose clock moves when told to.

`pip install dtsched` brings the pytest fixture `dts` (dtsched.pytest_plugin), which is made of what is here.
"""

import asyncio
import contextvars
import secrets
import threading
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dtsched import migrations
from dtsched.answers import Retry
from dtsched.app import App, Task
from dtsched.connections import Row, connect_sync, parse_dsn
from dtsched.errors import InvalidInput
from dtsched.inside import read_job_sync
from dtsched.jobs import Job, JobState
from dtsched.settings import Duration, Settings, load, parse_duration

_TASKS = "select id from dtsched.jobs order by id"
_QUEUES = """select distinct queue::text from dtsched.jobs
    where state in ('blocked', 'scheduled', 'ready', 'running')"""
_LAST_LEASE = "select case when is_called then last_value else 0 end from dtsched.lease_id_seq"
# what a handler asked for by Retry(after=…) is no error
_FAILURES = """select attempt.job_id, job.task::text, attempt.error_type, attempt.message, attempt.traceback
    from dtsched.attempts attempt
    join dtsched.jobs job on job.id = attempt.job_id
    where attempt.lease_id > %s and attempt.outcome in ('retry', 'fail', 'crash')
        and (attempt.outcome <> 'retry' or attempt.error_type is distinct from %s)
    order by attempt.lease_id"""

_ASKED = f"{Retry.__module__}.{Retry.__qualname__}"


class Failure(NamedTuple):
    """An attempt that ended by an error."""

    job_id: int
    task: str
    error: str
    traceback: str


class HandlersFailed(AssertionError):
    """Attempts ended by errors while drain() ran jobs."""

    def __init__(self, failures: list[Failure]) -> None:
        told = "\n\n".join(
            f"job {failure.job_id} ({failure.task}): {failure.error}\n{failure.traceback}".rstrip()
            for failure in failures
        )
        attempts = "1 attempt" if len(failures) == 1 else f"{len(failures)} attempts"
        super().__init__(f"{attempts} failed (drain(raises=False) lets them)\n\n{told}")
        self.failures = failures


class Databases:
    """Clones of one migrated template, on a server where the DSN's user may create databases."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._connection = connect_sync(server, role="test")
        self._template = self._create()
        try:
            migrations.up(self._dsn(self._template))
            self._run("alter database {} allow_connections false", self._template)  # who is connected hinders cloning
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with closing(self._connection):
            self._run("drop database if exists {} with (force)", self._template)

    @contextmanager
    def clone(self) -> Generator[str]:
        """The DSN of a fresh one, dropped afterwards."""
        name = self._create(self._template)
        try:
            yield self._dsn(name)
        finally:
            self._run("drop database {} with (force)", name)

    def _create(self, template: str = "template1") -> str:
        name = f"dtsched_test_{secrets.token_hex(6)}"
        self._run("create database {} template {}", name, template)
        return name

    def _dsn(self, name: str) -> str:
        if "://" in self._server:
            return urlsplit(self._server)._replace(path=f"/{name}").geturl()
        return make_conninfo(self._server, dbname=name)

    def _run(self, statement: LiteralString, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def databases(server: str | None = None) -> Generator[Databases]:
    """On that server, or on an embedded one that ends with the block."""
    with ExitStack() as owned:
        if server is None:
            from dtsched import embedded  # only who names no server needs what starts one

            server = owned.enter_context(embedded.temporary()).dsn
        else:
            parse_dsn(server)
        yield owned.enter_context(closing(Databases(server)))


class Dts:
    """One test's database: what was submitted to it, its clock, and a worker that runs what is due."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._app: App | None = None
        self._owned = ExitStack()
        self._connection: psycopg.Connection[Row] = connect_sync(dsn, role="test")
        self._owned.callback(self._connection.close)
        self._ahead = timedelta()

    def close(self) -> None:
        self._owned.close()

    def use(self, app: App) -> None:
        """From here to the end of the test the app uses this database. drain() runs its tasks."""
        self._owned.enter_context(app.on_database(self.dsn))
        self._app = app

    @property
    def app(self) -> App:
        if self._app is None:
            raise InvalidInput(
                "which app? call dts.use(app), or name it in the settings of pytest: dtsched_app = my.module:app"
            )
        return self._app

    def now(self) -> datetime:
        """By the database's clock."""
        return cast("datetime", self._rows("select dtsched.now()")[0][0])

    def travel(self, by: Duration) -> None:
        """Moves the database's clock ahead, by seconds or a duration like "10m". What is due then, drain() runs."""
        self._ahead += timedelta(seconds=parse_duration(by, field="travel"))
        self._connection.execute(
            sql.SQL("""
                create or replace function dtsched.now() returns timestamptz language sql volatile parallel safe
                as $$ select clock_timestamp() + make_interval(secs => {}) $$
                """).format(sql.Literal(self._ahead.total_seconds()))
        )

    def jobs(self, *, state: JobState | None = None, task: "Task[..., Any] | str | None" = None) -> list[Job]:
        """In the order of their submission."""
        found = (read_job_sync(self._connection, job_id) for (job_id,) in self._rows(_TASKS))
        return [
            job
            for job in found
            if job and (state is None or job.state == state) and (task is None or job.task == _name_of(task))
        ]

    def submitted(self, task: "Task[..., Any] | str", /, **args: object) -> list[Job]:
        """The jobs of a task whose args are these, or have these among others; in whatever state."""
        wanted = msgspec.to_builtins(args, str_keys=True)
        return (
            [job for job in self.jobs(task=task) if (job.args or {}).items() >= wanted.items()]
            if wanted
            else self.jobs(task=task)
        )

    def assert_submitted(self, task: "Task[..., Any] | str", /, **args: object) -> Job:
        """The first of submitted(). AssertionError, with what was submitted, when there is none."""
        if found := self.submitted(task, **args):
            return found[0]
        raise AssertionError(f"no job {_said(_name_of(task), args)} was submitted; {_told(self.jobs())}")

    def assert_not_submitted(self, task: "Task[..., Any] | str", /, **args: object) -> None:
        if found := self.submitted(task, **args):
            raise AssertionError(f"{_said(_name_of(task), args)} was submitted; {_told(found)}")

    def drain(self, *, raises: bool = True) -> list[Job]:
        """Runs what is due, of all queues, with a real worker in this process until nothing is left to do now, and
        returns the jobs that it ended. What is put off (a retry, a snooze, a delay) waits for travel(). HandlersFailed
        when an attempt ended by an error, unless `raises` is False."""
        errors: list[BaseException] = []
        ended: list[Job] = []

        def run() -> None:
            try:
                ended.extend(asyncio.run(self.adrain(raises=raises)))
            except BaseException as error:
                errors.append(error)

        # a loop of its own, in a thread: the test may be inside of another one
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(run), name="dtsched-drain")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return ended

    async def adrain(self, *, raises: bool = True) -> list[Job]:
        """drain() on the event loop of the test, so that handlers share it with the test's fixtures."""
        from dtsched.runtime.worker import Worker  # tests that only look at what was submitted need no engine

        (since,) = self._rows(_LAST_LEASE)[0]
        before = {job.id for job in self.jobs() if job.finished_at}
        worker = Worker(self.app.registry, self._settings(), self._queues(), grace_seconds=5.0, drain=True)
        await worker.run()
        failures = [
            Failure(job_id, task, f"{kind}: {message}", traceback or "")
            for job_id, task, kind, message, traceback in self._rows(_FAILURES, since, _ASKED)
        ]
        if failures and raises:
            raise HandlersFailed(failures)
        return [job for job in self.jobs() if job.finished_at and job.id not in before]

    def _settings(self) -> Settings:
        return replace(load({"dsn": self.dsn}), worker_name="test")

    def _queues(self) -> dict[str, int]:
        return {**self.app.default_queues(), **dict.fromkeys((row[0] for row in self._rows(_QUEUES)), 10)}

    def _rows(self, statement: LiteralString, *values: object) -> list[Row]:
        return self._connection.execute(statement, values or None).fetchall()


def _name_of(task: "Task[..., Any] | str") -> str:
    return task if isinstance(task, str) else task.definition.name


def _said(name: str, args: dict[str, object]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in args.items())})"


def _told(jobs: Iterable[Job]) -> str:
    lines = [f"  job {job.id}: {_said(job.task, job.args or {})}, {job.state}" for job in jobs]
    return "there are:\n" + "\n".join(lines) if lines else "there are no jobs"
