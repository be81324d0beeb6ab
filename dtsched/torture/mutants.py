"""Bugs to be planted, each one that a queue has had, to prove that the checker notices it. They are planted in the
server that a run has started for itself, and nowhere else."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg
from msgspec import Struct

from dtsched.errors import DtschedError


class Change(Struct, frozen=True):
    """In the source of a function of the schema, `before` becomes `after`, wherever it stands."""

    function: str
    before: str
    after: str


class Mutant(Struct, frozen=True, kw_only=True):
    """`faults` are those of its run, each with what is to be otherwise about it: its run is as short as the bug allows.
    `caught_by` are the invariants of which one has to notice it, each with words of what it says then. `poll_seconds`
    and `app`, where they are given, take the place of the workers' own."""

    number: str
    title: str
    faults: Mapping[str, Mapping[str, object]]
    caught_by: Mapping[str, str]
    changes: Sequence[Change] = ()
    statements: Sequence[LiteralString] = ()
    poll_seconds: float | None = None
    app: str | None = None
    minutes: float = 0.6
    seed: int = 42


_ASYNC = """perform set_config('synchronous_commit', 'on', true);"""
_READ_COMMITTED = "perform dtsched.require_read_committed();"
_UNFENCED = """
    update dtsched.leases lease
    set id = spent.lease_id, worker_id = p_worker, secret = null
    from dtsched.attempts spent
    where spent.lease_id = {} and spent.outcome = 'crash' and lease.job_id = spent.job_id;"""
"""Whoever holds the job by now, it is this worker's again, by the lease that it had."""

