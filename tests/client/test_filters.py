"""The filter language: what a text means, and what is refused with the term that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from dtsched.errors import InvalidInput
from dtsched.filters import parse_filter


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("  \n ", {}),
        ("state:failed queue:mail", {"state": ["failed"], "queue": ["mail"]}),
        ("state:failed,cancelled", {"state": ["failed", "cancelled"]}),
        ("state:pending", {"state": ["pending"]}),
        ("args.user.id:42", {"args": [{"path": ["user", "id"], "value": "42"}]}),
        ("args.a:1 args.b:2", {"args": [{"path": ["a"], "value": "1"}, {"path": ["b"], "value": "2"}]}),
        ('args.a:"1,2 and 3"', {"args": [{"path": ["a"], "value": "1,2 and 3"}]}),
        ("error:Timeout", {"error": ["Timeout"]}),
        (r'error:"said \"no\" \\ twice"', {"error": [r'said "no" \ twice']}),
        ('tag:a,"b c",d', {"tag": ["a", "b c", "d"]}),
        ("key:order:42", {"key": ["order:42"]}),
        ("priority:05,10", {"priority": ["5", "10"]}),
        ("id:1,9223372036854775807", {"id": ["1", "9223372036854775807"]}),
        (
            "worker:6F1C00000000000000000000000000AB",
            {"worker": ["6f1c0000-0000-0000-0000-0000000000ab"]},
        ),
        ("worker:web-1", {"worker": ["web-1"]}),
        ("since:1h", {"since": {"seconds_ago": 3600.0}}),
        ("since:90", {"since": {"seconds_ago": 90.0}}),
        ("until:2030-01-31T09:00:00+01:00", {"until": "2030-01-31T08:00:00+00:00"}),
        ("since:2030-01-31T09:00:00Z", {"since": "2030-01-31T09:00:00+00:00"}),
    ],
)
def test_a_text_means(text: str, wanted: dict[str, Any]) -> None:
    assert parse_filter(text) == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("failed", "not 'failed'"),
        ("state:", "not 'state:'"),
        ("state:faild", "not 'faild'"),
        ("sate:failed", "there is no filter 'sate'"),
        ("state:failed state:ready", "state:A,B"),
        ("queue:a,,b", "stand apart by commas"),
        ("queue:,a", "stand apart by commas"),
        ('queue:""', "stand apart by commas"),
        ('error:"open', "not 'error:\"open'"),
        ("queue:a/b", "queue must be 1 to 128"),
        ("priority:0", "priority must be 1 to 10"),
        ("priority:11", "priority must be 1 to 10"),
        ("priority:\u0661", "priority must be 1 to 10"),
        ("id:0", "id must be an id"),
        ("id:9223372036854775808", "id must be an id"),
        ("id:-1", "id must be an id"),
        ("since:soon", "since must be a time"),
        ("since:1h,2h", "since must be a time"),
        ("args.:1", "a filter is made of terms"),
        ("args.a..b:1", "a path into args"),
        ("args.a:1,2", "args.a takes one value"),
        ("key:a\0b", "NUL"),
        ("error:\udcff", "surrogate"),
        ("error:" + "x" * 4000, "at most 4000 characters"),
        ("id:" + ",".join(map(str, range(1, 102))), "1 to 100 values"),
    ],
)
def test_what_is_wrong_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_filter(text)
    assert says in str(refused.value)
    assert refused.value.field == "filter"
    assert len(str(refused.value)) < 300


def test_on_a_command_line_the_shell_has_taken_the_quotes() -> None:
    assert parse_filter(["error:connection refused", "state:failed"]) == {
        "error": ["connection refused"],
        "state": ["failed"],
    }
    assert parse_filter(["state:failed queue:mail"]) == {"state": ["failed"], "queue": ["mail"]}
    assert parse_filter(()) == {}
