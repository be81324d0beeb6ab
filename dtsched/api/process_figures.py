"""What /metrics says of this process itself: its requests, its streams and who waits, its connections, its memory."""

import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from dtsched.api.database import Questions
from dtsched.api.traffic import Traffic
from dtsched.api.watch import Watching
from dtsched.overview import Sample


class ProcessFigures:
    """All that is known without asking the database."""

    def __init__(self, traffic: Traffic, questions: Questions, watching: Watching) -> None:
        self._traffic = traffic
        self._questions = questions
        self._watching = watching
        self._started = _started()

    def samples(self) -> Iterator[Sample]:
        yield from self._traffic.samples()
        yield from self._of_streams()
        yield from self._of_connections()
        yield Sample("dtsched_build_info", {"version": version("dtsched")}, 1)
        yield Sample("process_start_time_seconds", {}, self._started)
        yield from _of_the_process()

    def _of_streams(self) -> Iterator[Sample]:
        streams = self._watching.streams
        kinds = [stream.kind for stream in streams.open]
        for kind in ("job", "queue", "everything"):
            yield Sample("dtsched_api_streams_open", {"kind": kind}, kinds.count(kind))
        yield Sample("dtsched_api_streams_too_slow_total", {}, streams.ended_as_slow)
        yield Sample("dtsched_api_waiting_requests", {}, self._questions.waiting)

    def _of_connections(self) -> Iterator[Sample]:
        client = self._questions.client
        pool = client.connections
        yield Sample("dtsched_api_pool_size", {}, pool.size)
        yield Sample("dtsched_api_pool_connections", {"state": "used"}, pool.used)
        yield Sample("dtsched_api_pool_connections", {"state": "idle"}, pool.idle)
        yield Sample("dtsched_api_listener_connected", {}, int(client.waiting.connected))


def _started() -> float:
    """This program's start, in seconds since 1970; where the system does not tell that of the process, about that."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.time()


def _of_the_process() -> Iterator[Sample]:
    """By the names that exporters of all languages use. What the system does not tell is left out."""
    used = os.times()
    yield Sample("process_cpu_seconds_total", {}, used.user + used.system)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(os.listdir("/proc/self/fd"))
    except OSError:
        return
    yield Sample("process_resident_memory_bytes", {}, pages * os.sysconf("SC_PAGE_SIZE"))
    yield Sample("process_open_fds", {}, files)
