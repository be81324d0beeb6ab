"""When a job is to run, as a command line says it: --at TIME or --in DURATION."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime

from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, check

FLAGS = {"run_at": "--at", "delay": "--in"}


def parse_time(text: str | None, *, field: str = "run_at") -> datetime | None:
    """ISO 8601; local time unless it names a zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{field} must be a finite time from 1970 to 9999, as in 2030-01-31T09:00, not {text[:40]!r}", field=field
        ) from error


def checked_times(at: str | None, delay: str | None) -> tuple[datetime | None, float | None]:
    """The time, or the seconds from now, by the rules of a submission; one of them is None."""
    with named_by_flag():
        job = check(NewJob(task="any", run_at=parse_time(at), delay=delay))
    return job.run_at, None if job.delay is None else float(job.delay)


@contextmanager
def named_by_flag() -> Generator[None]:
    """Errors of run_at and delay speak of what was typed."""
    try:
        yield
    except InvalidInput as error:
        if error.field not in FLAGS:
            raise
        rule, separator, value = str(error).partition(", not ")
        for field, flag in FLAGS.items():
            rule = rule.replace(field, flag)
        raise InvalidInput(rule + separator + value, field=FLAGS[error.field]) from error
