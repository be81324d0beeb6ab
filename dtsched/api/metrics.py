"""/metrics in the text format of Prometheus, version 0.0.4: Store.metrics(), asked every five seconds at most, and what
this process says of itself."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from litestar import Response, get
from litestar.di import NamedDependency

from dtsched.api.database import Database, Questions
from dtsched.api.documentation import OF_THE_DATABASE, Answer, documented
from dtsched.overview import Sample

MEDIA_TYPE = "text/plain; version=0.0.4"  # the framework adds the charset
FRESH_SECONDS = 5.0


class Family(NamedTuple):
    kind: str
    help: str


FAMILIES = {
    "dtsched_jobs": Family("gauge", "Jobs that are there, by queue and state."),
    "dtsched_queue_paused": Family("gauge", "1 while the queue is paused, else 0."),
    "dtsched_queue_parked_jobs": Family("gauge", "Ready jobs that no worker may claim now."),
    "dtsched_queue_oldest_ready_seconds": Family("gauge", "How long the oldest ready job has been due, 0 without one."),
    "dtsched_attempts_total": Family("counter", "Attempts that ended, by queue, task and outcome."),
    "dtsched_job_wait_seconds": Family("histogram", "From being due to being started, by queue."),
    "dtsched_job_run_seconds": Family("histogram", "From being started to the end of the attempt, by queue."),
    "dtsched_workers": Family("gauge", "Workers by state; lost ones are kept for a day."),
    "dtsched_slots": Family("gauge", "Slots of the workers that are not lost."),
    "dtsched_slots_taken": Family("gauge", "Jobs that these workers hold."),
    "dtsched_utilisation": Family("gauge", "The share of slots taken, 0 to 1."),
    "dtsched_api_requests_open": Family("gauge", "Requests under way in this process, streams among them."),
    "dtsched_api_requests_total": Family("counter", "Answers of this process, by method, route and status."),
    "dtsched_api_request_seconds": Family("histogram", "From a request to the beginning of its answer, by route."),
    "dtsched_api_waiting_requests": Family("gauge", "Requests that wait for a job to end (Prefer: wait)."),
    "dtsched_api_streams_open": Family("gauge", "Streams of server-sent events, by kind."),
    "dtsched_api_streams_too_slow_total": Family("counter", "Streams that were ended because nobody took them."),
    "dtsched_api_pool_size": Family("gauge", "Connections to the database that requests may use at once."),
    "dtsched_api_pool_connections": Family("gauge", "Those that are used, and those that are idle."),
    "dtsched_api_listener_connected": Family("gauge", "1 while notifications reach this process; not asked for: 0."),
    "dtsched_build_info": Family("gauge", "1; the version is a label."),
    "process_cpu_seconds_total": Family("counter", "CPU time of this process, user and system."),
    "process_resident_memory_bytes": Family("gauge", "Resident memory of this process."),
    "process_start_time_seconds": Family("gauge", "When this process began, in seconds since 1970."),
    "process_open_fds": Family("gauge", "Open files and sockets of this process."),
}
_LATER = Family("untyped", "Newer than this server.")  # a schema may be ahead of the servers on it


class Figures:
    """Scrapes share a question that is under way, and an answer that is fresh. A failure is kept for nobody else.
    `own` are the figures that cost nothing."""

    def __init__(self, questions: Questions, own: Callable[[], Iterable[Sample]] = tuple) -> None:
        self._questions = questions
        self._own = own
        self._asking: asyncio.Task[str] | None = None
        self._text = ""
        self._fresh_until = -math.inf

    async def text(self) -> str:
        return await self._of_the_database() + exposition(self._own())

    async def _of_the_database(self) -> str:
        if time.monotonic() < self._fresh_until:
            return self._text
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._answered)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> str:
        database = Database(self._questions)
        samples = await database.ask(database.client.ask(lambda store: store.metrics()))
        self._text = exposition(samples)
        self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._text

    def _answered(self, asked: asyncio.Task[str]) -> None:
        self._asking = None
        if not asked.cancelled():
            asked.exception()  # fetched, or asyncio complains if all who asked have gone


@get(
    "/metrics",
    summary="Figures for Prometheus",
    opt=documented("server", "read", {200: Answer(str, media_type=MEDIA_TYPE)}, problems=OF_THE_DATABASE),
)
async def get_metrics(figures: NamedDependency[Figures]) -> Response[str]:
    """Those out of the database are at most five seconds old. Without it there are none, and no last ones either:
    Prometheus sees that the scrape failed."""
    return Response(await figures.text(), media_type=MEDIA_TYPE)


def exposition(samples: Iterable[Sample]) -> str:
    """Each family in one piece, under its help and type; the buckets of a histogram from the lowest bound up."""
    by_family: dict[str, list[Sample]] = {}
    for sample in samples:
        by_family.setdefault(_family_of(sample.name), []).append(sample)
    lines: list[str] = []
    for name in sorted(by_family):
        kind, told = FAMILIES.get(name, _LATER)
        lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
        lines += [_line(sample) for sample in sorted(by_family[name], key=_place)]
    return "".join(f"{line}\n" for line in lines)


def _family_of(name: str) -> str:
    family, _, part = name.rpartition("_")
    return family if part in ("bucket", "sum", "count") and family in FAMILIES else name


def _place(sample: Sample) -> tuple[list[tuple[str, str]], str, float]:
    others = sorted((name, value) for name, value in sample.labels.items() if name != "le")
    return others, sample.name, float(sample.labels.get("le", "+Inf"))


def _line(sample: Sample) -> str:
    return f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items())) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value % 1 == 0 and abs(value) < 2**53 else repr(value)
