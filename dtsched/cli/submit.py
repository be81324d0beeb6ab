"""`dtsched submit`: one job, and its result if one waits for it."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.awaiting import await_end, seconds_of
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.times import named_by_flag, parse_time
from dtsched.correlation import correlate
from dtsched.errors import DtschedError, InvalidInput
from dtsched.jobs import Job, KeyOutcome, NewJob, OnConflict, ParentEdge, Submitted, check
from dtsched.store import Store

MEANING: dict[KeyOutcome, str] = {
    "kept": "is held by job {}, which is kept",
    "replaced": "is held by job {}, which waited and has the new values now",
    "superseded": "was taken from another job by job {}",
}


@click.command("submit", cls=RichCommand)
@click.argument("task")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--args", "args_text", metavar="JSON", help="Arguments as an object; @FILE reads a file, - reads stdin.")
@click.option("--in", "delay", metavar="DURATION", help="Not before this has passed, such as 10m.")
@click.option("--at", metavar="TIME", help="Not before then: ISO 8601, local time unless it names a zone.")
@click.option("--deadline", metavar="TIME", help="No attempt begins after then, and none runs on: it fails.")
@click.option("--expires-in", metavar="DURATION", help="The deadline, from now.")
@click.option("--queue", metavar="NAME", help="Default: what the task declares, or default.")
@click.option("--priority", type=int, metavar="1-10", help="10 goes first. Default: what the task declares, or 5.")
@click.option("--key", help="Unique: if another job has it, --on-conflict says what becomes of that one.")
@click.option(
    "--key-for", metavar="DURATION", help="How long: unfinished (the default), kept, or such as 10m from now on."
)
@click.option("--on-conflict", metavar="MODE", help="keep (the default), replace, reject or supersede.")
@click.option("--max-attempts", type=int, metavar="N", help="Default: what the task declares, or the queue, or 5.")
@click.option(
    "--timeout", metavar="DURATION", help="For each attempt. Default: what the task declares, or the queue, or none."
)
@click.option(
    "--depends-on",
    multiple=True,
    metavar="ID|KEY[:run|:skip]",
    help="Runs after that job; repeatable. Digits: an id. Should it fail: cancelled, unless :run or :skip is there.",
)
@click.option("--workflow", type=int, metavar="ID", help="The workflow it belongs to.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@click.option("--limit-key", metavar="KEY", help="Jobs of one limit key share its limit.")
@click.option(
    "--backoff",
    metavar="JSON",
    help='How far apart attempts are, such as {"kind": "fixed", "base": 10}. Default: what the task declares.',
)
@click.option("--correlation-id", metavar="ID", help="By which logs find what belongs together. Default: a new one.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result. Exit code 5 if it was no success.")
@click.option("--wait-timeout", metavar="DURATION", help="Wait at most this long. Exit code 124 then; the job goes on.")
@dsn_option
@json_option
def submit_command(
    task: str,
    pairs: tuple[str, ...],
    args_text: str | None,
    delay: str | None,
    at: str | None,
    deadline: str | None,
    expires_in: str | None,
    queue: str | None,
    priority: int | None,
    key: str | None,
    key_for: str | None,
    on_conflict: str | None,
    max_attempts: int | None,
    timeout: str | None,
    depends_on: tuple[str, ...],
    workflow: int | None,
    tags: tuple[str, ...],
    limit_key: str | None,
    backoff: str | None,
    correlation_id: str | None,
    wait: bool,
    wait_timeout: str | None,
    dsn: str | None,
    as_json: bool,
) -> int:
    """Submit a job and print its id.

    A VALUE that is JSON is taken as such (count=3, on=true, list=[1,2], text='"3"'), any other is a string
    (to=a@x.org). Values given so go over those of --args.
    """
    with named_by_flag():
        job = check(
            NewJob(
                task=task,
                args={**read_args(args_text), **parse_pairs(pairs)},
                queue=queue,
                priority=priority,
                run_at=parse_time(at),
                delay=delay,
                max_attempts=max_attempts,
                timeout=timeout,
                key=key,
                key_for=key_for,
                on_conflict=cast("OnConflict | None", on_conflict),  # check() looks at it
                limit_key=limit_key,
                depends_on=[parse_parent(parent) for parent in depends_on] or None,
                workflow=workflow,
                tags=list(tags) or None,
                backoff=None if backoff is None else read_object(backoff, flag="--backoff"),
                correlation_id=correlation_id,
                deadline=parse_time(deadline, field="deadline"),
                expires_in=expires_in,
            )
        )
    seconds = seconds_of(wait_timeout, flag="--wait-timeout")

    async def submit(store: Store) -> int:
        (submitted,) = await store.submit_many(correlate([job]))
        if submitted.outcome in MEANING:
            say(f"the key {key} {MEANING[submitted.outcome].format(submitted.id)}")
        if wait or seconds is not None:
            say(f"waiting for job {submitted.id}")
            return await await_end(store, submitted.id, seconds, as_json=as_json)
        tell_id(submitted, as_json=as_json)
        if depends_on and submitted.created:
            await tell_if_cancelled(store, submitted.id)
        return ExitCode.OK

    return with_store(dsn, submit, create=True)


def read_args(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text == "-":
        raw: str | bytes = sys.stdin.buffer.read()
    elif text.startswith("@"):
        raw = read_file(Path(text[1:]))
    else:
        raw = text
    return read_object(raw, flag="--args")


def read_object(raw: str | bytes, *, flag: str) -> dict[str, Any]:
    try:
        value = cast("object", json.loads(raw))  # reads lone surrogates too, which check() then names
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{flag} must be JSON: {error}", field=flag.strip("-")) from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{flag} must be a JSON object, from names to values", field=flag.strip("-"))
    return cast("dict[str, Any]", value)


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"--args: {path} cannot be read: {error.strerror}", field="args") from error


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    return dict(parse_pair(pair) for pair in pairs)


def parse_pair(pair: str, *, blamed: str = "arguments are given as KEY=VALUE") -> tuple[str, object]:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise InvalidInput(f"{blamed}, not {pair[:60]!r}", field="args")
    try:
        return name, msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return name, text


def parse_parent(text: str) -> int | str | ParentEdge:
    """An id, or a key, and what becomes of the job if that one fails."""
    named, _, policy = text.rpartition(":")
    if policy == "run" or policy == "skip" or policy == "cancel":
        return ParentEdge(job=id_or_key(named), on_failure=policy)
    return id_or_key(text)


def id_or_key(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def tell_id(submitted: Submitted, *, as_json: bool) -> None:
    print_json(submitted) if as_json else click.echo(submitted.id)


async def tell_if_cancelled(store: Store, job_id: int) -> None:
    """A parent that did not complete cancels what is submitted after it. Who may only submit reads no jobs."""
    with suppress(DtschedError):
        job = await store.job(job_id)
        if job is not None and job.state == "cancelled":
            wanted = {"id": [str(parent) for parent in job.depends_on or ()], "state": ["failed", "cancelled"]}
            ended = (await store.list_jobs(wanted)).jobs
            reasons = ", ".join(f"job {parent.id} {words(parent)}" for parent in reversed(ended))
            say(f"job {job_id} was cancelled at once, because {reasons or job.error}")


def words(parent: Job) -> str:
    return "has failed" if parent.state == "failed" else "was cancelled"
