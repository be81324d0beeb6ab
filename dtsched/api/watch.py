"""Watching a job, a queue, or everything, by server-sent events."""

from functools import partial
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Meta

from dtsched.api.callers import caller_of, is_still_admitted
from dtsched.api.database import Database, Questions
from dtsched.api.documentation import Answer, documented, own
from dtsched.api.feed_streams import FeedStream, FeedStreams
from dtsched.api.job_streams import JobStream, JobStreams
from dtsched.api.queues import queue_of
from dtsched.api.requests import ApiRequest, job_id_of
from dtsched.api.streams import MEDIA_TYPE, EventStream, Streams
from dtsched.errors import NotFound
from dtsched.jobs import ENDED

LastEventId = Annotated[
    str, Meta(description="The id of the last event that was received: go on after it.", examples=["3f2a9c1e~742:742:"])
]
_HEADERS = {"Last-Event-ID": LastEventId}
_EVENTS = Answer(str, media_type=MEDIA_TYPE)


class Watching:
    """What the streams of this process are fed by."""

    def __init__(self, questions: Questions) -> None:
        self.streams = Streams()
        self.jobs = JobStreams(questions, self.streams)
        self.feed = FeedStreams(questions, self.streams)

    async def close(self) -> None:
        await self.streams.close()
        await self.jobs.close()
        await self.feed.close()


@get(
    "/v1/jobs/{job_id:str}/events",
    summary="Watch a job",
    opt=documented("jobs", "read", {200: _EVENTS, 204: None}, headers=_HEADERS),
)
async def watch_job(
    request: ApiRequest, job_id: FromPath[str], database: NamedDependency[Database], watching: NamedDependency[Watching]
) -> ASGIResponse:
    """Server-sent events: `job` with the job as it is, and again when it has changed (only its newest state counts).
    The stream ends with the job. `gone`: it has been deleted. 204 when it has ended and the caller has been told so."""
    wanted = job_id_of(job_id)
    known = request.headers.get("last-event-id")
    changed = await database.store(lambda store: store.watched_jobs({wanted: None}))
    found = changed.get(wanted)
    if found is None:
        raise NotFound(f"there is no job {wanted}")
    version, job = found
    if job.state in ENDED and version == known:
        return ASGIResponse(status_code=204)  # which tells a browser not to ask again
    stream = JobStream(wanted, known, shows_args=caller_of(request).may("read-args"))
    stream.tell(version, job)
    jobs = watching.jobs
    return EventStream(
        stream,
        admitted=partial(is_still_admitted, request),
        opened=partial(jobs.add, stream),
        closed=partial(jobs.remove, stream),
    )


@get(
    "/v1/queues/{name:str}/events",
    summary="Watch a queue",
    opt=documented("queues", "read", {200: _EVENTS}, headers=_HEADERS),
)
async def watch_queue(
    request: ApiRequest, name: FromPath[str], database: NamedDependency[Database], watching: NamedDependency[Watching]
) -> ASGIResponse:
    """Server-sent events: what happens to its jobs (`submitted`, `started`, `completed`, `failed`, `cancelled`,
    `retrying`, `snoozed`, `handed_back`, `retried`), `queue` with its figures when they have changed, and `reset` when
    something may have been missed: read anew what you have read, and go on."""
    wanted = queue_of(name)
    if not await database.ask(database.client.queues(wanted)):
        raise NotFound(f"there is no queue {wanted}")
    return _watch(request, watching.feed, frozenset({wanted}))


@get(
    "/v1/events",
    summary="Watch everything",
    opt=documented("events", own("read"), {200: _EVENTS}, headers=_HEADERS),
)
async def watch_everything(
    request: ApiRequest, database: NamedDependency[Database], watching: NamedDependency[Watching]
) -> ASGIResponse:
    """As of a queue, of all queues that the caller may see."""
    await database.ask(database.client.require_contract())  # a stream that cannot be fed would only be silent
    queues = caller_of(request).queues
    return _watch(request, watching.feed, None if queues is None else frozenset(queues))


def _watch(request: ApiRequest, feed: FeedStreams, queues: frozenset[str] | None) -> EventStream:
    feed.require_listening()
    stream = FeedStream(queues, request.headers.get("last-event-id"), feed)
    return EventStream(
        stream,
        admitted=partial(is_still_admitted, request),
        opened=partial(feed.add, stream),
        closed=partial(feed.remove, stream),
    )
