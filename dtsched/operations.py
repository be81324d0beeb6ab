"""Operations: an action over all jobs that fit a filter, which the database takes further step by step."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from dtsched.checks import shown
from dtsched.edits import checked_changes
from dtsched.errors import InvalidInput
from dtsched.filters import Filter, parse_filter
from dtsched.jobs import JobState, NewJob, check

Action: TypeAlias = Literal["cancel", "retry", "delete", "edit", "run-now", "reschedule"]
OperationState: TypeAlias = Literal["pending", "running", "completed", "cancelled", "failed"]

ACTIONS: tuple[str, ...] = get_args(Action)
OVER: frozenset[str] = frozenset({"completed", "cancelled", "failed"})


class SampleJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was when an operation met it."""

    id: int
    queue: str
    task: str
    state: JobState
    created_at: datetime


class OperationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An action over all jobs that fit a filter and were submitted before it. `matched` jobs have been met so far,
    newest first, `outcomes` says how many of them met with what, `progress`, from 0 to 1, how far through the jobs it
    is. `sample` are the first 10. `queues`: those that whoever began it may act on, None: all."""

    id: int
    action: Action
    filter: str | None
    changes: dict[str, Any] | None
    run_at: datetime | None
    dry_run: bool
    state: OperationState
    progress: float
    matched: int
    outcomes: dict[str, int]
    sample: list[SampleJob]
    error: str | None
    queues: list[str] | None
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class NewOperation(msgspec.Struct, frozen=True, kw_only=True):
    """As checked_operation() passed it. `delay`, in seconds, is from the moment at which it begins."""

    action: Action
    filter: str
    wanted: Filter
    changes: dict[str, Any] | None = None
    run_at: datetime | None = None
    delay: float | None = None
    dry_run: bool = False


class Step(msgspec.Struct, frozen=True):
    """`operation` is None when none was to be stepped. `next_seconds`: when there is more to do, None: nothing is under
    way."""

    operation: int | None
    state: OperationState | None
    met: int
    next_seconds: float | None


def checked_operation(
    action: str,
    text: str,
    *,
    changes: Mapping[str, Any] | None = None,
    run_at: datetime | None = None,
    delay: float | str | None = None,
    dry_run: bool = False,
) -> NewOperation:
    """Raises InvalidInput with the field for what no operation may be."""
    if action not in ACTIONS:
        raise InvalidInput(f"action must be {', '.join(ACTIONS)}, not {shown(action)}", field="action")
    wanted = parse_filter(text)
    if not wanted:
        raise InvalidInput(
            "filter is empty, which would mean every job: say which ones, as in state:failed", field="filter"
        )
    if (changes is not None) != (action == "edit"):
        raise InvalidInput(
            "changes go with the action edit alone" if changes else "say what to change: give changes", field="changes"
        )
    when = check(NewJob(task="any", run_at=run_at, delay=delay))
    if (run_at is not None or delay is not None) != (action == "reschedule"):
        raise InvalidInput(
            "say when: give run_at or delay"
            if action == "reschedule"
            else "run_at and delay go with the action reschedule alone",
            field="run_at" if delay is None else "delay",
        )
    return NewOperation(
        action=msgspec.convert(action, Action),
        filter=text,
        wanted=wanted,
        changes=None if changes is None else checked_changes(changes),
        run_at=when.run_at,
        delay=None if when.delay is None else float(when.delay),
        dry_run=dry_run,
    )
