"""What of a body is looked at before it is decoded."""

from __future__ import annotations

import json
import random

import pytest

from dtsched.api import bodies
from dtsched.api.bodies import MAX_DEPTH, MalformedBody, parse


def test_brackets_in_strings_neither_add_to_the_depth_of_a_body_nor_take_from_it() -> None:
    within = rb'{"a": "%s"}' % (b"[" * 1000)
    assert parse(within) == {"a": "[" * 1000}
    assert parse(rb'{"a\\": "\"%s\\"}' % (b"[" * 1000)) == {"a\\": '"' + "[" * 1000 + "\\"}

    hidden = b'["]",' * MAX_DEPTH + b'"' + b"[" * MAX_DEPTH + b'"' + b"]" * MAX_DEPTH
    with pytest.raises(MalformedBody, match="nested more than 64 deep"):
        parse(b'{"a": %s}' % hidden)


def test_few_strings_are_cut_out_of_a_body_as_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(7)
    for _ in range(2000):
        texts = ["".join(chosen.choices('"\\\n[]{}1e5,:a', k=chosen.randint(0, 8))) for _ in range(4)]
        raw = json.dumps([texts, {texts[0]: 1e5}]).encode()
        cut = bodies._outside_strings(raw)  # pyright: ignore[reportPrivateUsage]
        assert cut == b'[[", ", ", "], {": 100000.0}]'
        with monkeypatch.context() as patched:
            patched.setattr(bodies, "_MOST_QUOTES", 0)
            assert bodies._outside_strings(raw) == cut  # pyright: ignore[reportPrivateUsage]
