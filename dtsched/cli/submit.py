"""`dtsched submit`: one job, and its result if one waits for it."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from rich_click import RichCommand

from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.errors import InvalidInput, NotFound
from dtsched.jobs import ENDED, Job, NewJob, Submitted, check
from dtsched.settings import parse_duration
from dtsched.store import Store

LONGEST_POLL_SECONDS = 0.5


@click.command("submit", cls=RichCommand)
@click.argument("task")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--args", "args_text", metavar="JSON", help="Arguments as an object; @FILE reads a file, - reads stdin.")
@click.option("--in", "delay", metavar="DURATION", help="Not before this has passed, such as 10m.")
@click.option("--at", metavar="TIME", help="Not before then: ISO 8601, local time unless it names a zone.")
@click.option("--queue", metavar="NAME", help="Default: default.")
@click.option("--priority", type=int, metavar="1-10", help="10 goes first. Default: 5.")
@click.option("--key", help="Kept unique among unfinished jobs: if one has it, that job is kept.")
@click.option("--max-attempts", type=int, metavar="N", help="Default: 5.")
@click.option("--timeout", metavar="DURATION", help="For each attempt. Default: none.")
@click.option("--depends-on", type=int, multiple=True, metavar="ID", help="Runs after that job; repeatable.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@click.option("--limit-key", metavar="KEY", help="Jobs of one limit key share its limit.")
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
    queue: str | None,
    priority: int | None,
    key: str | None,
    max_attempts: int | None,
    timeout: str | None,
    depends_on: tuple[int, ...],
    tags: tuple[str, ...],
    limit_key: str | None,
    wait: bool,
    wait_timeout: str | None,
    dsn: str | None,
    as_json: bool,
) -> int:
    """Submit a job and print its id.

    A VALUE that is JSON is taken as such (count=3, on=true, list=[1,2], text='"3"'), any other is a string
    (to=a@x.org). Values given so go over those of --args.
    """
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
            limit_key=limit_key,
            depends_on=list(depends_on) or None,
            tags=list(tags) or None,
        )
    )
    seconds = parse_duration(wait_timeout, field="--wait-timeout") if wait_timeout is not None else None

    async def submit(store: Store) -> int:
        (submitted,) = await store.submit_many([job])
        if not submitted.created:
            say(f"the key {key} is held by job {submitted.id}, which is kept")
        if wait or seconds is not None:
            say(f"waiting for job {submitted.id}")
            return tell_end(await ended(store, submitted.id, seconds), submitted.id, as_json=as_json)
        tell_id(submitted, as_json=as_json)
        return ExitCode.OK

    return with_store(dsn, submit)


def read_args(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if text == "-":
        raw: str | bytes = sys.stdin.buffer.read()
    elif text.startswith("@"):
        raw = read_file(Path(text[1:]))
    else:
        raw = text
    try:
        value = cast("object", json.loads(raw))  # reads lone surrogates too, which check() then names
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"--args must be JSON: {error}", field="args") from error
    if not isinstance(value, dict):
        raise InvalidInput("--args must be a JSON object, from names to values", field="args")
    return cast("dict[str, Any]", value)


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"--args: {path} cannot be read: {error.strerror}", field="args") from error


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    return dict(parse_pair(pair) for pair in pairs)


def parse_pair(pair: str) -> tuple[str, object]:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise InvalidInput(f"arguments are given as KEY=VALUE, not {pair[:60]!r}", field="args")
    try:
        return name, msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return name, text


def parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"run_at must be a finite time from 1970 to 9999, as in 2030-01-31T09:00, not {text[:40]!r}", field="run_at"
        ) from error


async def ended(store: Store, job_id: int, seconds: float | None) -> Job | None:
    """The job once it has ended; None when that took longer."""
    deadline = None if seconds is None else time.monotonic() + seconds
    pause = 0.01
    while True:
        job = await store.job(job_id)
        if job is None:
            raise NotFound(f"job {job_id} was deleted while it was waited for")
        if job.state in ENDED:
            return job
        if deadline is not None and time.monotonic() + pause > deadline:
            return None
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)


def tell_id(submitted: Submitted, *, as_json: bool) -> None:
    print_json(submitted) if as_json else click.echo(submitted.id)


def tell_end(job: Job | None, job_id: int, *, as_json: bool) -> int:
    """Prints the result, or with --json the whole job; returns the exit code."""
    if job is None:
        say(f"job {job_id} has not ended within that time; it goes on")
        return ExitCode.TIMED_OUT
    if as_json:
        print_json(job)
    elif job.state == "completed":
        print_json(job.result)
    if job.state != "completed":
        say(f"job {job.id} {job.state}: {job.error or 'no reason was given'}")
        return ExitCode.JOB_FAILED
    return ExitCode.OK
