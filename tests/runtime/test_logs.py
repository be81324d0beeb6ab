"""The two forms of a log line: JSON for programs, text for people."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from dtsched import correlated
from dtsched.correlation import carrying
from dtsched.logs import CorrelationFilter, JsonFormatter, TextFormatter

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
ATTEMPT = {"correlation_id": "order 17", "job_id": 3, "task": "mail", "attempt": 2, "worker": "w-1"}


def record(message: str, logger: str = "shop", level: int = logging.INFO, *, exc_info: Any = None) -> logging.LogRecord:
    record = logging.LogRecord(logger, level, "file.py", 1, message, (), exc_info)
    CorrelationFilter().filter(record)
    return record


def raised(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


def test_json_is_one_ascii_object_a_line_in_a_fixed_order() -> None:
    with carrying(ATTEMPT):
        line = JsonFormatter().format(record("größer\nthan \u2028one line", exc_info=raised(ValueError("x"))))
    assert line.isascii()
    assert "\n" not in line
    event = json.loads(line)
    assert list(event) == ["time", "level", "logger", "message", *ATTEMPT, "traceback"]
    assert re.fullmatch(TIME, event["time"])
    assert (event["level"], event["logger"], event["message"]) == ("info", "shop", "größer\nthan \u2028one line")
    assert {name: event[name] for name in ATTEMPT} == ATTEMPT
    assert event["traceback"].endswith("ValueError: x")


def test_json_has_only_the_fields_that_are_known() -> None:
    assert list(json.loads(JsonFormatter().format(record("hello")))) == ["time", "level", "logger", "message"]
    with correlated("a"):
        assert list(json.loads(JsonFormatter().format(record("hello"))))[4:] == ["correlation_id"]


def test_text_ends_with_the_fields_and_stays_on_its_line() -> None:
    with carrying({**ATTEMPT, "worker": "x\ny=\x9b2J"}):
        line = TextFormatter().format(record("one\ntwo"))
    shape = r' info    shop: one\\ntwo  correlation_id="order 17" job_id=3 task=mail attempt=2 worker="x\\ny=\\x9b2J"'
    assert re.fullmatch(TIME + shape, line)
    assert "\n" not in line
    assert "\x9b" not in line
    assert re.fullmatch(TIME + " warning shop: hello", TextFormatter().format(record("hello", level=logging.WARNING)))


def test_lines_of_a_traceback_are_indented() -> None:
    first, *rest = TextFormatter().format(record("failed", exc_info=raised(ValueError("a\nb")))).splitlines()
    assert first.endswith("shop: failed")
    assert rest[-2:] == ["    ValueError: a", "    b"]
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_of_ours_names_types_and_places_but_quotes_no_message(formatter: logging.Formatter) -> None:
    error = ValueError("secret")
    error.__cause__ = KeyError("secret")
    own = formatter.format(record("failed", "dtsched.loop", exc_info=raised(error)))
    assert "secret" not in own
    assert "builtins.KeyError" in own
    assert "builtins.ValueError" in own
    assert "test_logs.py" in own
    assert "secret" in formatter.format(record("failed", "shop", exc_info=raised(error)))


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_dim_fields_unless_it_wants_no_colours(variables: dict[str, str], coloured: bool) -> None:
    program = (
        "from dtsched import correlated, logs; import logging; logs.configure()\n"
        "with correlated('a'): logging.getLogger('shop').warning('hello')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True, env={**environment, **variables})
        line = os.read(ours, 1000).decode().strip()
    finally:
        os.close(ours)
        os.close(theirs)
    plain = " warning shop: hello  correlation_id=a"
    painted = " \x1b[33mwarning\x1b[0m shop: hello  \x1b[2mcorrelation_id=a\x1b[0m"
    assert re.fullmatch(TIME + re.escape(painted if coloured else plain), line)


def test_importing_leaves_the_logging_of_a_program_alone() -> None:
    program = (
        "import logging; before = logging.getLogRecordFactory(), logging.getLogger().level\n"
        "import dtsched.app, dtsched.runtime.worker, dtsched.api, dtsched.logs\n"
        "assert logging.getLogger().handlers == []\n"
        "assert before == (logging.getLogRecordFactory(), logging.getLogger().level)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_filter_serves_a_format_of_the_programs_own() -> None:
    formatter = logging.Formatter("%(message)s [%(correlation_id)s %(job_id)s]")
    with carrying(ATTEMPT):
        assert formatter.format(record("hello")) == "hello [order 17 3]"
    assert formatter.format(record("hello")) == "hello [None None]"


def test_a_record_keeps_what_it_was_given_where_it_was_made() -> None:
    with carrying(ATTEMPT):
        queued = record("hello")
    CorrelationFilter().filter(queued)  # as by the handlers of a QueueListener, in a thread of its own
    assert {name: getattr(queued, name) for name in ATTEMPT} == ATTEMPT


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_child_process_can_be_told_how_to_log(form: Any) -> None:
    program = (
        "from dtsched import logs; before = logs.configured(); "
        f"logs.configure({form!r}, 'debug'); print(before, *logs.configured())"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ended.stdout == f"None {form} DEBUG\n"
