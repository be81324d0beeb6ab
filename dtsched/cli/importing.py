"""Imports the module of an app. What goes wrong in it is shown as its author would see it, without our own frames."""

import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType

from dtsched.cli.output import say
from dtsched.errors import DtschedError

_OURS = (__file__, import_module.__code__.co_filename)


def import_user_module(name: str, *, blamed: str) -> ModuleType:
    """Lets a ModuleNotFoundError for the module itself, or a package that it is in, pass."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise
        raise broken(error, blamed) from error
    except Exception as error:
        raise broken(error, blamed) from error


def broken(error: Exception, blamed: str) -> DtschedError:
    """Says the traceback and returns the sentence."""
    for line in users_traceback(error):
        say(line)
    what = traceback.format_exception_only(error)[-1].strip()
    where = error.filename if isinstance(error, SyntaxError) else None
    return DtschedError(f"{blamed} cannot be imported: {what}" + (f" in {Path(where).name}" if where else ""))


def users_traceback(error: Exception) -> list[str]:
    told = traceback.TracebackException.from_exception(error)
    first = next((n for n, frame in enumerate(told.stack) if not ours(frame.filename)), len(told.stack))
    told.stack = traceback.StackSummary.from_list(told.stack[first:])
    return "".join(told.format()).splitlines()


def ours(filename: str) -> bool:
    return filename in _OURS or filename.startswith("<frozen importlib")
