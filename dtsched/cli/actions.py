"""`dtsched cancel`, `retry`, `run-now`, `reschedule` and `delete`: five commands of one make."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypedDict, TypeVar, Unpack

import click
from rich_click import RichCommand

from dtsched.cli.acting import CANCEL, DELETE, RESCHEDULE, RETRY, RUN_NOW, Act, Verb, act_on, batches_of
from dtsched.cli.bulk import act_where
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import JOB_ID, dsn_option, json_option
from dtsched.cli.output import print_json, print_table
from dtsched.cli.times import checked_times
from dtsched.store import Store

F = TypeVar("F", bound=Callable[..., object])


class Given(TypedDict):
    """What all five commands take."""

    job_ids: tuple[int, ...]
    where: tuple[str, ...]
    dry_run: bool
    yes: bool
    dsn: str | None
    as_json: bool


def acting_options(function: F) -> F:
    for option in reversed(
        (
            click.argument("job_ids", metavar="[ID]...", type=JOB_ID, nargs=-1),
            click.option("--where", metavar="FILTER", multiple=True, help="Instead of ids: all jobs that fit."),
            click.option("--dry-run", is_flag=True, help="With --where: say how many fit, show some, change nothing."),
            click.option("--yes", is_flag=True, help="With --where: do not ask."),
            dsn_option,
            json_option,
        )
    ):
        function = option(function)
    return function


@click.command("cancel", cls=RichCommand)
@acting_options
def cancel_command(**given: Unpack[Given]) -> int:
    """Cancel jobs, and those that depend on them. A running job is told, and ends cancelled.

    Exit code 3 if one is missing, else 4 if one had ended before or was being changed by somebody else. With --where
    only the latter counts.

    \b
    dtsched cancel 41 42
    dtsched cancel --where 'queue:mail state:pending' --dry-run
    """
    return perform(CANCEL, lambda store, ids: store.cancel(ids), given)


@click.command("retry", cls=RichCommand)
@acting_options
def retry_command(**given: Unpack[Given]) -> int:
    """Run failed and cancelled jobs again, with all their attempts before them.

    Exit code 3 if one is missing, else 4 if one was refused: it has not ended or has completed, its key is held by
    another job, a job that it depends on failed, or somebody else was changing it. With --where only the last counts.

    \b
    dtsched retry 42
    dtsched retry --where 'state:failed error:Timeout since:1h' --yes
    """
    return perform(RETRY, lambda store, ids: store.retry(ids), given)


@click.command("run-now", cls=RichCommand)
@acting_options
def run_now_command(**given: Unpack[Given]) -> int:
    """Make scheduled jobs ready at once.

    Exit code 3 if one is missing, else 4 if one runs, has ended, or was being changed by somebody else. With --where
    only the last counts.

    \b
    dtsched run-now 42
    dtsched run-now --where 'state:scheduled task:report'
    """
    return perform(RUN_NOW, lambda store, ids: store.run_now(ids), given)


@click.command("reschedule", cls=RichCommand)
@click.option("--at", metavar="TIME", help="Not before then: ISO 8601, local time unless it names a zone.")
@click.option("--in", "delay", metavar="DURATION", help="Not before this has passed, such as 10m.")
@acting_options
def reschedule_command(at: str | None, delay: str | None, **given: Unpack[Given]) -> int:
    """Have waiting jobs run at another time.

    Exit code 3 if one is missing, else 4 if one runs, has ended, or was being changed by somebody else. With --where
    only the last counts.

    \b
    dtsched reschedule 42 --in 10m
    dtsched reschedule --where 'state:pending queue:mail' --at 2030-01-31T09:00
    """
    run_at, seconds = checked_times(at, delay)
    if run_at is None and seconds is None:
        raise click.UsageError("say when: --at TIME or --in DURATION")
    return perform(RESCHEDULE, partial(reschedule, run_at=run_at, seconds=seconds or 0.0), given)


@click.command("delete", cls=RichCommand)
@acting_options
def delete_command(**given: Unpack[Given]) -> int:
    """Delete jobs with their results and attempts. A job that waits is cancelled first, with those that depend on it.

    Exit code 3 if one is missing, else 4 if one runs (cancel it first) or was being changed by somebody else. With
    --where only the last counts.

    \b
    dtsched delete 42
    dtsched delete --where 'state:completed until:30d' --yes
    """
    return perform(DELETE, lambda store, ids: store.delete(ids), given)


async def reschedule(store: Store, ids: Sequence[int], *, run_at: datetime | None, seconds: float) -> dict[int, str]:
    """Without a time, so many seconds from now by the database's clock."""
    return await store.reschedule(ids, run_at or await store.now() + timedelta(seconds=seconds))


def perform(verb: Verb, act: Act, given: Given) -> int:
    if given["where"] and given["job_ids"]:
        raise click.UsageError("ids and --where exclude each other: give one")
    if given["where"]:
        return act_where(
            verb,
            act,
            given["where"],
            dry_run=given["dry_run"],
            yes=given["yes"],
            dsn=given["dsn"],
            as_json=given["as_json"],
        )
    if not given["job_ids"]:
        raise click.UsageError("name the jobs: give ids, or --where with a filter")
    if given["dry_run"]:
        raise click.UsageError("--dry-run goes with --where")
    return act_on_ids(verb, act, given["job_ids"], dsn=given["dsn"], as_json=given["as_json"])


def act_on_ids(verb: Verb, act: Act, job_ids: Sequence[int], *, dsn: str | None, as_json: bool) -> int:
    wanted = list(dict.fromkeys(job_ids))
    outcomes: dict[int, str] = {}

    async def run(store: Store) -> None:
        await act_on(store, act, batches_of(wanted), outcomes.update)

    with_store(dsn, run)
    if as_json:
        print_json([{"id": job_id, "outcome": outcomes[job_id]} for job_id in wanted])
    else:
        print_table(
            ["id", "outcome", "meaning"],
            [[str(job_id), outcomes[job_id], verb.meanings[outcomes[job_id]]] for job_id in wanted],
        )
    if "missing" in outcomes.values():
        return ExitCode.NOT_FOUND
    return ExitCode.OK if verb.successes.issuperset(outcomes.values()) else ExitCode.CONFLICT
