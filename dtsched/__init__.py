"""A job queue whose only coordinator is PostgreSQL. At-least-once execution, at most one accepted outcome per job."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtsched.app import App, JobHandle, Options, Task
    from dtsched.client import Client
    from dtsched.context import Context
    from dtsched.correlation import correlated
    from dtsched.errors import (
        Conflict,
        DatabaseUnreachable,
        DtschedError,
        InvalidInput,
        JobFailed,
        NotFound,
        SchemaMismatch,
        SchemaMissing,
        UnknownTask,
    )
    from dtsched.jobs import Cancel, Job, NewJob, ParentResult, Retry, Snooze
    from dtsched.overview import LogLine

__all__ = [
    "App",
    "Cancel",
    "Client",
    "Conflict",
    "Context",
    "DatabaseUnreachable",
    "DtschedError",
    "InvalidInput",
    "Job",
    "JobFailed",
    "JobHandle",
    "LogLine",
    "NewJob",
    "NotFound",
    "Options",
    "ParentResult",
    "Retry",
    "SchemaMismatch",
    "SchemaMissing",
    "Snooze",
    "Task",
    "UnknownTask",
    "correlated",
]

_HOMES = {
    "dtsched.app": ("App", "JobHandle", "Options", "Task"),
    "dtsched.client": ("Client",),
    "dtsched.context": ("Context",),
    "dtsched.correlation": ("correlated",),
    "dtsched.errors": (
        "Conflict",
        "DatabaseUnreachable",
        "DtschedError",
        "InvalidInput",
        "JobFailed",
        "NotFound",
        "SchemaMismatch",
        "SchemaMissing",
        "UnknownTask",
    ),
    "dtsched.jobs": ("Cancel", "Job", "NewJob", "ParentResult", "Retry", "Snooze"),
    "dtsched.overview": ("LogLine",),
}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for one of ours

    def __getattr__(name: str) -> object:
        """Loads a name's module when it is first asked for: the command line prints its help without a driver."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'dtsched' has no attribute {name!r}")
