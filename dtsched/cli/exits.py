"""Exit codes, and the one place that turns errors into them."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import click

from dtsched.errors import (
    Conflict,
    DatabaseUnreachable,
    DtschedError,
    InvalidInput,
    NotFound,
    SchemaMissing,
)


class ExitCode(IntEnum):
    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    JOB_FAILED = 5
    UNREACHABLE = 6
    SCHEMA = 7
    TIMED_OUT = 124
    INTERRUPTED = 130
    TERMINATED = 143


# The first that fits: subclasses stand before their bases.
CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (SchemaMissing, ExitCode.SCHEMA),
    (DatabaseUnreachable, ExitCode.UNREACHABLE),
    (NotFound, ExitCode.NOT_FOUND),
    (Conflict, ExitCode.CONFLICT),
    (InvalidInput, ExitCode.USAGE),
    (DtschedError, ExitCode.ERROR),
)


UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What says that a disk is full, or a terminal gone."""


class Terminated(SystemExit):
    """SIGTERM or SIGHUP arrived while a command that owns child processes ran. (asyncio lets a SystemExit through.)"""


class ReaderGone(Exception):
    """Whoever reads our output (`| head`) has seen enough."""


@dataclass
class Ended:
    code: int = 0


def tell(message: str) -> None:
    """One line on stderr, also where a driver's message has several."""
    click.echo(f"dtsched: {' '.join(message.split())}", err=True)


def tell_usage(error: click.UsageError) -> None:
    command = error.ctx.command_path if error.ctx else "dtsched"
    tell(f"{error.format_message()} (see {command} --help)")


@contextmanager
def exit_code() -> Generator[Ended]:
    """Swallows the errors that have an exit code; a bug keeps its traceback."""
    ended = Ended()
    try:
        yield ended
        sys.stdout.flush()
    except click.UsageError as error:
        tell_usage(error)
        ended.code = ExitCode.USAGE
    except click.ClickException as error:
        tell(error.format_message())
        ended.code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        ended.code = ExitCode.INTERRUPTED
    except Terminated:
        ended.code = ExitCode.TERMINATED
    except (ReaderGone, BrokenPipeError):
        discard_output()
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        discard_output()
        tell(f"the output cannot be written: {error.strerror}")
        ended.code = ExitCode.ERROR
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        tell(str(error))
        ended.code = code


def discard_output() -> None:
    """Without this the interpreter complains once more while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def code_of(error: Exception) -> ExitCode | None:
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    driver = sys.modules.get("psycopg")  # imported by whoever raised it, never by us
    if driver is not None and isinstance(error, driver.OperationalError):
        return ExitCode.UNREACHABLE
    return None
