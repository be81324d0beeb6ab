"""`dtsched submit-many`: the jobs of a file, one JSON object a line; all or none, or so many at a time."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, nullcontext
from typing import Any, BinaryIO, NamedTuple, TextIO
from uuid import uuid4

import click
import msgspec
from msgspec import UNSET, UnsetType
from rich_click import RichCommand

from dtsched.batches import ProblemCode, Refusal, Wrong
from dtsched.cli.database import Target, opened, target_of
from dtsched.cli.display import Display
from dtsched.cli.exits import ExitCode
from dtsched.cli.lines import MOST_LINES, Batch, Source, batches, by_line, entries, whole
from dtsched.cli.options import dsn_option, json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.wording import jobs
from dtsched.connections import translated
from dtsched.correlation import correlate, correlate_part, correlated
from dtsched.errors import Conflict, InvalidInput
from dtsched.jobs import NewJob, Submitted
from dtsched.store import Store

LARGEST_BATCH = 10_000


class RefusedLine(msgspec.Struct, frozen=True):
    line: int
    code: ProblemCode
    error: str
    field: str | None


class Summary(msgspec.Struct, kw_only=True):
    """`submitted` jobs were made, from first_id to last_id; `kept` ones were there with their keys, and
    `replaced` ones got new values. The numbers of lines are those that are committed. `refused` with --partial."""

    submitted: int = 0
    kept: int = 0
    replaced: int = 0
    refused: list[RefusedLine] | UnsetType = UNSET
    first_id: int | None = None
    last_id: int | None = None

    def add(self, results: Sequence[Submitted | Refusal]) -> None:
        made = [each.id for each in results if isinstance(each, Submitted) and each.created]
        self.submitted += len(made)
        self.kept += sum(each.outcome == "kept" for each in results)
        self.replaced += sum(each.outcome == "replaced" for each in results)
        if made:
            self.first_id = made[0] if self.first_id is None else self.first_id
            self.last_id = made[-1]


@click.command("submit-many", cls=RichCommand)
@click.argument("file", metavar="FILE")
@click.option(
    "--batch",
    type=click.IntRange(1, LARGEST_BATCH),
    metavar="N",
    help="Commit every N lines. Without it, all jobs are submitted or none, of at most 100,000 lines.",
)
@click.option(
    "--partial", is_flag=True, help="Submit the lines that can be, and say of each other one why not. Exit code 2 then."
)
@click.option("--ids", is_flag=True, help="Print the id of every job, in the order of the lines; - of a refused one.")
@dsn_option
@json_option
def submit_many_command(file: str, batch: int | None, partial: bool, ids: bool, dsn: str | None, as_json: bool) -> int:
    """Submit the jobs of a file, one JSON object a line.

    FILE is read as UTF-8, - is stdin. A line is what POST /v1/jobs takes: task, and perhaps args, queue, priority,
    run_at or delay, max_attempts, timeout, deadline or expires_in, key, key_for, on_conflict, limit_key, depends_on,
    on_parent_failure, workflow, tags, backoff, correlation_id. Empty lines are passed over. depends_on takes ids, and
    keys of lines before (without --batch, of any line) or of unfinished jobs; {"entry": 3} is the third job (with
    --batch, of its batch).

    A line that is wrong is exit code 2 and said with its number: without --batch nothing is submitted then, with
    --batch the lines before its batch are, and it is said up to which. With --partial all others are submitted, but
    those that depend on it.

    \b
    dtsched submit-many jobs.ndjson
    zcat jobs.ndjson.gz | dtsched submit-many - --batch 1000
    """
    if ids and as_json:
        raise click.UsageError("--ids and --json exclude each other: give one")
    summary = Summary(refused=[] if partial else UNSET)
    with read_from(file) as stream, target_of(dsn, create=True) as target, correlated(uuid4().hex):
        source = Source(stream, "stdin" if file == "-" else file)
        with told_of_others():
            Submitting(target, summary, sys.stdout if ids else None).run(source, batch, partial=partial)
    if as_json:
        print_json(summary)
    say(said(summary))
    return ExitCode.USAGE if summary.refused else ExitCode.OK


@contextmanager
def told_of_others() -> Generator[None]:
    """The error itself tells of the first wrong line."""
    try:
        yield
    except (InvalidInput, Conflict) as error:
        for line, sentence in list(error.problems.items())[1:]:
            say(f"line {line:,}: {sentence}")
        raise


@contextmanager
def read_from(file: str) -> Generator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as files:
        try:
            stream = files.enter_context(open(file, "rb"))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from error
        yield stream


def said(summary: Summary) -> str:
    kept = summary.kept
    by_keys = f" ({kept:,} {'was' if kept == 1 else 'were'} kept by {'its key' if kept == 1 else 'their keys'})"
    replaced = f", replaced {summary.replaced:,}" if summary.replaced else ""
    refused = f", refused {len(summary.refused):,}" if summary.refused else ""
    return f"submitted {jobs(summary.submitted)}{replaced}{by_keys if kept else ''}{refused}"


class Submitting:
    """Reads between the calls to the database and not beside them: a stream that is silent can be ended by Ctrl-C."""

    def __init__(self, target: Target, summary: Summary, ids: TextIO | None) -> None:
        self._target = target
        self._summary = summary
        self._ids = ids
        self._done = 0
        self._under_way: Lines | None = None

    def run(self, source: Source, batch: int | None, *, partial: bool) -> None:
        drawn_over = self._ids is not None and self._ids.isatty()
        shown = sys.stderr.isatty() and not drawn_over
        with asyncio.Runner() as runner, Display() if shown else nullcontext() as display:
            if batch is None and not partial:
                runner.run(self._all_or_none(list(whole(source)), display))
                return
            opening = AsyncExitStack()
            store = runner.run(opening.enter_async_context(opened(self._target)))
            try:
                with self._said_how_far(source):
                    for each in parts_of(source, batch) if partial else wholes_of(source, batch or 1):
                        self._under_way = each
                        submitted = runner.run(each.submitted(store))
                        self._under_way, self._done = None, each.last_line
                        self._tell_refused(each, submitted)
                        self._tell_ids(submitted)
                        if display:
                            display.advance(f"{self._submitted:,} jobs; bytes", source.bytes_read, source.size)
            finally:
                runner.run(opening.aclose())

    @property
    def _submitted(self) -> int:
        return self._summary.submitted + self._summary.kept + self._summary.replaced

    async def _all_or_none(self, read: list[Batch], display: Display | None) -> None:
        results: list[Submitted] = []
        async with opened(self._target) as store:
            with said_that_none(), Batch.joined(read).named_by_line(), translated():  # parents are looked at last
                async with store.transaction():
                    for each in parts(read) if store.spans_calls else [Batch.joined(read)]:
                        results += await submit(store, each)
                        if display:
                            display.advance("submitting", len(results), sum(len(one.jobs) for one in read))
        self._tell_ids(results)

    def _tell_refused(self, lines: "Lines", results: Sequence[Submitted | Refusal]) -> None:
        for line, each in zip(lines.lines, results, strict=True):
            if isinstance(each, Refusal) and self._summary.refused is not UNSET:
                sentence = by_line(each.error, lambda number: lines.lines[number - 1])
                self._summary.refused.append(RefusedLine(line, each.code, sentence, each.field))
                say(f"line {line:,}: {sentence}")

    def _tell_ids(self, results: Sequence[Submitted | Refusal]) -> None:
        self._summary.add(results)
        if self._ids is not None and results:
            self._ids.write("".join(f"{each.id if each.id is not None else '-'}\n" for each in results))
            self._ids.flush()

    @contextmanager
    def _said_how_far(self, source: Source) -> Generator[None]:
        """Whatever it was that ended it: who goes on has to know where."""
        try:
            yield
        except InvalidInput as error:
            raise InvalidInput(f"{error}; {self._standing}", field=error.field, problems=error.problems) from error
        except Conflict as error:
            raise Conflict(f"{error}; {self._standing}", problems=error.problems) from error
        except BaseException:
            unsure = self._under_way
            say(
                f"{source.name}: {self._standing}"
                + (f", those of lines {unsure.first_line:,} to {unsure.last_line:,} may be" if unsure else "")
            )
            raise

    @property
    def _standing(self) -> str:
        return f"lines 1 to {self._done:,} are submitted" if self._done else "nothing was submitted"


async def submit(store: Store, batch: Batch) -> list[Submitted]:
    with batch.named_by_line():
        return await store.submit_many(correlate(batch.jobs))


class Lines(NamedTuple):
    """What is one transaction, and how it is submitted."""

    lines: Sequence[int]
    submitted: Callable[[Store], Coroutine[Any, Any, Sequence[Submitted | Refusal]]]

    @property
    def first_line(self) -> int:
        return self.lines[0]

    @property
    def last_line(self) -> int:
        return self.lines[-1]


def wholes_of(source: Source, most: int) -> Iterator[Lines]:
    """Batches that are submitted whole or not at all."""
    for batch in batches(source, most):
        yield Lines(batch.lines, functools.partial(submit, batch=batch))


def parts_of(source: Source, most: int | None) -> Iterator[Lines]:
    """Batches of which those lines are submitted that can be; without `most` all lines are one."""
    read = entries(source, most or MOST_LINES, bounded=most is None)
    for part in read if most is not None else filter(None, [[line for each in read for line in each]]):
        yield Lines([line for line, _ in part], functools.partial(submit_partly, entries=[entry for _, entry in part]))


async def submit_partly(store: Store, entries: Sequence[NewJob | Wrong]) -> Sequence[Submitted | Refusal]:
    return await store.submit_partly(correlate_part(entries))


def parts(read: list[Batch]) -> list[Batch]:
    """As they were read, or all at once if a line may depend on the key of a later one."""
    everything = Batch.joined(read)
    by_key = any(not isinstance(parent, int) for job in everything.jobs for parent in job.depends_on or ())
    return [everything] if by_key else read


@contextmanager
def said_that_none() -> Generator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"{error}; nothing was submitted", field=error.field, problems=error.problems) from error
    except Conflict as error:
        raise Conflict(f"{error}; nothing was submitted", problems=error.problems) from error
