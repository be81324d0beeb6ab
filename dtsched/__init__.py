"""A job queue whose only coordinator is PostgreSQL. At-least-once execution, at most one accepted outcome per job."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtsched.answers import Cancel, Fail, Retry, Snooze
    from dtsched.app import App, JobHandle, Options, Task
    from dtsched.batches import Refusal
    from dtsched.client import Client
    from dtsched.context import Context
    from dtsched.correlation import correlated
    from dtsched.errors import (
        Conflict,
        DatabaseUnreachable,
        DtschedError,
        EventTimeout,
        InvalidInput,
        JobFailed,
        LeaseLost,
        NotFound,
        ResultExpired,
        SchemaMismatch,
        SchemaMissing,
        UnknownTask,
    )
    from dtsched.jobs import Emitted, Job, NewJob, ParentResult
    from dtsched.overview import LogLine
    from dtsched.parents import Parent
    from dtsched.workflows import Node, Workflow

__all__ = [
    "App",
    "Cancel",
    "Client",
    "Conflict",
    "Context",
    "DatabaseUnreachable",
    "DtschedError",
    "Emitted",
    "EventTimeout",
    "Fail",
    "InvalidInput",
    "Job",
    "JobFailed",
    "JobHandle",
    "LeaseLost",
    "LogLine",
    "NewJob",
    "Node",
    "NotFound",
    "Options",
    "Parent",
    "ParentResult",
    "Refusal",
    "ResultExpired",
    "Retry",
    "SchemaMismatch",
    "SchemaMissing",
    "Snooze",
    "Task",
    "UnknownTask",
    "Workflow",
    "correlated",
]

_HOMES = {
    "dtsched.answers": ("Cancel", "Fail", "Retry", "Snooze"),
    "dtsched.app": ("App", "JobHandle", "Options", "Task"),
    "dtsched.batches": ("Refusal",),
    "dtsched.client": ("Client",),
    "dtsched.context": ("Context",),
    "dtsched.correlation": ("correlated",),
    "dtsched.errors": (
        "Conflict",
        "DatabaseUnreachable",
        "DtschedError",
        "EventTimeout",
        "InvalidInput",
        "JobFailed",
        "LeaseLost",
        "NotFound",
        "ResultExpired",
        "SchemaMismatch",
        "SchemaMissing",
        "UnknownTask",
    ),
    "dtsched.jobs": ("Emitted", "Job", "NewJob", "ParentResult"),
    "dtsched.parents": ("Parent",),
    "dtsched.workflows": ("Node", "Workflow"),
    "dtsched.overview": ("LogLine",),
}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for one of ours

    def __getattr__(name: str) -> object:
        """Loads a name's module when it is first asked for: the command line prints its help without a driver."""
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(home), name)
        raise AttributeError(f"module 'dtsched' has no attribute {name!r}")
