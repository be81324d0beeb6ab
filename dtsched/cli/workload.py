"""The demo's jobs: what is submitted, through which door, and what must have become of it."""

import http.client
import json
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from dtsched.answers import Retry
from dtsched.cli.reading import read, read_one
from dtsched.connections import Connection
from dtsched.errors import DtschedError
from dtsched.jobs import NewJob
from dtsched.store import Store

if TYPE_CHECKING:
    from workers.survey import LIBRARY, Total, add_up, examine, library_files
else:  # where workers/ is installed; a type checker cannot follow that
    from dtsched.workers.survey import LIBRARY, Total, add_up, examine, library_files

BATCH = 500
LINGERING = 16
LINGER_SECONDS = 1.0
STUMBLING = 10
STUMBLES = 2
GIVING_UP = 3
DELAYED = 10
BY_REST = 5
BY_INSERT = 5
SOON = Retry(backoff="fixed", base=0.5).policy
PROBES = 100
PROBE = NewJob(task="probe", queue="survey")


class Api:
    """The REST door, for this machine's own server: no proxy is asked."""

    def __init__(self, port: int) -> None:
        self._port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def ready(self) -> bool:
        try:
            return self._request("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def submit(self, job: dict[str, object]) -> int:
        status, body = self._request("POST", "/v1/jobs", job)
        if status != 201:
            raise DtschedError(f"POST /v1/jobs answered {status}: {body.decode(errors='replace')}")
        return msgspec.json.decode(body)["id"]

    def cancel(self, job_id: int) -> None:
        status, body = self._request("POST", f"/v1/jobs/{job_id}/cancel")
        if status not in (200, 202):
            raise DtschedError(f"POST /v1/jobs/{job_id}/cancel answered {status}: {body.decode(errors='replace')}")

    def _request(self, method: str, path: str, body: dict[str, object] | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


async def submit(connection: Connection, files: list[str], api: Api) -> int:
    """Everything but the lingering jobs and the probes; returns how many were acknowledged."""
    surveys = await submit_surveys(connection, files)
    others = await Store(connection).submit_many([
        NewJob(task="survey_total", queue="survey", depends_on=surveys),
        *[NewJob(task="stumble", queue="survey", args={"failures": STUMBLES}, backoff=SOON) for _ in range(STUMBLING)],
        *[NewJob(task="give_up", queue="survey", max_attempts=2, backoff=SOON) for _ in range(GIVING_UP)],
        *[NewJob(task="note", queue="survey", args={"text": "later"}, delay=1.0 + i / 5) for i in range(DELAYED)],
        NewJob(task="note", queue="survey", args={"text": "never"}, delay=3600.0, tags=["cancelled"]),
    ])  # fmt: skip
    api.cancel(others[-1].id)
    inserted = await connection.execute(
        """
        insert into dtsched.jobs (queue, task, args)
        select 'survey', 'note', '{"text": "by INSERT"}' from generate_series(1, %s)
        returning id
        """,
        [BY_INSERT],
    )
    rest = [api.submit({"queue": "survey", "task": "note", "args": {"text": "by REST"}}) for _ in range(BY_REST)]
    return len(surveys) + len(others) + len(await inserted.fetchall()) + len(rest)


async def submit_surveys(connection: Connection, files: list[str]) -> list[int]:
    ids: list[int] = []
    for start in range(0, len(files), BATCH):
        paths = files[start : start + BATCH]
        batch = [NewJob(task="survey_file", queue="survey", args={"path": path}) for path in paths]
        ids += [submitted.id for submitted in await Store(connection).submit_many(batch)]
    return ids


async def submit_lingering(connection: Connection) -> int:
    jobs = [NewJob(task="linger", queue="slow", args={"seconds": LINGER_SECONDS}) for _ in range(LINGERING)]
    return len(await Store(connection).submit_many(jobs))


class Outcome(Struct, frozen=True, kw_only=True):
    stumbled: int
    given_up: int
    cancelled: int


OUTCOME = """
    select count(*) filter (where job.task = 'stumble' and job.state = 'completed' and job.attempt >= %s) as stumbled,
        count(*) filter (where job.task = 'give_up' and job.state = 'failed') as given_up,
        count(*) filter (where job.state = 'cancelled' and job.attempt = 0 and job.tags = '{cancelled}') as cancelled
    from dtsched.jobs job
"""


class Stored(Struct, frozen=True, kw_only=True):
    result: bytes | None


TOTAL = """
    select coalesce(stored.result, job.result) as result
    from dtsched.jobs job
    left join dtsched.results stored on stored.job_id = job.id
    where job.task = 'survey_total' and job.state = 'completed'
"""


async def unmet(connection: Connection, recounted: Total) -> list[str]:
    """A sentence for each thing that the jobs should have come to and did not."""
    outcome = await read_one(connection, Outcome, OUTCOME, [STUMBLES + 1])
    expected = Outcome(stumbled=STUMBLING, given_up=GIVING_UP, cancelled=1)
    stored = await read(connection, Stored, TOTAL)
    totals = [msgspec.json.decode(row.result or b"null", type=Total | None) for row in stored]
    return [
        *([] if outcome == expected else [f"expected {expected}, found {outcome}"]),
        *([] if totals == [recounted] else [f"the last job summed {totals}, a recount gives {recounted}"]),
    ]


def recount(files: list[str]) -> Total:
    return add_up(map(examine, files))


__all__ = ["LIBRARY", "Api", "Total", "library_files", "recount", "submit", "submit_lingering", "unmet"]
