"""`dtsched submit-many`: the jobs of a file or a stream, all or none, or so many at a time."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dtsched.checks import MAX_ARGS_BYTES
from dtsched.cli import lines
from tests.cli.command import COMMAND, environment
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.conftest import Connect
from tests.support.bad_input import BadInput, cases, declare, json_body, written
from tests.support.patience import PATIENCE_SECONDS, within

GOOD = '{"task": "echo"}'


def file_of(*texts: str | bytes) -> str:
    path = Path("jobs.ndjson")
    path.write_bytes(b"".join((text if isinstance(text, bytes) else text.encode()) + b"\n" for text in texts))
    return str(path)


def values(connection: psycopg.Connection[Any]) -> list[int]:
    return [row[0] for row in connection.execute("select (args ->> 'n')::int from dtsched.jobs order by id")]


def numbered(count: int) -> list[str]:
    return [json.dumps({"task": "echo", "args": {"n": number}}) for number in range(count)]


def test_every_line_becomes_a_job_in_its_order(cli: Cli, connect: Connect) -> None:
    ended = cli("submit-many", file_of(*numbered(3)))
    assert (ended.code, ended.out, ended.err) == (0, "", "submitted 3 jobs\n")
    assert values(connect()) == [0, 1, 2]


def test_a_line_takes_what_a_post_takes(cli: Cli, connect: Connect) -> None:
    line = {
        "task": "echo",
        "args": {"n": 1},
        "queue": "mail",
        "priority": 9,
        "delay": "10m",
        "max_attempts": 2,
        "timeout": 30,
        "key": "k",
        "limit_key": "smtp",
        "tags": ["a", "b"],
        "backoff": {"kind": "fixed", "base": 1},
        "deadline": "2090-01-01T00:00:00Z",
        "correlation_id": "c",
    }
    assert cli("submit-many", file_of(json.dumps(line), '{"task": "echo", "args": null, "queue": null}')).code == 0
    found = connect().execute(
        """select queue, priority, state, run_at - created_at between '9 min' and '11 min', max_attempts,
            extract(epoch from timeout)::int, key, limit_key, tags, correlation_id
        from dtsched.jobs order by id limit 1"""
    )
    assert found.fetchone() == ("mail", 9, "scheduled", True, 2, 30, "k", "smtp", ["a", "b"], "c")


def test_jobs_of_one_call_belong_together_by_their_correlation_id(cli: Cli, connect: Connect) -> None:
    assert cli("submit-many", file_of(*numbered(3)), "--batch", "2").code == 0
    assert connect().execute("select count(distinct correlation_id) from dtsched.jobs").fetchone() == (1,)


def test_jobs_whose_key_is_held_are_kept_and_counted(cli: Cli) -> None:
    keyed = [json.dumps({"task": "echo", "key": key}) for key in ("a", "b", "a")]
    first = cli("submit-many", file_of(*keyed), "--json")
    assert first.json == {"submitted": 2, "kept": 1, "replaced": 0, "first_id": 1, "last_id": 2}
    assert first.err == "submitted 2 jobs (1 was kept by its key)\n"
    again = cli("submit-many", file_of(*keyed), "--json")
    assert again.json == {"submitted": 0, "kept": 3, "replaced": 0, "first_id": None, "last_id": None}
    assert again.err == "submitted 0 jobs (3 were kept by their keys)\n"


def test_ids_are_printed_one_a_line_where_asked_for_those_that_are_kept_too(cli: Cli) -> None:
    assert cli(
        "submit-many", file_of(GOOD, '{"task": "echo", "key": "a"}', '{"task": "echo", "key": "a"}'), "--ids"
    ).out == ("1\n2\n2\n")
    assert cli("submit-many", file_of(GOOD, GOOD), "--ids", "--batch", "1").out == "4\n5\n"
    assert cli("submit-many", file_of(GOOD), "--ids", "--json").code == 2


def test_a_line_may_depend_on_a_later_one_by_its_key(
    cli: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "AT_ONCE", 1)
    child, parent = '{"task": "echo", "depends_on": ["p"]}', '{"task": "echo", "key": "p"}'
    assert cli("submit-many", file_of(child, parent)).code == 0
    found = connect().execute("select depends_on, state from dtsched.jobs order by id")
    assert found.fetchall() == [([2], "blocked"), (None, "ready")]


def test_with_batch_a_line_may_depend_on_an_earlier_batch_by_its_key(cli: Cli, connect: Connect) -> None:
    child, parent = '{"task": "echo", "depends_on": ["p"]}', '{"task": "echo", "key": "p"}'
    assert cli("submit-many", file_of(parent, child), "--batch", "1").code == 0
    refused = cli("submit-many", file_of(GOOD, child.replace('"p"', '"q"')), "--batch", "1")
    assert refused.code == 2
    assert "line 2: depends_on names the key" in refused.err


def test_empty_lines_are_passed_over_and_counted(cli: Cli, connect: Connect) -> None:
    assert cli("submit-many", file_of("", GOOD, "  ", GOOD, "")).err == "submitted 2 jobs\n"
    assert "line 5: " in cli("submit-many", file_of("", GOOD, "  ", GOOD, "{")).err


def test_a_last_line_without_an_end_counts(cli: Cli) -> None:
    Path("jobs").write_text(f"{GOOD}\n{GOOD}")
    assert cli("submit-many", "jobs").err == "submitted 2 jobs\n"


def test_nothing_is_no_error(cli: Cli) -> None:
    ended = cli("submit-many", file_of(), "--json")
    assert (ended.code, ended.json["submitted"]) == (0, 0)


@pytest.mark.parametrize("case", cases("rest"), ids=str)
def test_bad_input_is_refused_with_its_line_and_nothing_is_written(case: BadInput, cli: Cli, connect: Connect) -> None:
    connection = connect()
    declare(connection)
    before = written(connection)
    ended = cli("submit-many", file_of(GOOD, json_body(case), GOOD))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert len(ended.err) < 500
    assert "line 2: " in ended.err
    assert case.says in ended.err or "it is not JSON" in ended.err
    assert ended.err.endswith("nothing was submitted\n")
    assert written(connection) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "it is not JSON"),
        ("[1]", "a job is an object"),
        ("3", "a job is an object"),
        ("{}", "task is missing"),
        ('{"task": null}', "task is missing"),
        ('{"task": "echo", "colour": 1}', "there is no field 'colour'"),
        ('{"task": "echo", "id": 1}', "there is no field 'id'"),
        ('{"task": 1}', "task is of a wrong type"),
        ('{"task": "echo", "args": [1]}', "args is of a wrong type"),
        ('{"task": "echo", "run_at": "tomorrow"}', "run_at must be a time like"),
        ('{"task": "echo", "args": {"a": "\\u0000"}}', "args.a must not hold NUL"),
        (b'{"task": "echo", "args": {"a": "\xff"}}', "it is not UTF-8, at byte 33"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "it begins with a byte order mark"),
        ('{"task": "echo", "args": {"a": ' + "[" * 100 + "]" * 100 + "}}", "args must not be nested deeper"),
        ('{"task": "echo", "args": {"a": ' + "[" * 100_000 + "}}", "it is not JSON"),
        (json.dumps({"task": "echo", "args": {"a": "x" * MAX_ARGS_BYTES}}), "args must be at most 1 MiB"),
        ('{"task": "echo", "depends_on": [1.5]}', "depends_on"),
    ],
    ids=lambda value: str(value[:30]),
)
def test_a_line_that_is_no_job_is_refused_before_the_database_is_asked(
    bare_cli: Cli, line: str | bytes, says: str
) -> None:
    ended = bare_cli("submit-many", file_of(GOOD, GOOD, line), "--dsn", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert (ended.code, ended.out) == (2, "")
    assert f"line 3: {says}" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_args_of_exactly_1_mib_are_taken_however_they_are_escaped(cli: Cli) -> None:
    text = "\\u0061" * (MAX_ARGS_BYTES - len('{"a": ""}'))
    assert cli("submit-many", file_of(f'{{"task": "echo", "args": {{"a": "{text}"}}}}')).err == "submitted 1 job\n"


def test_what_the_schema_refuses_undoes_the_parts_before_it(
    cli: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "AT_ONCE", 2)
    ended = cli("submit-many", file_of(*numbered(3), '{"task": "echo", "depends_on": [987654321]}'))
    assert ended.code == 2
    assert "line 4: depends_on names job 987654321" in ended.err
    assert ended.err.endswith("nothing was submitted\n")
    assert values(connect()) == []


def test_with_batch_the_lines_before_the_wrong_ones_batch_stay_and_are_named(cli: Cli, connect: Connect) -> None:
    ended = cli("submit-many", file_of(*numbered(5), "{"), "--batch", "2")
    assert ended.code == 2
    assert "line 6: it is not JSON" in ended.err
    assert ended.err.endswith("; lines 1 to 4 are submitted\n")
    assert values(connect()) == [0, 1, 2, 3]
    assert cli("submit-many", file_of("{"), "--batch", "2").err.endswith("; nothing was submitted\n")


@pytest.mark.parametrize(("count", "code"), [(4, 0), (5, 2)])
def test_all_or_none_has_a_bound_that_is_said(
    cli: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch, count: int, code: int
) -> None:
    monkeypatch.setattr(lines, "MOST_LINES", 4)
    ended = cli("submit-many", file_of(*numbered(count)))
    assert ended.code == code
    assert ("--batch 1000" in ended.err) == (code == 2)
    assert len(values(connect())) == (count if code == 0 else 0)


def test_what_is_sent_at_once_is_bounded_in_bytes_too(
    cli: Cli, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BATCH_BYTES", 10)
    ended = cli("submit-many", file_of(*numbered(3), "{"), "--batch", "100")
    assert ended.err.endswith("; lines 1 to 3 are submitted\n")


def test_a_line_without_an_end_is_not_read_into_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 2 * 1024 * 1024)
    ended = cli("submit-many", file_of(GOOD, " " * (2 * 1024 * 1024)))
    assert ended.code == 2
    assert "line 2 has more than 2 MiB" in ended.err


@pytest.mark.parametrize("name", ["nothing.ndjson", "."])
def test_a_file_that_cannot_be_read_is_2(cli: Cli, name: str) -> None:
    ended = cli("submit-many", name)
    assert ended.code == 2
    assert f"{name} cannot be read" in ended.err


@pytest.mark.parametrize("options", [[], ["--batch", "1"]], ids=" ".join)
def test_a_database_that_is_away_is_6_and_one_without_the_schema_7(
    bare_cli: Cli, empty_database: str, options: list[str]
) -> None:
    file = file_of(GOOD)
    for code, dsn in ((6, []), (6, ["--dsn", "postgresql://me@127.0.0.1:1/x"]), (7, ["--dsn", empty_database])):
        ended = bare_cli("submit-many", file, *options, *dsn)
        assert (ended.code, ended.out) == (code, "")
        assert len(ended.err.splitlines()) == 1


def test_an_outage_in_the_middle_says_which_lines_are_submitted_and_which_may_be(
    database: str, connect: Connect
) -> None:
    stream = subprocess.Popen(
        [*COMMAND, "submit-many", "-", "--batch", "2", "--ids"],
        env=environment(DTSCHED_DSN=database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert stream.stdin is not None
        assert stream.stdout is not None
        stream.stdin.write(f"{GOOD}\n".encode() * 2)
        stream.stdin.flush()
        assert [stream.stdout.readline(), stream.stdout.readline()] == [b"1\n", b"2\n"]
        connect().execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'dtsched cli'"
        )
        _, said = stream.communicate(f"{GOOD}\n".encode() * 2, timeout=PATIENCE_SECONDS)
    finally:
        stream.kill()
        stream.wait()
    assert stream.returncode == 6
    assert said.splitlines()[0] == b"stdin: lines 1 to 2 are submitted, those of lines 3 to 4 may be"
    assert b"Traceback" not in said


def test_a_dash_is_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{GOOD}\n{GOOD}\n".encode())))
    assert cli("submit-many", "-").err == "submitted 2 jobs\n"


def test_a_stream_that_falls_silent_ends_with_ctrl_c_and_says_how_far_it_was(database: str, connect: Connect) -> None:
    stream = subprocess.Popen(
        [*COMMAND, "submit-many", "-", "--batch", "2", "--ids"],
        env=environment(DTSCHED_DSN=database),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert stream.stdin is not None
        assert stream.stdout is not None
        stream.stdin.write(f"{GOOD}\n".encode() * 3)
        stream.stdin.flush()
        assert [stream.stdout.readline(), stream.stdout.readline()] == [b"1\n", b"2\n"]
        stream.send_signal(signal.SIGINT)
        _, said = stream.communicate(timeout=PATIENCE_SECONDS)
    finally:
        stream.kill()
        stream.wait()
    assert stream.returncode == 130
    assert said.strip() == b"stdin: lines 1 to 2 are submitted"


def test_a_terminal_shows_how_far_it_is_and_a_log_does_not(database: str) -> None:
    code, text = on_terminal(
        "submit-many", file_of(*numbered(10)), "--batch", "2", columns=100, env={"DTSCHED_DSN": database}
    )
    assert code == 0
    assert "jobs; bytes" in text
    assert text.endswith("submitted 10 jobs\n")


def test_20_000_jobs_go_in_at_once(cli: Cli, connect: Connect) -> None:
    path = file_of(*numbered(20_000))
    with within(20):  # a tenth of what two cores do: 40,000 a second
        assert cli("submit-many", path, "--json").json["submitted"] == 20_000
    assert values(connect()) == list(range(20_000))


BAD = '{"task": "echo", "priority": 11}'
SAYS = "priority must be 1 to 10, not 11"


def test_every_wrong_line_is_named_and_nothing_is_submitted(cli: Cli, connect: Connect) -> None:
    ended = cli("submit-many", file_of(GOOD, BAD, "", "{", BAD))
    assert ended.code == 2
    *others, last = ended.err.splitlines()
    assert [line.partition(": ")[0] for line in others] == ["line 4", "line 5"]
    assert last == f"dtsched: line 2: {SAYS} (refused too: lines 4, 5); nothing was submitted"
    assert values(connect()) == []


def test_lines_that_the_schema_refuses_are_named_by_their_lines(cli: Cli, connect: Connect) -> None:
    held = '{"task": "echo", "key": "k", "on_conflict": "reject"}'
    ended = cli("submit-many", file_of("", held, "", held, held))
    assert ended.code == 4
    first, last = ended.err.splitlines()
    assert first.startswith('line 5: the key "k" is held by line 2: wait')
    assert last.startswith('dtsched: line 4: the key "k" is held by line 2: wait')
    assert last.endswith(" (refused too: line 5); nothing was submitted")
    assert values(connect()) == []


def test_a_partial_file_is_submitted_as_far_as_it_is_right(cli: Cli, connect: Connect) -> None:
    child = '{"task": "echo", "depends_on": [{"entry": 2}]}'
    later = '{"task": "echo", "depends_on": ["p"]}'
    ended = cli("submit-many", file_of("", GOOD, BAD, child, "{", later, '{"task": "echo", "key": "p"}'), "--partial")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        f"line 3: {SAYS}",
        "line 4: depends_on names line 3, which is refused itself",
        "line 5: it is not JSON: Input data was truncated",
        "submitted 3 jobs, refused 3",
    ]
    assert connect().execute("select depends_on from dtsched.jobs order by id").fetchall() == [(None,), ([3],), (None,)]


def test_a_partial_file_in_batches_goes_on_after_a_wrong_line(cli: Cli, connect: Connect) -> None:
    ended = cli("submit-many", file_of(*numbered(3), BAD, *numbered(2)), "--partial", "--batch", "2", "--json")
    assert ended.code == 2
    assert ended.json["refused"] == [{"line": 4, "code": "invalid-input", "error": SAYS, "field": "priority"}]
    assert (ended.json["submitted"], len(values(connect()))) == (5, 5)


def test_a_partial_file_without_a_wrong_line_is_0_and_an_empty_one_too(cli: Cli) -> None:
    ended = cli("submit-many", file_of(GOOD), "--partial", "--json")
    assert (ended.code, ended.json["refused"]) == (0, [])
    assert cli("submit-many", file_of(), "--partial").code == 0


def test_ids_of_refused_lines_are_dashes(cli: Cli) -> None:
    assert cli("submit-many", file_of(BAD, GOOD), "--partial", "--ids").out == "-\n1\n"
