"""The id of a request is the correlation id of what it submits, down to the log lines of the job's handler."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dtsched.logs import CorrelationFilter
from tests.api.conftest import Api
from tests.cli.command import COMMAND, environment

ROOT = Path(__file__).parents[2]
JOB = {"task": "say", "args": {"text": "hello"}}


async def submitted(api: Api, body: dict[str, Any], **headers: str) -> tuple[str, str]:
    """The request's id as answered, and the job's correlation id."""
    answer = await api.post("/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 201
    return answer.headers["x-request-id"], answer.json()["correlation_id"]


async def test_a_job_has_the_id_that_its_request_came_with(api: Api) -> None:
    assert await submitted(api, JOB, **{"x-request-id": "order:17"}) == ("order:17", "order:17")


async def test_a_job_has_the_id_that_was_made_for_its_request(api: Api) -> None:
    request_id, correlation_id = await submitted(api, JOB)
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert correlation_id == request_id


async def test_the_bodys_own_id_goes_over_that_of_the_request(api: Api) -> None:
    body = {**JOB, "correlation_id": "its own"}
    assert await submitted(api, body, **{"x-request-id": "order:17"}) == ("order:17", "its own")


async def test_the_line_of_a_request_carries_its_id(empty_api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(CorrelationFilter())
    with caplog.at_level(logging.INFO, "dtsched.api"):
        await empty_api.get("/livez", headers={"x-request-id": "order:17"})
        await empty_api.get("/livez", headers={"x-request-id": "order:18", "host": "evil.example"})
    lines = [
        (record.getMessage(), vars(record)["correlation_id"])
        for record in caplog.records
        if record.name == "dtsched.api"
    ]
    assert [(message.partition(" in ")[0], correlation_id) for message, correlation_id in lines] == [
        ("GET /livez 200", "order:17"),
        ("GET /livez 403", "order:18"),
    ]


@contextmanager
def program(log: Path, dsn: str, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """A `dtsched` whose log is a file of JSON lines."""
    env = environment(DTSCHED_DSN=dsn, DTSCHED_LOG="json")
    with (
        log.open("wb") as output,
        subprocess.Popen([*COMMAND, *arguments], env=env, cwd=ROOT, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def until_logged(log: Path, words: str) -> dict[str, Any]:
    """The first line whose message matches, once it is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and re.search(words, (event := json.loads(line))["message"]):
                return event
        time.sleep(0.02)
    raise AssertionError(f"{words!r} was not logged:\n{log.read_text()}")


def test_a_request_is_found_in_what_the_handler_of_its_job_logs(database: str, tmp_path: Path) -> None:
    api, worker = tmp_path / "api", tmp_path / "worker"
    command = ["worker", "-A", "tests.runtime.logging_handlers:app", "--name", "w-1"]
    with program(worker, database, *command), program(api, database, "api", "--port", "0"):
        until_logged(worker, "serves")
        url = until_logged(api, "listening")["message"].split()[-1]
        for task, request_id in (("say", "order:17"), ("submit_another_in_thread", "order:18")):
            body = {"task": task, "args": {"text": "hello"}}
            answer = httpx.post(f"{url}/v1/jobs", json=body, headers={"x-request-id": request_id})
            assert answer.status_code == 201
        said, heard = until_logged(worker, "said$"), until_logged(api, "POST")
        inherited = until_logged(worker, "said in a thread")
    assert (heard["logger"], heard["correlation_id"]) == ("dtsched.api", "order:17")
    assert said == {
        "time": said["time"],
        "level": "info",
        "logger": "shop",
        "message": "said",
        "correlation_id": "order:17",
        "job_id": said["job_id"],
        "task": "say",
        "attempt": 1,
        "worker": "w-1",
    }
    assert (inherited["correlation_id"], inherited["task"]) == ("order:18", "say_in_thread")
