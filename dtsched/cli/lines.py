"""Jobs out of lines of JSON: read with a bound, checked, and known by the numbers of their lines."""

import os
import re
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from dtsched.batches import Wrong, unless_wrong
from dtsched.checks import shown
from dtsched.errors import Conflict, InvalidInput
from dtsched.jobs import NewJob, check, refused

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
_OTHER = re.compile("job ([0-9]+) of the batch")
_TOO = re.compile(r" \(refused too: job(s?) ([0-9, ]*[0-9])((?: and [0-9]+ more)?)\)$")
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
            raise InvalidInput(self._by_line(line, text), field=error.field, problems=self._lines(error)) from error
        except Conflict as error:
            line = self._line_of(str(error))
            if line is None:
                raise
            raise Conflict(self._by_line(line, str(error)), problems=self._lines(error)) from error

    def line(self, number: int) -> int:
        return self.lines[number - 1]

    def _by_line(self, line: int, text: str) -> str:
        return f"line {line:,}: {by_line(_NUMBER.sub('', text, count=1), self.line)}"

    def _lines(self, error: InvalidInput | Conflict) -> dict[int, str]:
        return {self.line(n): by_line(sentence, self.line) for n, sentence in error.problems.items()}

    def _line_of(self, text: str) -> int | None:
        if text.startswith("line "):
            return None
        if found := _NUMBER.match(text):
            return self.lines[int(found[1]) - 1]
        if found := _PARENT.match(text):
            parent = int(found[1])
            return next((line for job, line in zip(*self, strict=True) if parent in (job.depends_on or ())), None)
        return self.lines[0] if len(self.lines) == 1 else None


def by_line(text: str, line: Callable[[int], int]) -> str:
    """Where the schema speaks of other jobs of the batch by their numbers."""
    text = _OTHER.sub(lambda found: f"line {line(int(found[1])):,}", text)
    if too := _TOO.search(text):
        numbers = ", ".join(f"{line(int(number)):,}" for number in too[2].split(", "))
        return f"{text[: too.start()]} (refused too: line{too[1]} {numbers}{too[3]})"
    return text


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
    """As far as all may be one transaction. All lines are read, and an error names each that is wrong."""
    wrong: dict[int, InvalidInput] = {}
    try:
        for part in entries(source, AT_ONCE, bounded=True):
            wrong |= {line: entry.error for line, entry in part if isinstance(entry, Wrong)}
            if not wrong:
                yield Batch([entry for _, entry in part if isinstance(entry, NewJob)], [line for line, _ in part])
        if wrong:
            raise refused(wrong, of=len(wrong), noun="line")
    except InvalidInput as error:
        raise InvalidInput(f"{error}; nothing was submitted", field=error.field, problems=error.problems) from error


def entries(source: Source, most: int, *, bounded: bool) -> Iterator[list[tuple[int, NewJob | Wrong]]]:
    """Lines and what they are, so many at a time; `bounded` as far as all may be one transaction."""
    part: list[tuple[int, NewJob | Wrong]] = []
    count, held = 0, 0
    for number, raw in source.lines():
        part.append((number, entry_of(raw)))
        count, held = count + 1, held + len(raw)
        if bounded and (count > MOST_LINES or source.bytes_read > MOST_BYTES):
            raise InvalidInput(
                f"{source.name} has more than {MOST_LINES:,} lines or {MOST_BYTES // 1024**2} MiB, too much for "
                "one transaction: --batch 1000 commits every 1,000 lines"
            )
        if len(part) == most or held >= BATCH_BYTES:
            yield part
            part, held = [], 0
    if part:
        yield part


def entry_of(raw: bytes) -> NewJob | Wrong:
    try:
        given = decoded(raw)
    except InvalidInput as error:
        return Wrong(error)
    entry = unless_wrong(job_of, given, given.get("key"))
    return Wrong(plain(entry.error), entry.key) if isinstance(entry, Wrong) else entry


def plain(error: InvalidInput) -> InvalidInput:
    return InvalidInput(in_json(error), field=error.field)


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
