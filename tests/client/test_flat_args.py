"""Flat args are checked at one look: with what that refuses and lets through, nothing is different from nested ones."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import pytest

from dtsched.checks import check_json
from dtsched.errors import InvalidInput


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        "a\0", "\ud800", float("nan"), float("inf"), msgspec.Raw(b"1e9999"), object(), "x" * 1_048_577,
        pytest.param(10**5000, id="an integer of 5,001 digits"),
    ],
)  # fmt: skip
def test_a_flat_value_that_cannot_be_stored_is_refused_like_a_nested_one(value: Any) -> None:
    with pytest.raises(InvalidInput):
        check_json({"a": value}, field="args")
    with pytest.raises(InvalidInput):
        check_json({"a": [value]}, field="args")


@pytest.mark.parametrize("name", ["a\0", "\ud800"])
def test_a_name_that_cannot_be_stored_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_json({name: 1}, field="args")


@pytest.mark.parametrize("value", ["a", "\\u0000", "\n", 1, -1, True, None, 1.5, Colour.RED, 10**20])
def test_a_flat_value_is_encoded_like_a_nested_one(value: Any) -> None:
    nested = msgspec.json.encode(msgspec.to_builtins(value))
    assert check_json({"a": value}, field="args") == b'{"a":' + nested + b"}"
    assert check_json({"a": [value]}, field="args") == b'{"a":[' + nested + b"]}"
