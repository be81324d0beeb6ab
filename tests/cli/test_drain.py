"""`dtsched worker --drain`: works until nothing is left that it could do now, and no longer."""

import asyncio
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from dtsched.answers import Outcome
from dtsched.runtime.attempt import Attempt
from dtsched.runtime.drain import CUT_SHORT_SECONDS, PAUSE_SECONDS, Drain
from dtsched.runtime.ledger import Ledger
from dtsched.store import Claimed
from tests.cli.command import Ended, run
from tests.conftest import Connect

APP = """
import asyncio
from dtsched import App, Context, Retry, Snooze

app = App()

@app.task
async def step(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)

@app.task
async def twice(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise Retry(after=0)

@app.task
async def later() -> None:
    raise Snooze(3600)
"""


def drain(dsn: str, *arguments: str) -> Ended:
    Path("draining.py").write_text(APP)
    return run("worker", "-A", "draining:app", "--drain", *arguments, env={"DTSCHED_DSN": dsn, "DTSCHED_LOG": "text"})


def states(connect: Connect) -> dict[str, int]:
    return dict(connect().execute("select state, count(*) from dtsched.jobs group by state").fetchall())


def test_a_worker_with_nothing_to_do_ends_with_0_and_leaves_in_order(database: str, connect: Connect) -> None:
    assert drain(database).code == 0
    assert connect().execute("select count(*) from dtsched.workers").fetchone() == (0,)


def test_what_its_own_jobs_release_or_retry_at_once_still_runs(database: str, connect: Connect) -> None:
    """A chain, one of whose links takes longer than several polls."""
    connection = connect()
    row = (None,)
    for args in ("{}", '{"seconds": 0.4}', "{}", "{}"):
        parents = [row[0]] if row and row[0] else None
        row = connection.execute(
            "insert into dtsched.jobs (task, args, depends_on) values ('step', %s, %s) returning id", (args, parents)
        ).fetchone()
    connection.execute("insert into dtsched.jobs (task) values ('twice')")
    assert drain(database, "--poll", "50ms").code == 0
    assert states(connect) == {"completed": 5}


def test_jobs_that_cannot_run_here_now_keep_no_worker(database: str, connect: Connect) -> None:
    """Scheduled, put off by their handler, blocked, in a paused queue, in a queue of others, of a task of others."""
    connection = connect()
    connection.execute("insert into dtsched.queues (name, paused_at) values ('paused', now())")
    scheduled = connection.execute(
        "insert into dtsched.jobs (task, run_at) values ('step', now() + interval '1 hour') returning id"
    ).fetchone()
    connection.execute("insert into dtsched.jobs (task, depends_on) values ('step', %s)", ([*(scheduled or ())],))
    connection.execute("insert into dtsched.jobs (task) values ('later'), ('of_others')")
    connection.execute("insert into dtsched.jobs (task, queue) values ('step', 'paused'), ('step', 'other')")
    connection.execute("insert into dtsched.jobs (task) values ('step')")
    assert drain(database, "-q", "default", "-q", "paused").code == 0
    assert states(connect) == {"blocked": 1, "completed": 1, "ready": 3, "scheduled": 2}


def test_jobs_whose_time_had_come_before_any_worker_was_there_are_run(database: str, connect: Connect) -> None:
    """More than are made ready at once."""
    connection = connect()
    connection.execute(
        "insert into dtsched.jobs (task, run_at) select 'step', now() + interval '10 ms' from generate_series(1, 1200)"
    )
    connection.execute("select pg_sleep(0.02)")
    assert drain(database, "-q", "default:50").code == 0
    assert states(connect) == {"completed": 1200}


def test_several_processes_drain_together_and_the_supervisor_ends_with_0(database: str, connect: Connect) -> None:
    connect().execute(
        """insert into dtsched.jobs (task, args) select 'step', '{"seconds": 0.05}' from generate_series(1, 100)"""
    )
    assert drain(database, "--processes", "2", "-q", "default:5", "--poll", "1h").code == 0
    assert states(connect) == {"completed": 100}


def test_a_queue_that_is_being_given_a_limit_is_not_taken_for_empty(database: str, connect: Connect) -> None:
    setting = connect()
    setting.execute("insert into dtsched.queues (name) values ('default')")
    setting.execute("insert into dtsched.jobs (task) select 'step' from generate_series(1, 3)")
    setting.execute("begin")
    setting.execute("""select dtsched.set_queue('default', '{"limit": 1}')""")
    commit = threading.Timer(3.0, setting.execute, ["commit"])
    commit.start()
    ended = drain(database)
    commit.join()
    assert ended.code == 0
    assert states(connect) == {"completed": 3}


class Polls:
    """A Drain with a clock of the test's own; each poll says what it met."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stops = 0
        self.maintaining = False
        self.ledger = Ledger(asyncio.Event())
        self.drain = Drain(self.ledger, maintaining=lambda: self.maintaining, stop=self._stop, clock=lambda: self.now)

    def poll(
        self,
        *,
        maintaining: bool = False,
        found: int = 0,
        next_seconds: float | None = None,
        seconds: float = 0.01,
        refused: bool = False,
        fails: bool = False,
    ) -> int:
        """How often it was told to stop by then."""
        self.maintaining = maintaining
        self.drain.polling()
        self.maintaining = False
        self.now += seconds
        self.ledger.add([Attempt(claimed(lease), self.now) for lease in range(found)])
        if not fails:
            self.drain.polled(next_seconds, refused=refused)
        return self.stops

    def _stop(self) -> None:
        self.stops += 1


def claimed(lease_id: int) -> Claimed:
    return Claimed(lease_id, lease_id, "step", b"{}", 1, 1, None, None)


def test_the_second_empty_poll_in_a_row_ends_it() -> None:
    polls = Polls()
    assert [polls.poll(), polls.poll()] == [0, 1]


PROVING_NOTHING: dict[str, Callable[[Polls], int]] = {
    "it found a job": lambda polls: polls.poll(found=1),
    "more jobs are due": lambda polls: polls.poll(next_seconds=0.0),
    "it was cut short": lambda polls: polls.poll(seconds=CUT_SHORT_SECONDS),
    "jobs were just made ready": lambda polls: polls.poll(maintaining=True),
    "a queue was shut": lambda polls: polls.poll(refused=True),
    "it failed": lambda polls: polls.poll(fails=True),
}


@pytest.mark.parametrize("reason", PROVING_NOTHING)
def test_a_poll_that_proves_nothing_makes_it_begin_anew(reason: str) -> None:
    polls = Polls()
    polls.poll()
    PROVING_NOTHING[reason](polls)
    polls.ledger.settle([0])
    assert [polls.poll(), polls.poll()] == [0, 1]


def test_a_poll_just_short_of_being_cut_and_jobs_for_later_count_as_nothing_left() -> None:
    polls = Polls()
    assert polls.poll(seconds=CUT_SHORT_SECONDS - 0.01, next_seconds=0.001) == 0
    assert polls.poll(seconds=CUT_SHORT_SECONDS - 0.01, next_seconds=3600.0) == 1


def test_it_does_not_look_while_it_holds_a_job_or_owes_an_outcome() -> None:
    polls = Polls()
    attempt = Attempt(claimed(1), 0.0)
    polls.ledger.add([attempt])
    assert polls.drain.due_at == inf
    polls.ledger.end(attempt, Outcome(lease_id=1, kind="complete"))
    polls.ledger.take_outcomes()
    assert polls.drain.due_at == inf
    polls.ledger.settle([1])
    assert polls.drain.due_at == 0.0
    polls.poll()
    assert polls.drain.due_at == polls.now + PAUSE_SECONDS
