"""`dtsched show` and `dtsched why`: one job, what became of its attempts, and why it is where it is."""

from collections.abc import Iterable, Sequence

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.options import JOB_ID, dsn_option, json_option
from dtsched.cli.output import print_fields, print_json, print_table, say
from dtsched.cli.wording import at, progress_text, shown
from dtsched.errors import NotFound
from dtsched.jobs import Job
from dtsched.logs import printable
from dtsched.overview import AttemptRecord, Reason, StepRecord
from dtsched.store import Store

LONGEST_TRACEBACK = 20
LONGEST_RESULT = 200
_KEPT = 9999


class Shown(Job, frozen=True, kw_only=True):
    """`attempts` are those that did not simply succeed, newest first; the decisive one of `reasons` comes first;
    `steps` are in the order in which they began."""

    attempts: list[AttemptRecord]
    reasons: list[Reason]
    steps: list[StepRecord]


class Why(msgspec.Struct, frozen=True):
    id: int
    state: str
    reasons: list[Reason]


@click.command("show", cls=RichCommand)
@click.argument("job_id", metavar="ID", type=JOB_ID)
@click.option("--traceback", is_flag=True, help="Print the traceback of every attempt, not the newest short one alone.")
@dsn_option
@json_option
def show_command(job_id: int, traceback: bool, dsn: str | None, as_json: bool) -> None:
    """Show a job, why it is where it is, its steps and its attempts.

    An attempt that simply succeeded is not kept. The newest comes first.

    Exit code 3 if there is none of that id.

    \b
    dtsched show 42
    dtsched show 42 --traceback
    """

    async def read(store: Store) -> Shown:
        job = await existing(store, job_id)
        attempts, reasons = await store.attempts(job_id), await store.why(job_id)
        steps = await store.steps(job_id)
        return Shown(**msgspec.structs.asdict(job), attempts=attempts, reasons=reasons, steps=steps)

    job = with_store(dsn, read)
    if as_json:
        print_json(job)
        return
    print_fields(fields(job))
    tell_steps(job.steps)
    for number, attempt in enumerate(job.attempts):
        tell_attempt(attempt)
        tell_traceback(attempt, whole=traceback, newest=number == 0)


async def existing(store: Store, job_id: int) -> Job:
    job = await store.job(job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def fields(job: Shown) -> list[tuple[str, str]]:
    values = [(name, shown(getattr(job, name))) for name in Job.__struct_fields__]
    values = [(name, progress_text(job.progress) if name == "progress" and text else text) for name, text in values]
    if job.key_until is not None and job.key_until.year == _KEPT:
        values = [(name, "as long as the job is kept" if name == "key_until" else text) for name, text in values]
    why = [("why", job.reasons[0].reason)] if job.reasons else []
    return [(name, text) for name, text in values if text is not None] + why


def tell_steps(steps: Sequence[StepRecord]) -> None:
    if steps:
        click.echo()
        print_fields((f"step {step.name}", what_came_of(step)) for step in steps)


def what_came_of(step: StepRecord) -> str:
    if step.state == "waiting":
        what = "sleeps" if step.event is None else f"waits for event {step.event}"
        return what if step.until is None or step.until.year >= 9999 else f"{what} until {at(step.until)}"
    if step.state == "timeout":
        return f"event {step.event} did not come in time"
    if step.kind == "sleep":
        return "has slept"
    if (step.result_bytes or 0) > LONGEST_RESULT:
        return f"{step.result_bytes} bytes"
    return msgspec.json.encode(step.result).decode()


def tell_attempt(attempt: AttemptRecord) -> None:
    worker = f"  worker {attempt.worker_id}" if attempt.worker_id else ""
    error = ": ".join(part for part in (attempt.error_type, attempt.message) if part)
    line = f"attempt {attempt.attempt}  {attempt.outcome}  {at(attempt.finished_at)}{worker}  {error}"
    click.echo(f"\n{printable(line.rstrip())}")


def tell_traceback(attempt: AttemptRecord, *, whole: bool, newest: bool) -> None:
    lines = (attempt.traceback or "").rstrip().split("\n")
    if whole or (newest and len(lines) <= LONGEST_TRACEBACK):
        print_indented(line for line in lines if line)
    elif newest:
        say(f"--traceback prints the {len(lines)} lines of its traceback")


def print_indented(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(f"    {printable(line)}")


@click.command("why", cls=RichCommand)
@click.argument("job_id", metavar="ID", type=JOB_ID)
@dsn_option
@json_option
def why_command(job_id: int, dsn: str | None, as_json: bool) -> None:
    """Say why a job is where it is: what it waits for, or how it ended. The decisive reason comes first.

    Exit code 3 if there is none of that id. The codes never change their meaning.

    \b
    dtsched why 42
    dtsched why 42 --json
    """

    async def read(store: Store) -> Why:
        job = await existing(store, job_id)
        return Why(job.id, job.state, await store.why(job_id))

    why = with_store(dsn, read)
    if as_json:
        print_json(why)
    else:
        print_table(["code", "reason"], [[reason.code, reason.reason] for reason in why.reasons])