MUTANTS: Mapping[str, Mutant] = {
    mutant.number: mutant
    for mutant in (
        Mutant(
            number="M1",
            title="no fence: who was taken for dead may still finish",
            faults={"F05": {"strikes": 2}},
            minutes=0.75,
            caught_by={"S4": "an outcome of a stale lease was accepted"},
            changes=[
                Change("finish", _READ_COMMITTED, _READ_COMMITTED + _UNFENCED.format("any (p_done)")),
                Change("complete", _READ_COMMITTED, _READ_COMMITTED + _UNFENCED.format("p_lease")),
                # nor is it told, or it would drop what it has before it could finish it
                Change("renew", "return query select false, false,", "return query select true, false,"),
                Change("taken_away", "where not exists", "where false and not exists"),
                Change(
                    "work",
                    "if p_limit > 0 then",
                    """if p_limit > 0 and exists (
        select from dtsched.workers worker
        where worker.id = p_worker and worker.lost_at is null and worker.expires_at > dtsched.now()) then""",
                ),
            ],
        ),
        Mutant(
            number="M2",
            title="a claim takes more than it was asked for",
            faults={"F47": {}},
            caught_by={"S9": "leases of a worker over HTTP"},
            changes=[
                Change(
                    "claim",
                    "v_limit := case when v_scarce then v_slots else p_limit end;",
                    "v_limit := 3 * case when v_scarce then v_slots else p_limit end;",
                ),
            ],
        ),
        Mutant(
            number="M3",
            title="what was acknowledged is not on the disk yet",
            faults={"F20": {"strikes": 1}},
            caught_by={"S1": "it was accepted, and is not there"},
            changes=[
                Change(function, _ASYNC, "null;")
                for function in ("claim", "emit", "finish", "record_step", "submit_many")
            ],
            statements=[
                "alter system set wal_writer_delay = '10s'",
                "alter system set wal_writer_flush_after = '1GB'",
                "select pg_reload_conf()",
                """do $$ begin
                    execute format('alter database %I set synchronous_commit = off', current_database());
                end $$""",
            ],
        ),
        Mutant(
            number="M4",
            title="leases begin when their transaction did, however long it has waited since",
            faults={"F32": {"strikes": 1, "lasts": (6.5, 7.5), "tables": ("workers",)}},
            minutes=0.8,
            caught_by={"S5": "a lease was renewed for less than half of it"},
            statements=[
                """create or replace function dtsched.now() returns timestamptz language sql stable parallel safe
                as $$ select pg_catalog.transaction_timestamp() $$"""
            ],
        ),
        Mutant(
            number="M5",
            title="nobody polls: what no notification told of waits",
            faults={
                "F29": {
                    "strikes": 1,
                    "lasts": (10.0, 10.5),
                    "silenced": 1.0,
                    "lull_seconds": 60.0,
                    "settled_seconds": 14.0,
                }
            },
            minutes=0.8,
            caught_by={"L4": "had ready jobs, and nothing was started"},
            poll_seconds=3600.0,
        ),
        Mutant(
            number="M6",
            title="a listener that has lost its connection does not listen any more",
            faults={"F18": {"strikes": 1}},
            minutes=0.4,
            caught_by={"L8": "workers listen, some have not"},
            app="dtsched.torture.deaf:app",
        ),
        Mutant(
            number="M7",
            title="a schedule is fired by everybody who finds it due",
            faults={"F01": {"strikes": 2, "heavy": False}},
            minutes=0.5,
            caught_by={"S13": " times"},
            changes=[
                Change("fire", "for no key update skip locked", ""),
                Change("fire", "and schedule.next_at is not distinct from p_due", ""),
                Change(
                    "fire",
                    "where not exists (select from dtsched.ticks known "
                    "where known.schedule = p_name and known.tick = given.tick)",
                    "",
                ),
            ],
            statements=["alter table dtsched.ticks drop constraint ticks_pkey"],
        ),
        Mutant(
            number="M8",
            title="an attempt is counted when it fails: one that kills its worker never is",
            faults={"F01": {"strikes": 2, "heavy": False}},
            minutes=0.5,
            caught_by={"S6": " came after "},
            changes=[
                Change("claim", "attempt = job.attempt + 1,", ""),
                Change(
                    "finish_others",
                    "attempt = job.attempt - (decided.outcome = 'snooze')::integer,",
                    "attempt = job.attempt + (decided.outcome <> 'snooze')::integer,",
                ),
            ],
        ),
        Mutant(
            number="M9",
            title="free seats of a limit are counted without a lock",
            faults={"F53": {}},
            minutes=0.7,
            caught_by={"S9": "leases of limit key"},
            changes=[
                Change(
                    "take_limited",
                    """where limited.limit_key = any (p_turns)
        order by limited.limit_key
        for no key update skip locked);""",
                    """where limited.limit_key = any (p_turns)
        order by limited.limit_key);""",
                )
            ],
        ),
        Mutant(
            number="M10",
            title="one row that cannot be rescued keeps all others from it",
            faults={"F31": {"strikes": 5, "lasts": (14.0, 15.0)}, "F01": {"strikes": 1, "heavy": False}},
            minutes=0.75,
            seed=190,  # rows of several workers are held, then one is killed, and for ten seconds they still are
            caught_by={"L3": "it ran again after"},
            changes=[
                Change(
                    "rescue",
                    "order by lease.id for update skip locked);",
                    "order by lease.id for update skip locked);\n"
                    "    perform from dtsched.jobs job where job.id in (select lease.job_id from dtsched.leases lease "
                    "where lease.id = any (v_orphans)) for update nowait;",
                )
            ],
        ),
        Mutant(
            number="M11",
            title="a lost worker's row is deleted first, and its jobs are looked for by it",
            faults={"F01": {"strikes": 3, "heavy": False}},
            caught_by={"L1": "running instead of"},
            changes=[
                Change("rescue", "where gone.lost_at < v_now - interval '1 day'", "where gone.lost_at <= v_now"),
                Change(
                    "rescue",
                    "v_orphans := array(select lease.id from dtsched.leases lease where lease.id = any (v_orphans)",
                    "v_orphans := array(select lease.id from dtsched.leases lease where lease.id = any (v_orphans) "
                    "and exists (select from dtsched.workers lost "
                    "where lost.id = lease.worker_id and lost.lost_at is not null)",
                ),
            ],
        ),
        Mutant(
            number="M12",
            title="a request that is repeated is submitted again",
            faults={"F42": {"share": (0.1, 0.2)}},
            caught_by={"S1": "rows carry this name"},
            changes=[Change("submit_once", "elsif replayed then", "elsif false then")],
        ),
    )
}


def plant(connection: psycopg.Connection, mutant: Mutant) -> None:
    """As the schema's owner, in autocommit. Raises DtschedError where the source is not what the bug was made for."""
    for change in mutant.changes:
        for source in _sources(connection, change.function):
            if change.before not in source:
                raise DtschedError(
                    f"{mutant.number} cannot be planted: {change.function}() does not hold {change.before!r}"
                )
            connection.execute(source.replace(change.before, change.after).encode())
    for statement in mutant.statements:
        connection.execute(statement)


def _sources(connection: psycopg.Connection, function: str) -> list[str]:
    rows = connection.execute(
        """select pg_get_functiondef(oid) from pg_catalog.pg_proc
        where pronamespace = 'dtsched'::regnamespace and proname = %s""",
        [function],
    ).fetchall()
    if not rows:
        raise DtschedError(f"there is no function {function}()")
    return [row[0] for row in rows]
