"""Jobs out of lines of JSON: read with a bound, checked, and known by the numbers of their lines."""

import os
import re
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from dtsched.errors import Conflict, InvalidInput
from dtsched.jobs import NewJob, check, shown

MOST_LINES = 100_000
AT_ONCE = 5_000
MOST_BYTES = 256 * 1024 * 1024
"""What is read before anything is written, when it is all or nothing."""

BATCH_BYTES = 16 * 1024 * 1024
"""A batch may be over before it has all its lines: what is sent at once, and held, is bounded."""

LONGEST_LINE = 8 * 1024 * 1024
"""Args of 1 MiB with every character escaped are 6 MiB."""

_NUMBER = re.compile("^job ([0-9]+): ")
_PARENT = re.compile("depends_on names job ([0-9]+)")
_FIELDS = NewJob.__struct_fields__
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Source:
    """`size` is None for what has no end that is known."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.bytes_read = 0
        self._stream = stream
        self.size = size_of(stream)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Those that are not empty, numbered from 1."""
        number = 0
        while raw := self._line():
            number += 1
            self.bytes_read += len(raw)
            if len(raw) > LONGEST_LINE:
                raise InvalidInput(f"line {number:,} has more than {LONGEST_LINE // 1024**2} MiB: {self.name}")
            if raw.strip():
                yield number, raw

    def _line(self) -> bytes:
        try:
            return self._stream.readline(LONGEST_LINE + 1)
        except OSError as error:
            raise InvalidInput(f"{self.name} cannot be read: {error.strerror}") from error


def size_of(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


class Batch(NamedTuple):
    """Jobs, and the line of each."""

    jobs: list[NewJob]
    lines: list[int]

    @classmethod
    def joined(cls, parts: Sequence["Batch"]) -> "Batch":
        return cls([job for part in parts for job in part.jobs], [line for part in parts for line in part.lines])

    @property
    def first_line(self) -> int:
        return self.lines[0]

    @property
    def last_line(self) -> int:
        return self.lines[-1]

    @contextmanager
    def named_by_line(self) -> Generator[None]:
        """The schema speaks of the number of a job in its batch, of none where there is one, or of a missing parent."""
        try:
            yield
        except InvalidInput as error:
            text = str(error)
            line = self._line_of(text)
            if line is None:
                raise
            raise InvalidInput(f"line {line:,}: {_NUMBER.sub('', text, count=1)}", field=error.field) from error
        except Conflict as error:
            line = self._line_of(str(error))
            if line is None:
                raise
            raise Conflict(f"line {line:,}: {_NUMBER.sub('', str(error), count=1)}") from error

    def _line_of(self, text: str) -> int | None:
        if text.startswith("line "):
            return None
        if found := _NUMBER.match(text):
            return self.lines[int(found[1]) - 1]
        if found := _PARENT.match(text):
            parent = int(found[1])
            return next((line for job, line in zip(*self, strict=True) if parent in (job.depends_on or ())), None)
        return self.lines[0] if len(self.lines) == 1 else None


def batches(source: Source, most: int) -> Iterator[Batch]:
    """What is before a wrong line in its batch is not given: a batch is submitted whole or not at all."""
    batch, held = Batch([], []), 0
    for number, raw in source.lines():
        batch.jobs.append(parse(number, raw))
        batch.lines.append(number)
        held += len(raw)
        if len(batch.jobs) == most or held >= BATCH_BYTES:
            yield batch
            batch, held = Batch([], []), 0
    if batch.jobs:
        yield batch


def whole(source: Source) -> Iterator[Batch]:
    """As far as all may be one transaction."""
    count = 0
    try:
        for batch in batches(source, AT_ONCE):
            count += len(batch.jobs)
            if count > MOST_LINES or source.bytes_read > MOST_BYTES:
                raise InvalidInput(
                    f"{source.name} has more than {MOST_LINES:,} lines or {MOST_BYTES // 1024**2} MiB, too much for "
                    "one transaction: --batch 1000 commits every 1,000 lines"
                )
            yield batch
    except InvalidInput as error:
        raise InvalidInput(f"{error}; nothing was submitted", field=error.field) from error


def parse(number: int, raw: bytes) -> NewJob:
    """A checked job. Raises InvalidInput, which names the line."""
    try:
        return check(job_of(decoded(raw)))
    except InvalidInput as error:
        raise InvalidInput(f"line {number:,}: {in_json(error)}", field=error.field) from error


def decoded(raw: bytes) -> dict[str, Any]:
    if raw.startswith(_BYTE_ORDER_MARK):
        raise InvalidInput("it begins with a byte order mark: write UTF-8 without one")
    try:
        raw.decode()  # msgspec does not look into what it passes over
        given = cast("object", msgspec.json.decode(raw))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"it is not UTF-8, at byte {error.start + 1}") from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidInput(f"it is not JSON: {str(error).removeprefix('JSON is malformed: ')}") from error
    if not isinstance(given, dict):
        raise InvalidInput(f'a job is an object, like {{"task": "echo"}}, not {shown(given)}')
    return cast("dict[str, Any]", given)


def job_of(given: dict[str, Any]) -> NewJob:
    unknown = next((name for name in given if name not in _FIELDS), None)
    if unknown is not None:
        raise InvalidInput(f"there is no field {shown(unknown)}; there are {', '.join(_FIELDS)}", field=unknown[:40])
    if given.get("task") is None:
        raise InvalidInput("task is missing", field="task")
    if given.get("args", ...) is None:
        given["args"] = {}
    return NewJob(**given)


def in_json(error: InvalidInput) -> str:
    """What cannot be a time was a string in JSON, whatever it is in Python."""
    if error.field in ("run_at", "deadline") and "wrong type" in str(error):
        return f"{error.field} must be a time like 2030-01-31T09:00:00Z"
    return str(error)
