"""A worker of the tasks over HTTP, in Python: what behaviour() says is told to a server of the API, and to another one
when that fails.

    python -P -m dtsched.torture.http_worker --name h1

It writes down when it starts and ends each attempt, and what it was answered when it told so.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import click
import httpx
import msgspec

from dtsched.outage import Outage
from dtsched.torture.app import result_of
from dtsched.torture.behaviour import Behaviour, behaviour
from dtsched.torture.digests import digest
from dtsched.torture.history import Op, Phase, Recorder, recording
from dtsched.torture.surroundings import history_of_run, seed_of_run, urls_of_run
from dtsched.torture.workload import HTTP_QUEUE

TASK = "over_http"
SLOTS = 4
POLL_SECONDS = 5
ANSWER_SECONDS = 10.0
GRACE_SECONDS = 10.0
FINISH_SECONDS = 30.0
PAUSE_SECONDS = 0.2
CANCELLED: Mapping[str, Any] = {"outcome": "cancel", "error": "cancelled while it ran"}

log = logging.getLogger(__name__)


class Registered(msgspec.Struct):
    id: str
    lease_seconds: float


class Job(msgspec.Struct):
    id: int
    lease_id: int
    secret: str
    args: Any
    attempt: int


class Claimed(msgspec.Struct):
    jobs: list[Job]


class Beat(msgspec.Struct):
    cancelled: list[int]
    lost: list[int]
    draining: bool


class Problem(msgspec.Struct):
    type: str = ""


class Gone(Exception):
    """This identity is unknown or lost: what it held is somebody else's."""


