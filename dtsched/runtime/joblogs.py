"""Takes from Python's logging what handlers log, and leaves the worker's own talk out of it."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeAlias

from dtsched.correlation import carrier
from dtsched.runtime.attempt import Attempt

Take: TypeAlias = Callable[[Attempt, str, str, str], None]
"""Called with the attempt that logs, the level as the database has it, the logger and the text; from any thread."""

OFF = "OFF"

_LEVELS = {50: "critical", 40: "error", 30: "warning", 20: "info"}
_format = logging.Formatter().format  # the message, and below it the traceback


class JobLogHandler(logging.Handler):
    """For the root logger. Which attempt logs, the context variable of dtsched.correlation says."""

    def __init__(self, level: str, take: Take) -> None:
        super().__init__()
        self.lowest = logging.getLevelNamesMapping()[level]
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        try:
            attempt = carrier()
            if isinstance(attempt, Attempt) and record.levelno >= self.lowest and not _is_ours(record.name):
                self._take(attempt, _level_of(record.levelno), record.name, _text_of(record))
            last_resort = logging.lastResort
            if last_resort is not None and record.levelno >= last_resort.level and _nobody_else_listens(self):
                last_resort.handle(record)  # as if we were not there
        except Exception:  # whoever logs must not fail of it
            self.handleError(record)


@contextmanager
def kept_with_jobs(level: str, take: Take) -> Generator[None]:
    """While this lasts, what attempts log from this level on is taken; nothing where it is OFF."""
    if level == OFF:
        yield
        return
    handler = JobLogHandler(level, take)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def kept_level() -> str:
    """From which level on attempts' records are taken in this process, or OFF."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, JobLogHandler)]
    return logging.getLevelName(min(one.lowest for one in handlers)) if handlers else OFF


def _is_ours(logger: str) -> bool:
    return logger.partition(".")[0] == "dtsched"


def _level_of(number: int) -> str:
    return next((name for lowest, name in _LEVELS.items() if number >= lowest), "debug")


def _text_of(record: logging.LogRecord) -> str:
    try:
        return _format(record)
    except Exception as error:  # the values do not fit the message: logging itself complains about that
        return f"{record.msg} ({type(error).__name__}: {error})"


def _nobody_else_listens(handler: JobLogHandler) -> bool:
    """logging prints warnings on stderr where nobody has configured it, and takes us for somebody."""
    handlers = logging.getLogger().handlers
    return handlers[0] is handler and all(isinstance(one, JobLogHandler) for one in handlers)
