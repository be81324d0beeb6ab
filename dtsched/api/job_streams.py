"""Single jobs as they change, for all who watch one: one statement looks at a thousand of them.

The end of a job is announced (see dtsched.waiting), and the job looked at then; every other change is found by looking
at all of them once a second.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from dtsched.api.database import ANSWER_SECONDS, Questions
from dtsched.api.streams import Stream, Streams, encoded
from dtsched.connections import is_outage
from dtsched.jobs import ENDED, Job
from dtsched.maintenance.loop import wait
from dtsched.outage import Outage

_log = logging.getLogger("dtsched.api")

_LOOK_SECONDS = 1.0
_SHORTEST_ROUND_SECONDS = 0.02
_AT_ONCE = 1000
_PAGE = 100  # as many as dtsched.watched_jobs() returns


class JobStream(Stream):
    """`version` is that of the job as it was last put there."""

    __slots__ = ("job_id", "shows_args", "version")

    def __init__(self, job_id: int, version: str | None, *, shows_args: bool) -> None:
        super().__init__("job")
        self.job_id = job_id
        self.version = version
        self.shows_args = shows_args

    def tell(self, version: str, job: Job) -> None:
        """Only the newest state counts: one that has not been sent yet makes room for it."""
        if version != self.version:
            self.version = version
            shown = job if self.shows_args else without_args(job)
            self.replace(encoded("job", msgspec.json.encode(shown), version))
        if job.state in ENDED:
            self.end()

    def tell_gone(self) -> None:
        self.replace(encoded("gone", msgspec.json.encode({"id": self.job_id})))
        self.end()


@dataclass
class _Watched:
    """A job, and what all of its streams have been told."""

    ended: asyncio.Future[None]
    version: str | None = None
    streams: set[JobStream] = field(default_factory=set[JobStream])


class JobStreams:
    def __init__(self, questions: Questions, streams: Streams) -> None:
        self._questions = questions
        self._streams = streams
        self._watched: dict[int, _Watched] = {}
        self._prompted: set[int] = set()
        self._stirred = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    def add(self, stream: JobStream) -> None:
        """What changes after its version is put into it."""
        if self._working is None:
            self._working = asyncio.create_task(self._work(), name="dtsched-job-streams")
        watched = self._watched.get(stream.job_id)
        if watched is None:
            watched = self._watched[stream.job_id] = _Watched(self._await_end(stream.job_id))
        watched.streams.add(stream)
        watched.version = None  # what the new one knows may be older than what the others do
        self._prompt(stream.job_id)
        self._streams.add(stream)

    def remove(self, stream: JobStream) -> None:
        self._streams.remove(stream)
        watched = self._watched.get(stream.job_id)
        if watched is not None:
            watched.streams.discard(stream)
            if not watched.streams:
                self._forget(stream.job_id)

    async def close(self) -> None:
        for job_id in list(self._watched):
            self._forget(job_id)
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    def _await_end(self, job_id: int) -> asyncio.Future[None]:
        ended = self._questions.client.waiting.wait_for(job_id)
        ended.add_done_callback(lambda ended: self._ended(job_id, ended))
        return ended

    def _ended(self, job_id: int, ended: asyncio.Future[None]) -> None:
        if ended.cancelled():
            return
        if ended.exception() is None:
            self._prompt(job_id)

    def _prompt(self, job_id: int) -> None:
        self._prompted.add(job_id)
        self._stirred.set()

    def _forget(self, job_id: int) -> None:
        watched = self._watched.pop(job_id)
        self._questions.client.waiting.let_go(job_id, watched.ended)
        watched.ended.cancel()

    async def _work(self) -> None:
        outage = Outage(_log, "watching jobs", longest_seconds=_LOOK_SECONDS)
        look_at = 0.0
        while True:
            self._stirred.clear()
            everything = monotonic() >= look_at
            jobs = list(self._watched) if everything else [job for job in self._prompted if job in self._watched]
            self._prompted.clear()
            try:
                for first in range(0, len(jobs), _AT_ONCE):
                    await self._look(jobs[first : first + _AT_ONCE])
                outage.over()
            except Exception as error:  # whoever watches goes on watching, whatever it is
                if not is_outage(error) and not outage.ongoing:
                    _log.exception("watching jobs failed")
                look_at = 0.0
                await asyncio.sleep(outage.failed(error))
                continue
            if everything:
                look_at = monotonic() + _LOOK_SECONDS
            await asyncio.sleep(_SHORTEST_ROUND_SECONDS)  # those that end together are looked at together
            if not self._watched:
                await self._stirred.wait()
            else:
                await wait(self._stirred, look_at - monotonic())

    async def _look(self, jobs: list[int]) -> None:
        known = {job: self._watched[job].version for job in jobs if job in self._watched}
        full = True
        while full and known:
            found = await self._questions.ask(
                self._questions.client.ask(lambda store: store.watched_jobs(known)), ANSWER_SECONDS
            )
            for job_id, changed in found.items():
                self._tell(job_id, changed)
                del known[job_id]
            full = len(found) == _PAGE

    def _tell(self, job_id: int, changed: tuple[str, Job] | None) -> None:
        watched = self._watched.get(job_id)
        if watched is None:
            return
        if changed is None:
            for stream in watched.streams:
                stream.tell_gone()
            self._forget(job_id)
            return
        watched.version, job = changed
        for stream in watched.streams:
            stream.tell(watched.version, job)
        if job.state in ENDED:
            self._forget(job_id)
        elif watched.ended.done():  # asking for it failed, or it has been retried meanwhile
            watched.ended = self._await_end(job_id)


def without_args(job: Job) -> Job:
    """As it is shown to whoever may not see what it works on."""
    return msgspec.structs.replace(job, args=None, result=None, progress=None)
