"""Keys by command line: how long they are held, and what becomes of the job that holds one."""

import io
import json
import sys

import pytest

from tests.cli.conftest import Cli
from tests.conftest import Connect


def test_each_way_to_meet_a_held_key_is_told(cli: Cli) -> None:
    first = cli("submit", "echo", "--key", "k", "--in", "1h", "--json").json
    assert first == {"id": first["id"], "created": True, "outcome": "created"}
    replaced = cli("submit", "echo", "--key", "k", "--in", "1h", "--on-conflict", "replace")
    assert (replaced.code, replaced.out) == (0, f"{first['id']}\n")
    assert replaced.err == f"the key k is held by job {first['id']}, which waited and has the new values now\n"
    refused = cli("submit", "echo", "--key", "k", "--on-conflict", "reject")
    assert (refused.code, refused.out) == (4, "")
    assert f'the key "k" is held by job {first["id"]}, which is scheduled' in refused.err
    superseding = cli("submit", "echo", "--key", "k", "--on-conflict", "supersede", "--json")
    assert (superseding.json["created"], superseding.json["outcome"]) == (True, "superseded")
    assert superseding.err == f"the key k was taken from another job by job {superseding.json['id']}\n"
    assert cli("show", str(first["id"]), "--json").json["state"] == "cancelled"


@pytest.mark.parametrize(
    ("key_for", "seconds"), [("10m", 600), ("kept", float("inf")), ("unfinished", None), (None, None)]
)
def test_a_key_is_held_for_as_long_as_is_said(
    cli: Cli, connect: Connect, key_for: str | None, seconds: float | None
) -> None:
    assert cli("submit", "echo", "--key", "k", *(["--key-for", key_for] if key_for else [])).code == 0
    statement = """
        select case key_until when 'infinity' then 'infinity'
                              else round(extract(epoch from key_until - created_at))::float8 end
        from dtsched.jobs"""
    assert connect().execute(statement).fetchone() == (seconds,)


def test_lines_say_it_too_and_what_was_replaced_is_counted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit_many(*lines: dict[str, object]) -> tuple[int, str, str]:
        text = "".join(json.dumps({"task": "echo", **line}) + "\n" for line in lines)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        ended = cli("submit-many", "-")
        return ended.code, ended.out, ended.err

    debounced: dict[str, object] = {"key": "k", "key_for": "10m", "on_conflict": "replace"}
    assert submit_many(debounced, {}, debounced) == (0, "", "submitted 2 jobs, replaced 1\n")
    code, _, said = submit_many({}, {"key": "k", "on_conflict": "reject"})
    assert code == 4
    assert said.startswith('dtsched: line 2: the key "k" is held by job')
    assert said.endswith("; nothing was submitted\n")