@click.command()
@click.option("--name", envvar="DTSCHED_TORTURE_NAME", default="http", show_default=True)
@click.option("--slots", type=click.IntRange(1, 1000), default=SLOTS, show_default=True)
def main(name: str, slots: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with recording(history_of_run(), "http_worker") as recorder:
        asyncio.run(work(HttpWorker(Servers(urls_of_run()), recorder, seed_of_run(), name, slots)))


async def work(worker: "HttpWorker") -> None:
    """Until SIGTERM; then what runs has a while to end."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    working, stopped = asyncio.create_task(worker.run()), asyncio.create_task(stopping.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    await worker.leave()
    await cancel(working)
    await cancel(stopped)


class Servers:
    """Asks one server at a time, and the next one after an error."""

    def __init__(self, urls: list[str]) -> None:
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=3.0, read=POLL_SECONDS + ANSWER_SECONDS)
        self._clients = [httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) for url in urls]
        self._turn = 0

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> httpx.Response:
        """Whatever it answers but 5xx, which is raised as the lack of an answer is."""
        turn = self._turn
        client = self._clients[turn % len(self._clients)]
        try:
            response = await client.request(method, path, json=body)
            if response.status_code >= 500:
                response.raise_for_status()
        except httpx.HTTPError:
            if self._turn == turn:  # and nobody else has gone on meanwhile
                self._turn += 1
            raise
        return response


class HttpWorker:
    def __init__(self, servers: Servers, record: Recorder, seed: int, name: str, slots: int) -> None:
        self._servers = servers
        self._record = record
        self._seed = seed
        self._name = name
        self._slots = slots
        self._id = ""
        self._held: dict[int, asyncio.Task[None]] = {}
        self._performing: dict[int, asyncio.Task[None]] = {}
        """Those of the held that have not come to their end yet."""
        self._claiming: asyncio.Task[None] | None = None
        self._draining = False
        self._leaving = False
        self._outage = Outage(log, "asking the API", longest_seconds=1.0)

    async def run(self) -> None:
        """One identity after the other, until it is cancelled: whoever is lost begins anew."""
        while True:
            registered = await self._register()
            self._id, self._draining = registered.id, False
            beating = asyncio.create_task(self._beat(registered.lease_seconds / 5))
            claiming = self._claiming = asyncio.create_task(self._claim())
            try:
                await asyncio.wait({beating, claiming}, return_when=asyncio.FIRST_COMPLETED)
                if self._leaving:  # what runs is renewed to its end
                    await asyncio.wait({beating})
                errors = [task.exception() for task in (beating, claiming) if task.done() and not task.cancelled()]
            finally:
                await cancel(beating)
                await cancel(claiming)
            if not all(isinstance(error, Gone) for error in errors):
                raise RuntimeError("a loop has ended") from errors[0]
            log.warning("this worker is lost: it registers anew")
            for running in list(self._held.values()):
                running.cancel()
            self._held.clear()
            self._performing.clear()

    async def leave(self) -> None:
        """Claims nothing more, lets what runs end for a while, and says good-bye."""
        self._leaving = True
        if self._claiming is not None:
            await cancel(self._claiming)
        if self._held:
            await asyncio.wait(set(self._held.values()), timeout=GRACE_SECONDS)
        for running in list(self._held.values()):
            await cancel(running)
        try:
            await self._servers.ask("DELETE", f"/v1/workers/{self._id}")
        except httpx.HTTPError as error:
            log.warning("leaving: %r", error)
        await self._servers.close()

    async def _register(self) -> Registered:
        body = {"name": self._name, "queues": [HTTP_QUEUE], "tasks": [TASK], "slots": self._slots}
        return msgspec.json.decode(await self._surely("POST", "/v1/workers", body), type=Registered)

    async def _beat(self, seconds: float) -> None:
        while True:
            body = {"leases": list(self._held)}
            answer = await self._surely("PUT", f"/v1/workers/{self._id}/heartbeat", body)
            told = msgspec.json.decode(answer, type=Beat)
            self._draining = told.draining
            for lease in (*told.cancelled, *told.lost):
                if lease in self._performing:  # else its end is being told: the answer says what it was worth
                    self._performing[lease].cancel("lost" if lease in told.lost else "cancelled")
            await asyncio.sleep(seconds)

    async def _claim(self) -> None:
        while True:
            room = self._slots - len(self._held)
            if self._draining:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if room <= 0:
                await asyncio.wait(set(self._held.values()), return_when=asyncio.FIRST_COMPLETED)
                continue
            body = {"limit": room, "wait": POLL_SECONDS}
            answer = await self._surely("POST", f"/v1/workers/{self._id}/claim", body)
            for job in msgspec.json.decode(answer, type=Claimed).jobs:
                running = asyncio.create_task(self._attempt(job))
                self._held[job.lease_id] = self._performing[job.lease_id] = running
                running.add_done_callback(lambda _, lease=job.lease_id: self._held.pop(lease, None))

    async def _surely(self, method: str, path: str, body: Mapping[str, object]) -> bytes:
        """Asks until there is an answer. Gone, when that is that this worker is none."""
        while True:
            try:
                response = await self._servers.ask(method, path, body)
            except httpx.HTTPError as error:
                await asyncio.sleep(self._outage.failed(error))
                continue
            self._outage.over()
            if response.is_success:
                return response.content
            if response.status_code in (404, 409):
                raise Gone(problem_of(response))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _attempt(self, job: Job) -> None:
        key: str = job.args["name"]
        told = behaviour(self._seed, key, job.attempt)
        self._note("start", "ok", key, job, digest=digest(job.args), act=told.act)
        try:
            outcome = await self._perform(key, job, told)
        except asyncio.CancelledError as error:
            self._note("end", "ok", key, job, outcome="cancelled")
            if error.args != ("cancelled",):
                raise
            outcome = CANCELLED
        finally:
            self._performing.pop(job.lease_id, None)
        await self._finish(key, job, outcome)

    async def _perform(self, key: str, job: Job, told: Behaviour) -> Mapping[str, Any]:
        """Works, writes down how it ends, and says what is to be told."""
        for done in range(max(1, told.progress)):
            await asyncio.sleep(told.ms / 1000 / max(1, told.progress))
            if told.ms >= 100 and await self._is_cancelled(job, 100 * (done + 1) / max(1, told.progress)):
                self._note("end", "ok", key, job, outcome="cancelled")
                return CANCELLED
        delay = told.delay_ms / 1000
        if told.act == "retry":
            self._note("end", "ok", key, job, outcome="retry")
            return {"outcome": "retry", "error": {"type": "Told", "message": "told to retry"}, "delay": delay}
        if told.act == "snooze" and job.lease_id % 2:  # it has no steps to remember by that it has slept
            self._note("end", "ok", key, job, outcome="snooze")
            return {"outcome": "snooze", "delay": delay}
        self._note("effect", "ok", key, job)
        result = result_of(key, job.args["payload"], job.attempt)
        self._note("end", "ok", key, job, outcome="return", result=digest(result))
        return {"outcome": "complete", "result": result}

    async def _is_cancelled(self, job: Job, percent: float) -> bool:
        """Says how far it is, and is told whether to stop. Nobody waits for a report that fails."""
        path = f"/v1/workers/{self._id}/leases/{job.lease_id}/progress"
        try:
            response = await self._servers.ask("POST", path, {"secret": job.secret, "progress": percent})
        except httpx.HTTPError as error:
            log.info("a report was lost: %r", error)
            return False
        return response.is_success and response.json()["cancelled"]

    async def _finish(self, key: str, job: Job, outcome: Mapping[str, Any]) -> None:
        """Told until it is answered, each time with the same body: what it does, it does once."""
        path = f"/v1/workers/{self._id}/leases/{job.lease_id}/finish"
        until = time.monotonic() + FINISH_SECONDS
        again = False
        while time.monotonic() < until:
            said: dict[str, Any] = {"outcome": outcome["outcome"], "again": again}
            self._note("finish", "invoke", key, job, **said)
            try:
                response = await self._servers.ask("POST", path, {"secret": job.secret, **outcome})
            except httpx.HTTPError as error:
                never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                self._note("finish", "fail" if never_sent else "info", key, job, error=repr(error)[:200], **said)
                again = again or not never_sent
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except asyncio.CancelledError:
                self._note("finish", "info", key, job, error="given up", **said)
                raise
            if response.is_success:
                self._note("finish", "ok", key, job, state=response.json()["state"], **said)
                return
            problem = problem_of(response)
            self._note("finish", "fail", key, job, status=response.status_code, problem=problem, **said)
            if response.status_code != 429:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _note(
        self,
        op: Op,
        phase: Phase,
        key: str,
        job: Job,
        digest: str | None = None,
        **more: Any,
    ) -> None:
        self._record(op, phase, key=key, job=job.id, lease=job.lease_id, attempt=job.attempt, digest=digest, **more)


def problem_of(response: httpx.Response) -> str:
    """The last word of its type."""
    try:
        return msgspec.json.decode(response.content, type=Problem).type.rsplit("/", 1)[-1]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


async def cancel(task: asyncio.Task[Any]) -> None:
    """And waits for its end, however it ends."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


if __name__ == "__main__":
    sys.exit(main())
