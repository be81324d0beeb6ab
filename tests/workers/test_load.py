"""The generator of load: its plan is a function of its seed, and its counts are the tables'."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import msgspec
import pytest

from dtsched.errors import InvalidInput
from dtsched.jobs import check_all
from tests.cli.command import environment
from tests.conftest import Connect
from workers.load import KINDS, MIX, Planned, Summary, parse_mix, plan

REGISTER = "select dtsched.register_worker(gen_random_uuid(), 'w', '{default}', '{other}', 1, interval '30 s', '{}')"
WAITING = "select count(*) from pg_stat_activity where application_name = 'dtsched load' and wait_event_type = 'Lock'"


@contextmanager
def load(dsn: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "dtsched.workers.load", "--json", *arguments]
    variables = environment(DTSCHED_DSN=dsn)
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def summary_of(process: subprocess.Popen[str], *, code: int = 0) -> Summary:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return msgspec.json.decode(out, type=Summary)


def planned(mix: str = MIX, *, rate: float = 100, seconds: float = 10, seed: int = 1) -> list[Planned]:
    return list(plan(parse_mix(mix), rate=rate, seconds=seconds, seed=seed))


def test_a_seed_plans_the_same_jobs_again_and_another_one_others() -> None:
    assert planned(seed=1) == planned(seed=1)
    assert planned(seed=1) != planned(seed=2)


def test_jobs_are_due_at_even_distances_from_the_start() -> None:
    assert [one.at for one in planned(rate=4, seconds=1.5)] == [0, 0.25, 0.5, 0.75, 1, 1.25]


def test_kinds_come_in_the_share_of_their_weight() -> None:
    tasks = Counter(one.job.task for one in planned("echo=3,sleep=1,fibonacci=0"))
    assert tasks.keys() == {"echo", "sleep"}
    assert 700 < tasks["echo"] < 800


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_accepted_and_has_priorities_delays_and_keys_mixed_in(kind: str) -> None:
    jobs = check_all([one.job for one in planned(f"{kind}=1")])
    assert {job.priority for job in jobs} == {None, *range(1, 11)}
    assert 0 < sum(job.delay is not None for job in jobs) < len(jobs)
    assert 0 < sum(job.key is not None for job in jobs) < len(jobs)


@pytest.mark.parametrize("mix", ["", "echo", "echo=", "echo=-1", "echo=x", "echo=1,echo=2", "nap=1", "echo=0"])
def test_a_mix_that_makes_no_sense_is_refused(mix: str) -> None:
    with pytest.raises(InvalidInput, match="--mix"):
        parse_mix(mix)


def test_what_was_planned_is_what_is_stored(database: str, connect: Connect) -> None:
    with load(database, "--rate", "400", "--duration", "500ms", "--seed", "14", "--batch", "5") as process:
        summary = summary_of(process)
    assert (summary.planned, summary.submitted, summary.refused, summary.seed) == (200, 200, 0, 14)
    assert summary.seconds >= 0.49  # nothing is sent before it is due, and the last batch is due after 497.5 ms
    assert 0 < summary.submitted_per_second < 200 / 0.49
    jobs = [one.job for one in planned(rate=400, seconds=0.5, seed=14)]
    keys = {job.key for job in jobs if job.key}
    assert summary.kept == 2 == sum(job.key is not None for job in jobs) - len(keys)
    stored = connect().execute("select count(*), count(distinct key) from dtsched.jobs").fetchone()
    assert stored == (200 - summary.kept, len(keys))
    unkeyed = connect().execute("select task, count(*) from dtsched.jobs where key is null group by 1").fetchall()
    assert dict(unkeyed) == Counter(job.task for job in jobs if job.key is None)


def test_jobs_that_are_refused_are_counted_with_the_reason(database: str, connect: Connect) -> None:
    connect().execute(REGISTER)  # from now on the database knows which tasks there are
    with load(database, "--rate", "100", "--duration", "100ms", "--mix", "echo=1") as process:
        summary = summary_of(process, code=1)
    assert (summary.submitted, summary.refused) == (0, 10)
    ((reason, count),) = summary.reasons.items()
    assert "echo" in reason
    assert count == 10


def test_a_database_that_stalls_makes_jobs_late_and_not_fewer(database: str, connect: Connect) -> None:
    stalling, watching = connect(), connect()
    with load(database, "--rate", "100", "--duration", "300ms") as process:
        with stalling.transaction():
            stalling.execute("lock table dtsched.jobs in exclusive mode")
            while watching.execute(WAITING).fetchone() != (10,):
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(0.5)  # the twenty for which no sender is free are late by now; were it longer, they would be too
        summary = summary_of(process)
    assert (summary.submitted, summary.refused) == (30, 0)
    assert summary.late >= 20
    assert summary.behind_seconds > 0.1


def test_interrupted_it_says_what_it_has_done(database: str, connect: Connect) -> None:
    connection = connect()
    with load(database, "--rate", "50", "--duration", "10m") as process:
        while connection.execute("select count(*) from dtsched.jobs").fetchone() == (0,):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        summary = summary_of(process, code=130)
    assert 0 < summary.submitted < summary.planned == 30_000
