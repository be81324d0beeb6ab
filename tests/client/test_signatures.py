"""Which functions may be tasks, and how their arguments travel: bound to names, checked, decoded into their types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict, cast
from uuid import UUID

import msgspec
import pytest

from dtsched import Context, InvalidInput
from dtsched.checks import MAX_ARGS_BYTES
from dtsched.tasks import TaskDefinition

MISSING: Any = object()


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Address:
    street: str
    number: int


class Colour(Enum):
    RED = "red"


class Size(TypedDict):
    width: int


def arrive(function: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    """What the function returns when it is called as a worker calls it."""
    definition = TaskDefinition(function)
    positional, keywords = definition.decode(msgspec.json.encode(definition.bind(*args, **kwargs)))
    return function(*positional, **keywords)


def test_arguments_arrive_where_they_were_meant() -> None:
    def task(a: int, b: str = "b", *, c: int, d: str = "d") -> object:
        return a, b, c, d

    assert arrive(task, 1, c=3) == (1, "b", 3, "d")
    assert arrive(task, a=1, b="x", c=3, d="y") == (1, "x", 3, "y")
    assert arrive(task, 1, "x", c=3) == (1, "x", 3, "d")


def test_a_default_is_evaluated_where_the_job_runs_and_need_not_be_json() -> None:
    def task(a: int = 1, b: Any = MISSING) -> object:
        return a, b

    assert TaskDefinition(task).bind() == {}
    assert arrive(task) == (1, MISSING)
    assert arrive(task, b=None) == (1, None)


def test_the_context_is_the_workers_to_pass_and_no_argument() -> None:
    def with_context(ctx: Context, a: int) -> int:
        return a

    def without(a: int) -> int:
        return a

    assert TaskDefinition(with_context).takes_context
    assert not TaskDefinition(without).takes_context
    assert TaskDefinition(with_context).bind(1) == {"a": 1}
    with pytest.raises(InvalidInput, match="unexpected keyword argument 'ctx'"):
        TaskDefinition(with_context).bind(1, ctx=2)


def test_other_keywords_travel_where_the_handler_takes_them() -> None:
    def task(a: int, **rest: object) -> object:
        return a, rest

    assert arrive(task, 1, b=2, c="x") == (1, {"b": 2, "c": "x"})
    assert arrive(task, 1) == (1, {})


def test_the_annotation_of_other_keywords_counts() -> None:
    def task(**when: datetime) -> object:
        return when

    assert arrive(task, start=datetime(2030, 1, 31, tzinfo=UTC)) == {"start": datetime(2030, 1, 31, tzinfo=UTC)}
    with pytest.raises(InvalidInput, match="task task: start: Invalid RFC3339") as refused:
        TaskDefinition(task).bind(start="soon")
    assert refused.value.field == "start"


def test_arguments_may_have_the_names_that_methods_use() -> None:
    def task(name: str, self: str = "", **rest: object) -> object:
        return name, self, rest

    assert arrive(task, name="n", self="s", function="f", args=1) == ("n", "s", {"function": "f", "args": 1})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Point, Point(1, 2)),
        (Address, Address("High Street", 5)),
        (Size, {"width": 3}),
        (Colour, Colour.RED),
        (datetime, datetime(2030, 1, 31, 9, tzinfo=UTC)),
        (timedelta, timedelta(minutes=3)),
        (UUID, UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")),
        (Decimal, Decimal("1.10")),
        (bytes, b"\x00\xff"),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[int, Point], {1: Point(2)}),
        (list[Address], [Address("a", 1)]),
        (int | None, None),
        (float, 1.5),
    ],
    ids=str,
)
def test_values_arrive_in_their_annotated_types(annotation: Any, value: object) -> None:
    def task(given: object) -> object:
        return given

    task.__annotations__["given"] = annotation
    arrived = arrive(task, value)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    ("args", "field", "says"),
    [
        ({"to": 5}, "to", "to: Expected `str`, got `int`"),
        ({"to": "a", "copies": "many"}, "copies", "copies: Expected `int`, got `str`"),
        ({"to": "a", "copies": True}, "copies", "copies: Expected `int`, got `bool`"),
        ({"to": "a", "copies": None}, "copies", "copies: Expected `int`, got `null`"),
        ({"to": "a", "home": {"street": "b"}}, "home", "home: Object missing required field `number`"),
        ({"copies": 1}, "to", "to: Object missing required field `to`"),
        ({"to": "a", "cpies": 1}, "cpies", "cpies: Object contains unknown field `cpies`"),
    ],
    ids=str,
)
def test_args_that_do_not_fit_name_the_argument(args: dict[str, object], field: str, says: str) -> None:
    def send(to: str, copies: int = 1, home: Address | None = None) -> None: ...

    definition = TaskDefinition(send)
    with pytest.raises(InvalidInput) as decoded:
        definition.decode(msgspec.json.encode(args))
    assert str(decoded.value) == f"task send: {says}"
    assert decoded.value.field == field
    with pytest.raises(InvalidInput, match=field):
        definition.bind(**args)


@pytest.mark.parametrize("args", [b"[]", b"5", b"null", b'"text"', b"{", b'{"to": "\\ud800"}'])
def test_args_that_are_no_object_of_names_do_not_fit(args: bytes) -> None:
    def send(to: str) -> None: ...

    with pytest.raises(InvalidInput, match="task send: "):
        TaskDefinition(send).decode(args)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a\0b", "args.text must not hold NUL or a lone surrogate"),
        ("a\ud800b", "args.text must not hold NUL or a lone surrogate"),
        (["a", {"b": "\0"}], "args.text must not hold NUL"),
        ({"a\0": 1}, "args.text must not hold NUL"),
        (float("nan"), "args.text must be a finite number, not nan"),
        (float("-inf"), "args.text must be a finite number, not -inf"),
        ("x" * MAX_ARGS_BYTES, "args must be at most 1 MiB"),
        (object(), "args cannot be stored as JSON"),
        (MISSING.__class__, "args cannot be stored as JSON"),
    ],
)
def test_what_json_in_postgresql_has_no_place_for_is_refused_at_submission(value: object, says: str) -> None:
    def task(text: Any) -> None: ...

    with pytest.raises(InvalidInput, match=says) as refused:
        TaskDefinition(task).bind(value)
    assert refused.value.field == "args"


def test_args_that_contain_themselves_are_refused() -> None:
    def task(items: list[Any]) -> None: ...

    items: list[Any] = []
    items.append(items)
    with pytest.raises(InvalidInput):
        TaskDefinition(task).bind(items)


def positional(a: int, /) -> None: ...
def variadic(*numbers: int) -> None: ...
def context_last(a: int, ctx: Context) -> None: ...
def unreadable(a: object) -> None: ...
def unsupported(a: Point | Address) -> None: ...


unreadable.__annotations__["a"] = "Nowhere"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (positional, "arguments travel by name, so a"),
        (variadic, r"arguments travel by name, so \*numbers"),
        (context_last, "the context must be its first parameter"),
        (unreadable, "an annotation cannot be resolved: name 'Nowhere' is not defined"),
        (unsupported, "its annotations cannot be read from JSON"),
        (lambda: None, "task must be 1 to 128 characters"),
    ],
)
def test_a_function_whose_arguments_cannot_travel_is_refused_where_it_is_defined(
    function: Callable[..., object], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        TaskDefinition(function)


def test_what_runs_in_the_loop_and_what_in_a_thread_is_told_by_the_function() -> None:
    async def waits() -> None: ...
    def computes() -> None: ...

    assert TaskDefinition(waits).executor == "async"
    assert TaskDefinition(computes).executor == "thread"


def test_unannotated_arguments_arrive_as_plain_json() -> None:
    def task(a, b=None):  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]: such handlers exist
        return a, b  # pyright: ignore[reportUnknownVariableType]: as above

    assert arrive(cast("Callable[..., object]", task), [1, {"x": 2}], b="c") == ([1, {"x": 2}], "c")
