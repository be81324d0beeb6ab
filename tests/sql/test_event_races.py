"""No event is lost, wherever those who emit it and those who come to wait for it meet."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from itertools import count

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import in_parallel
from tests.sql.sessions import Session, Worker
from tests.sql.test_steps import ask, park
from tests.support.patience import PATIENCE_SECONDS

EVENTS = 60
LONGEST_SECONDS = 0.004

# three jobs wait for each event, without a timeout that could save them
JOBS = """
    insert into dtsched.jobs (task, args)
    select 'wait', jsonb_build_object('event', 'e' || n %% %s) from generate_series(0, 3 * %s - 1) n
    """


def pause(chance: random.Random) -> None:
    """Often none, so that the others are met at every point."""
    if chance.random() < 0.5:
        time.sleep(chance.random() * LONGEST_SECONDS)


def wait_for_events(worker: Worker, chance: random.Random, told: list[int], over: Callable[[], bool]) -> None:
    """As a worker does: claims, asks, parks, and completes what has been told."""
    while not over():
        for job in worker.claim(3):
            event = worker.value("select args ->> 'event' from dtsched.jobs where id = %s", job)
            pause(chance)
            outcome = ask(worker, job, event)[0]
            while outcome == "busy":
                time.sleep(0.001)
                outcome = ask(worker, job, event)[0]
            pause(chance)
            if outcome == "event":
                worker.finish(job)
                told.append(job)
            else:
                assert outcome == "wait"
                if chance.random() < 0.1:  # the worker dies in between
                    while not worker.release(never_started=[job]):  # somebody holds its row
                        time.sleep(0.001)
                else:
                    assert park(worker, job)


def emit_slowly(session: Session, chance: random.Random, events: list[int]) -> None:
    for event in events:
        pause(chance)
        session.run("begin isolation level repeatable read" if chance.random() < 0.2 else "begin")
        session.run("select pg_current_xact_id(), (select count(*) from dtsched.queues)")
        pause(chance)
        session.run("select dtsched.emit(%s)", f"e{event}")
        pause(chance)
        session.run("rollback" if chance.random() < 0.1 else "commit")
        session.run("select dtsched.emit(%s)", f"e{event}")


def hold_rows(session: Session, chance: random.Random, over: Callable[[], bool]) -> None:
    while not over():
        session.run("begin")
        session.run("select from dtsched.jobs where id %% 7 = %s for update skip locked", chance.randrange(7))
        pause(chance)
        session.run("commit")
        time.sleep(LONGEST_SECONDS)


def deliver(session: Session, over: Callable[[], bool]) -> None:
    while not over():
        session.run("select dtsched.deliver_events()")
        time.sleep(0.005)


def test_of_all_events_emitted_while_jobs_come_to_wait_for_them_none_is_lost(
    open_session: OpenSession, open_worker: OpenWorker
):
    observer = open_session()
    observer.run(JOBS, EVENTS, EVENTS)
    told: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    chances = (random.Random(seed) for seed in count(random.randrange(1000)))
    stop = threading.Event()

    def over() -> bool:
        return stop.is_set() or len(told) == 3 * EVENTS or time.monotonic() > deadline

    def waiter(worker: Worker) -> Callable[[], None]:
        worker.run("set dtsched.sweep = '0'")
        return lambda: wait_for_events(worker, next(chances), told, over)

    order = list(range(EVENTS))
    random.shuffle(order)
    in_parallel(
        *(waiter(open_worker()) for _ in range(3)),
        lambda: emit_slowly(open_session(), next(chances), order[::2]),
        lambda: emit_slowly(open_session(), next(chances), order[1::2]),
        lambda: hold_rows(open_session(), next(chances), over),
        lambda: deliver(open_session(), over),
    )
    assert len(told) == len(set(told)) == 3 * EVENTS
    assert observer.states() == {"completed": 3 * EVENTS}
    assert observer.column("select due from dtsched.events where due") == []
    assert observer.rows("select * from dtsched.event_waits") == []
