"""What a heartbeat says about its process and its machine."""

import os
import platform
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import psutil

_DISK_SECONDS = 0.05


class SystemFigures:
    """Shares are percentages: cpu_usage of all cores of the machine and process_cpu of one core, both since the last
    read(); memory_usage; disk_usage of the file system of the working directory. To be read by one thread."""

    def __init__(self) -> None:
        self._disk = DiskFigure()
        self._busy, self._total = 0.0, 0.0
        self._sources: Mapping[str, Callable[[], float]] = {
            "cpu_usage": self._cpu_usage,
            "memory_usage": lambda: psutil.virtual_memory().percent,
            "disk_usage": self._disk.read,
            "load_1m": lambda: round(os.getloadavg()[0], 2),
            "process_cpu": lambda: self._process.cpu_percent(interval=None),
            "process_rss_bytes": lambda: self._process.memory_info().rss,
        }
        self.read()  # what is measured since the last time needs one

    @cached_property
    def _process(self) -> psutil.Process:
        return psutil.Process()

    def read(self) -> dict[str, float]:
        """Figures that cannot be read are left out: the leases that are renewed with them matter more."""
        figures: dict[str, float] = {}
        for name, source in self._sources.items():
            with suppress(Exception):  # a kernel or a container may hide or garble any of them
                figures[name] = source()
        return figures

    def _cpu_usage(self) -> float:
        """psutil.cpu_percent() remembers the last time by thread, and its first answer would be 0."""
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # both counted before
        busy = total - times.idle - getattr(times, "iowait", 0.0)
        spent, passed = busy - self._busy, total - self._total
        self._busy, self._total = busy, total
        return round(min(max(100.0 * spent / passed, 0.0), 100.0), 1)  # a clock tick may not have passed: left out


class DiskFigure:
    """A network file system that hangs would hang its reader, and with it the renewal of the leases: so a thread reads
    it, and when that takes long there is no figure."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._percent: float | None = None

    def read(self) -> float:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._measure, name="dtsched-disk", daemon=True)
            self._thread.start()
        self._thread.join(_DISK_SECONDS)
        if self._percent is None:
            raise TimeoutError("the file system of the working directory does not answer")
        return self._percent

    def _measure(self) -> None:
        self._percent = None
        self._percent = psutil.disk_usage(".").percent


def facts() -> dict[str, object]:
    """What does not change while the process runs."""
    found: dict[str, object] = {"host": socket.gethostname(), "pid": os.getpid(), "python": platform.python_version()}
    with suppress(PackageNotFoundError):  # run from a checkout that is not installed
        found["dtsched"] = version("dtsched")
    return found
