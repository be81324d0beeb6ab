"""`dtsched watch`: jobs until they have ended, live on a terminal, a line a change elsewhere."""

from collections.abc import Sequence

import click
from rich_click import RichCommand

from dtsched.cli.awaiting import polls, said_to_go_on, seconds_of
from dtsched.cli.database import with_store
from dtsched.cli.exits import ExitCode
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import say
from dtsched.cli.pages import PAGE, fitting_ids
from dtsched.cli.views import View, view_for
from dtsched.cli.wording import jobs as number_of
from dtsched.errors import InvalidInput, NotFound
from dtsched.filters import parse_filter
from dtsched.jobs import ENDED, Job
from dtsched.store import LARGEST_ID, Store

MOST = 1000

Seen = dict[int, Job | None]
"""None: there is no such job, or not any more."""


@click.command("watch", cls=RichCommand)
@click.argument("terms", metavar="ID...|FILTER", nargs=-1, required=True)
@click.option("--timeout", metavar="DURATION", help="Watch at most this long. Exit code 124 then; the jobs go on.")
@dsn_option
@json_option
def watch_command(terms: tuple[str, ...], timeout: str | None, dsn: str | None, as_json: bool) -> int:
    """Follow jobs until they have ended.

    Of a FILTER, the jobs that fit when the command begins, at most 1,000. Elsewhere than on a terminal each change of
    a job's state is a line: when, id, state, attempt, error; with --json it is the whole job. Exit code 0 if all have
    completed, else 3 if one is missing, else 5.

    \b
    dtsched watch 42
    dtsched watch queue:mail state:pending,running --timeout 10m
    """
    seconds = seconds_of(timeout, flag="--timeout")
    ids = ids_of(terms)
    wanted = {} if ids else parse_filter(terms)

    async def follow(store: Store) -> int:
        chosen = ids or await find(store, wanted)
        with view_for(chosen, as_json=as_json) as view:
            return await watch(store, chosen, seconds, view)

    return with_store(dsn, follow)


def ids_of(terms: Sequence[str]) -> list[int]:
    """Nothing when it is a filter."""
    if not all(term.isascii() and term.isdecimal() for term in terms):
        return []
    ids = [int(term) for term in terms]
    if 0 in ids:
        raise InvalidInput("ids of jobs begin at 1", field="id")
    require_few(len(ids))
    return list(dict.fromkeys(ids))


async def find(store: Store, wanted: dict[str, object]) -> list[int]:
    found: list[int] = []
    async for ids in fitting_ids(store, wanted, limit=MOST + 1):
        found += ids
        require_few(len(found))
    if not found:
        raise NotFound("no job fits the filter")
    return found


def require_few(count: int) -> None:
    if count > MOST:
        raise InvalidInput(f"at most {MOST:,} jobs can be watched: name fewer, as with state:pending,running")


async def watch(store: Store, ids: Sequence[int], seconds: float | None, view: View) -> int:
    seen: Seen = {}
    waiting = list(ids)
    with said_to_go_on(lambda: f"{number_of(len(waiting))} not ended yet, watched no longer: they go on by themselves"):
        async for _ in polls(seconds):
            found = await read(store, waiting)
            changed = [job_id for job_id in waiting if has_changed(seen, job_id, found.get(job_id))]
            seen |= {job_id: found.get(job_id) for job_id in waiting}
            view.update(seen, changed)
            waiting = [job_id for job_id in waiting if (job := seen[job_id]) is not None and job.state not in ENDED]
            if not waiting:
                return verdict(seen)
    say(f"{number_of(len(waiting))} not ended within that time")
    return ExitCode.TIMED_OUT


async def read(store: Store, ids: Sequence[int]) -> dict[int, Job]:
    possible = [str(job_id) for job_id in ids if job_id <= LARGEST_ID]
    found: dict[int, Job] = {}
    for start in range(0, len(possible), PAGE):
        page = await store.list_jobs({"id": possible[start : start + PAGE]}, limit=PAGE)
        found |= {job.id: job for job in page.jobs}
    return found


def has_changed(seen: Seen, job_id: int, job: Job | None) -> bool:
    before = seen.get(job_id)
    if job is None or before is None:
        return job_id not in seen or job is not before
    return (job.state, job.attempt) != (before.state, before.attempt)


def verdict(seen: Seen) -> int:
    if None in seen.values():
        return ExitCode.NOT_FOUND
    completed = all(job is not None and job.state == "completed" for job in seen.values())
    return ExitCode.OK if completed else ExitCode.JOB_FAILED
