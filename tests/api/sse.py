"""Server-sent events as a browser reads them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import httpx

from tests.api.processes import ApiProcess


class Event(NamedTuple):
    kind: str
    data: Any


class Events:
    """`last_id` moves as EventSource's does; `comments` are the heartbeats and the end."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id: str | None = None
        self.retry: int | None = None
        self.comments: list[str] = []
        self._lines = answer.iter_lines()

    def __iter__(self) -> Iterator[Event]:
        kind, data, place = "message", "", self.last_id
        for line in self._lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "" if line:
                    self.comments.append(value)
                case "":
                    self.last_id = place
                    if data:
                        yield Event(kind, json.loads(data))
                    kind, data = "message", ""
                case "event":
                    kind = value
                case "data":
                    data = value
                case "id":
                    place = value
                case "retry":
                    self.retry = int(value)
                case _:
                    raise AssertionError(line)

    def next(self, *kinds: str) -> Event:
        """The next one, of these kinds if some are named."""
        return next(event for event in self if not kinds or event.kind in kinds)

    def of_jobs(self, count: int) -> list[tuple[int, str]]:
        """The next so many, but for the figures of queues: which job, and what happened to it."""
        return [(event.data["id"], event.kind) for event in (self.next_but_figures() for _ in range(count))]

    def next_but_figures(self) -> Event:
        return next(event for event in self if event.kind != "queue")


@contextlib.contextmanager
def watching(api: ApiProcess, path: str, *, since: str | None = None, seconds: float = 20) -> Generator[Events]:
    headers = {} if since is None else {b"last-event-id": since.encode("latin-1")}
    with httpx.stream("GET", f"{api.url}{path}", headers=headers, timeout=seconds, verify=False) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)
