"""From plain JSON data to a job that is checked, or a sentence that says why it is none."""

from typing import cast

from dtsched.api.problems import Refused
from dtsched.api.requests import convert
from dtsched.batches import Wrong, unless_wrong
from dtsched.checks import shown
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, check_typed

_TIME = "a time like 2030-01-31T09:00:00Z"
SHAPES = {
    "task": "a string",
    "args": "an object of named arguments",
    "queue": "a string",
    "priority": "an integer from 1 to 10",
    "run_at": _TIME,
    "delay": 'a number of seconds, or a string like "10m"',
    "max_attempts": "an integer from 1 to 1000",
    "timeout": 'a number of seconds, or a string like "10m"',
    "key": "a string",
    "key_for": 'unfinished, kept, a number of seconds, or a string like "10m"',
    "on_conflict": "keep, replace, reject or supersede",
    "limit_key": "a string",
    "depends_on": 'a list of job ids, keys and objects like {"entry": 1, "on_failure": "run"}',
    "on_parent_failure": "cancel, run or skip",
    "workflow": "the id of a workflow",
    "tags": "a list of strings",
    "backoff": "an object",
    "deadline": _TIME,
    "expires_in": 'a number of seconds, or a string like "10m"',
    "correlation_id": "a string",
}


def entry_of(given: object) -> NewJob | Wrong:
    if not isinstance(given, dict):
        return Wrong(Malformed(f"a job must be an object, not {shown(given)}"))
    members = cast("dict[str, object]", given)
    return unless_wrong(_converted, members, members.get("key"), check=check_typed)


def _converted(given: dict[str, object]) -> NewJob:
    try:
        return convert(given, NewJob, SHAPES)
    except Refused as error:
        raise Malformed(str(error), field=error.field) from error


class Malformed(InvalidInput):
    """Not even of the right type: alone it would be answered with 400."""
