"""Changes to a job, checked before they are sent: by the rules of a submission, and with its words."""

from collections.abc import Mapping
from typing import Any, cast

from dtsched.checks import check_json, shown
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, check

FIELDS = ("args", "merge_args", "queue", "priority", "max_attempts", "timeout", "tags", "limit_key", "deadline")
MAY_BE_NULL = ("timeout", "limit_key", "deadline")


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What dtsched.edit() takes. Raises InvalidInput with the field."""
    if not changes:
        raise InvalidInput('say what to change, as in {"priority": 9}')
    for name, value in changes.items():
        if name not in FIELDS:
            raise InvalidInput(f"{', '.join(FIELDS)} can be changed, not {shown(name)}", field=name)
        if value is None and name not in MAY_BE_NULL:
            raise InvalidInput(f"{name} must have a value, not null", field=name)
    if "args" in changes and "merge_args" in changes:
        raise InvalidInput("args and merge_args exclude each other: give one", field="args")
    if "merge_args" in changes and not isinstance(changes["merge_args"], dict):
        raise InvalidInput(
            f"merge_args must be an object of named arguments, not {shown(cast('object', changes['merge_args']))}",
            field="merge_args",
        )
    check_json(changes.get("merge_args", {}), field="merge_args")
    job = check(NewJob(task="any", **{name: value for name, value in changes.items() if name != "merge_args"}))
    return {name: changes[name] if name == "merge_args" else getattr(job, name) for name in changes}
