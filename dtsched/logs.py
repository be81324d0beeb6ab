"""Logging for programs: one event a line, as JSON or text, with the correlation id of what runs. Never logged are a
job's arguments, result and keys, and connection strings."""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Literal

from dtsched.correlation import fields

FIELDS = ("correlation_id", "job_id", "task", "attempt", "worker")

# control and bidirectional characters could forge a second event or turn a line around on a terminal (CWE-117)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PLAIN = re.compile(r"""[^\s"'=]+""")
_LOWEST = {
    "alembic": "WARNING",  # ten lines about itself before our first one
    "asyncio": "WARNING",
    "litestar": "WARNING",
    "psycopg": "WARNING",  # below, it shows connection strings
    "psycopg.pool": "ERROR",  # an @ in a password is taken for the end of it, and what follows for a host
    "sqlalchemy": "WARNING",
    "uvicorn": "WARNING",
}
# in a traceback of these an error's message may quote what was sent to the database or came in a request
_WITHOUT_MESSAGES = frozenset({"dtsched", "alembic", "litestar", "psycopg", "sqlalchemy", "uvicorn"})
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}


def configure(form: Literal["json", "text"] = "text", level: str = "INFO", *, also: str | None = None) -> None:
    """Sends the root logger to stderr. Called again, the last call holds. Records from the level `also` on are made for
    other handlers than this one, if that is lower."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level.upper())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(colours=_colours_wanted()))
    handler.addFilter(CorrelationFilter())
    logging.basicConfig(handlers=[handler], level=_lower(level.upper(), also), force=True)
    logging.getLogger("dtsched").setLevel(level.upper())  # what nobody else wants of it
    for name, lowest in _LOWEST.items():
        logging.getLogger(name).setLevel(lowest)


def configured() -> tuple[Literal["json", "text"], str] | None:
    """What configure() was told, for a child process that is to log alike; None where the program logs otherwise."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler.formatter, JsonFormatter | TextFormatter):
            form = "json" if isinstance(handler.formatter, JsonFormatter) else "text"
            return form, logging.getLevelName(handler.level or root.level)
    return None


def printable(text: str) -> str:
    """The text on one line, its control characters written as escapes."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class CorrelationFilter(logging.Filter):
    """Lets every record pass and gives it the attributes of FIELDS, None where nothing is known. To be added to a
    handler, also to one of a program that configures its own logging: %(correlation_id)s."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = fields()
        for name in FIELDS:
            if not hasattr(record, name):  # it was here before it went through a queue
                setattr(record, name, current.get(name))
        return True


class TextFormatter(logging.Formatter):
    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        level = self._painted(f"{record.levelname.lower():7}", _COLOURS.get(record.levelname))
        line = f"{_time(record)} {level} {record.name}: {printable(record.getMessage())}"
        if known := " ".join(f"{name}={_quoted(value)}" for name, value in _known(record)):
            line += "  " + self._painted(known, "2")
        trace = _trace(self, record)
        # indented, so that no line of a traceback can pass for an event
        return line if trace is None else line + "".join(f"\n    {printable(part)}" for part in trace.splitlines())

    def _painted(self, text: str, colour: str | None) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_known(record)),
        }
        if (trace := _trace(self, record)) is not None:
            event["traceback"] = trace
        return json.dumps(event, default=str)  # ASCII: nothing left to forge


def _lower(level: str, other: str | None) -> str:
    numbers = logging.getLevelNamesMapping()
    return level if other is None or numbers[other] >= numbers[level] else other


def _colours_wanted() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _known(record: logging.LogRecord) -> Generator[tuple[str, object]]:
    for name in FIELDS:
        if (value := getattr(record, name, None)) is not None:
            yield name, value


def _quoted(value: object) -> str:
    text = str(value)
    return printable(text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if not record.exc_info or record.exc_info[1] is None:
        return None
    if record.name.partition(".")[0] in _WITHOUT_MESSAGES:
        return "".join(_without_messages(record.exc_info[1]))
    return formatter.formatException(record.exc_info)


def _without_messages(error: BaseException) -> Generator[str]:
    """What was raised and where. The message of an error that we did not expect may quote anything: arguments, keys."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None:
        yield from _without_messages(earlier)
        yield "\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    state: object = getattr(error, "sqlstate", None)
    yield f"{type(error).__module__}.{type(error).__qualname__}{f' (SQLSTATE {state})' if state else ''}\n"
