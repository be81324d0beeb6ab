"""`dtsched result`: what a job's handler returned."""

import click
from rich_click import RichCommand

from dtsched.cli.awaiting import await_end, seconds_of, tell_end
from dtsched.cli.database import with_store
from dtsched.cli.options import JOB_ID, dsn_option, json_option
from dtsched.errors import Conflict, NotFound
from dtsched.jobs import ENDED
from dtsched.store import Store


@click.command("result", cls=RichCommand)
@click.argument("job_id", metavar="ID", type=JOB_ID)
@click.option("--wait", is_flag=True, help="Wait for the end.")
@click.option("--timeout", metavar="DURATION", help="Wait at most this long. Exit code 124 then; the job goes on.")
@dsn_option
@json_option
def result_command(job_id: int, wait: bool, timeout: str | None, dsn: str | None, as_json: bool) -> int:
    """Print the result of a job, as JSON.

    With --json it is the whole job. Exit code 3 if there is none of that id or its result has
    expired, 4 if it has not ended and nobody waits,
    5 if it failed or was cancelled, and then why on stderr.

    \b
    dtsched result 42
    dtsched result 42 --timeout 30s
    """
    seconds = seconds_of(timeout, flag="--timeout")

    async def read(store: Store) -> int:
        if wait or seconds is not None:
            return await await_end(store, job_id, seconds, as_json=as_json)
        job = await store.job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        if job.state in ENDED:
            return tell_end(job, as_json=as_json)
        raise Conflict(f"job {job_id} is {job.state} and has no result yet: --wait waits for it")

    return with_store(dsn, read)
