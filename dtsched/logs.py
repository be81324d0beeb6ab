"""Logging for programs: one event a line, as JSON or text. Job arguments, results and connection strings are never
logged."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

# control and bidirectional characters could forge a second event or turn a line around on a terminal (CWE-117)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def configure(form: Literal["json", "text"] = "text", level: str = "INFO") -> None:
    """Sends the root logger to stderr. Called again, the last call holds."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # ten lines about itself before our first one


def printable(text: str) -> str:
    """The text on one line, its control characters written as escapes."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname.lower():7} {record.name}: {printable(record.getMessage())}"
        trace = _trace(self, record)
        # indented, so that no line of a traceback can pass for an event
        return line if trace is None else line + "".join(f"\n    {printable(part)}" for part in trace.splitlines())


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(self, record)
        return json.dumps(event if trace is None else {**event, "traceback": trace})  # ASCII: nothing left to forge


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else None
