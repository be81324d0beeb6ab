"""The keys that a task makes out of the args of its jobs: the same args, the same key."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import msgspec

from dtsched.checks import shown
from dtsched.errors import InvalidInput

Unique: TypeAlias = Literal["args"] | Sequence[str]

_DIGEST_BYTES = 16


def key_of(
    task: str, unique: Unique | None, defaults: Mapping[str, object], parameters: Sequence[str], open_ended: bool
) -> Callable[[Mapping[str, Any]], str | None]:
    """From the args of a job to its key: the task's name and a digest of all args, or of those that `unique` names. An
    argument that was left out counts as its default. InvalidInput for a name that is none of the handler's."""
    if unique is None:
        return _no_key
    names = None if unique == "args" else _names(task, unique, parameters, open_ended)
    try:
        plain = msgspec.to_builtins(dict(defaults), str_keys=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"task {task}: unique needs defaults that JSON can hold: {error}", field="unique") from error
    return partial(_digested, task, names, cast("dict[str, Any]", plain))


def _names(task: str, unique: object, parameters: Sequence[str], open_ended: bool) -> list[str]:
    given = tuple(cast("Sequence[object]", unique)) if isinstance(unique, (list, tuple)) else ()
    names = [name for name in given if isinstance(name, str) and (open_ended or name in parameters)]
    if not names or len(names) < len(given):
        raise InvalidInput(
            f'task {task}: unique must be "args" or names of its arguments ({", ".join(parameters) or "none"}), not '
            f"{shown(cast('object', unique))}",
            field="unique",
        )
    return names


def _no_key(args: Mapping[str, Any]) -> None:
    return None


def _digested(task: str, names: Sequence[str] | None, defaults: Mapping[str, Any], args: Mapping[str, Any]) -> str:
    every = {**defaults, **args}
    counted = every if names is None else {name: every.get(name) for name in names}
    text = msgspec.json.encode(counted, order="deterministic")
    return f"{task}:{hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()}"
