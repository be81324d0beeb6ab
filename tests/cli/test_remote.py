"""The command line over both doors: what it prints and how it ends over the database is so over the REST API."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from tests.cli.command import Ended, environment
from tests.cli.conftest import Cli
from tests.support.bad_input import declare
from tests.support.rest import serving
from tests.support.servers import Databases

LINES = """\
{"task": "echo", "key": "line-1"}
{"task": "echo", "depends_on": ["line-1"]}
"""
WRONG_LINES = """\
{"task": "echo"}
{"task": "nosuch"}
{"task": "echo", "priority": 11}
"""

BEGUN = """select dtsched.create_operation('retry', '{"queue": "mail"}')"""

# What each line begins with is a job's id where it is one; jobs are numbered from 1 in both databases.
COMMANDS = """\
submit echo value=1
submit echo text=a --json --key k --in 1h --tag t
submit echo text=b --key k
submit echo text=b --key k --on-conflict reject
submit nosuch
submit echo --priority 11
submit echo --depends-on 2:run --depends-on 1
submit echo --depends-on 999
submit-many {lines}
submit-many {lines} --ids
submit-many {wrong}
submit-many {wrong} --partial --json
submit-many {wrong} --batch 1
list
list state:scheduled --json
list state:ready --limit 1
list id:7 args.value:1
list stat:failed
show 1
show 2 --json
show 999
why 3
why 999 --json
result 1
result 999
logs 1
logs 999
watch 999
watch 1 --timeout 50ms
submit echo --wait-timeout 10ms
cancel 1 999
cancel 1
retry 1 2
run-now 2 1
reschedule 2 --at 2030-01-31T09:00:00Z
reschedule 2 --in 1h --json
edit 2 --set priority=9 --set args.text=z
edit 2 --set priority=11
cancel --where state:ready --dry-run
cancel --where state:ready --yes
retry --where state:cancelled --yes --json
delete --where state:cancelled --yes
delete 2 999
emit paid:42 {{"amount":5}}
emit paid:42 --json
queue pause mail
queue pause mail other
queue list
queue show mail --json
queue show nobody
queue resume mail
queue set mail limit=5 rate=10/s retention.failed=30d
queue set mail limit=-1
queue limit mail none
queue drain other --timeout 1s
queue retention mail --failed forever
queue retention --completed 1d
queue retention --completed soon
limit set tenant/7 3 --rate 10/s --json
limit show tenant/7
limit show nobody --json
limit list
schedule add daily 0_9_*_*_* echo
schedule add daily 0_9_*_*_* nosuch
schedule pause daily
schedule pause daily nobody
schedule list
schedule show daily
schedule next daily --count 2
schedule resume daily
schedule run daily
schedule remove daily nobody
schedule remove daily
schedule show daily
workflow create etl
workflow list
workflow show 1
workflow show 999
workflow cancel 999
workflow cancel 1
operation list
operation list --before 1 --json
operation show 1
operation show 999
operation cancel 1
operation cancel 999
task list
task show echo --json
task show nobody
workers list
workers show nobody
stats
prune --dry-run
prune
"""


@pytest.fixture
def other_database(databases: Databases, template: str) -> Generator[str]:
    name = databases.clone(template)
    yield databases.dsn(name)
    databases.drop(name)


def plain(ended: Ended) -> tuple[int, str, str]:
    """Without what differs from one moment, and from one database, to the next."""
    out, err = (re.sub(_MOMENTARY, "~", text) for text in (ended.out, ended.err))
    return ended.code, out, err


_MOMENTARY = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:\d\d)?)?|\b\d\d:\d\d:\d\d\b|[0-9a-f]{32}"
    r"|\b\d+(\.\d+)?( s|s)\b|\d+\.\d{3,}"
)


def test_every_verb_says_and_ends_alike_over_both(
    bare_cli: Cli, database: str, other_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, wrong = tmp_path / "lines.ndjson", tmp_path / "wrong.ndjson"
    lines.write_text(LINES)
    wrong.write_text(WRONG_LINES)
    for dsn in (database, other_database):
        with psycopg.connect(dsn, autocommit=True) as connection:
            declare(connection)
            connection.execute(BEGUN)
            connection.execute("select dtsched.cancel_operation(1)")
    with serving(other_database) as url:
        for command in COMMANDS.splitlines():
            arguments = [word.replace("_", " ") if "*" in word else word for word in command.split()]
            arguments = [word.format(lines=lines, wrong=wrong) if "{" in word else word for word in arguments]
            monkeypatch.delenv("DTSCHED_URL", raising=False)
            monkeypatch.setenv("DTSCHED_DSN", database)
            over_database = bare_cli(*arguments)
            monkeypatch.delenv("DTSCHED_DSN")
            monkeypatch.setenv("DTSCHED_URL", url)
            assert plain(bare_cli(*arguments)) == plain(over_database), command


def test_one_transaction_over_rest_is_of_10_000_lines(bare_cli: Cli, database: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.ndjson"
    path.write_text('{"task": "echo"}\n' * 10_001)
    with serving(database) as url:
        refused = bare_cli("submit-many", str(path), "--dsn", url)
        assert (refused.code, "over REST at most 10000 jobs are submitted at once" in refused.err) == (2, True)
        assert bare_cli("submit-many", str(path), "--dsn", url, "--batch", "10000").code == 0


@pytest.mark.parametrize("command", ["worker", "migrate up", "psql", "api", "key list", "key revoke ci"])
def test_what_needs_postgresql_itself_says_so(bare_cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_URL", "http://127.0.0.1:9")
    app = ["-A", "workers.builtin:app"] if "worker" in command else []
    ended = bare_cli(*command.split(), *app)
    assert "this talks to PostgreSQL itself, and not over REST: set DTSCHED_DSN" in ended.err
    assert ended.code in (6, 1)


def test_an_operation_under_way_is_cancelled_over_rest(
    bare_cli: Cli, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(database) as url, psycopg.connect(database) as connection:
        monkeypatch.setenv("DTSCHED_URL", url)
        assert connection.execute(BEGUN).fetchone() == (1,)
        connection.commit()
        ended = bare_cli("operation", "cancel", "1")
        shown = bare_cli("operation", "show", "1")
    assert ended.code in (0, 4)  # the server may have been quicker: there is nothing to retry
    assert ("cancelled" if ended.code == 0 else "completed") in shown.out


def test_a_url_that_is_none_is_refused_by_its_setting(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_URL", "ftp://jobs.example.org")
    ended = bare_cli("list")
    assert (ended.code, "(DTSCHED_URL) must be like https://jobs.example.org" in ended.err) == (2, True)


def test_a_key_that_is_wrong_is_told_from_one_that_is_missing(
    bare_cli: Cli, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTSCHED_DSN", database)
    assert bare_cli("key", "create", "ci", "--scope", "submit").code == 0
    monkeypatch.delenv("DTSCHED_DSN")
    with serving(database) as url:
        monkeypatch.setenv("DTSCHED_URL", url)
        missing = bare_cli("list")
        monkeypatch.setenv("DTSCHED_KEY", "dts_x2b7q9k4m1ce_5f0c")
        wrong = bare_cli("list")
    assert (missing.code, wrong.code) == (6, 6)
    assert missing.err.endswith("wants an API key: set DTSCHED_KEY to one that `dtsched key create` made\n")
    assert wrong.err.endswith("refuses the key in DTSCHED_KEY: it is unknown, or was revoked, or its time is over\n")


def test_a_server_that_is_not_there_is_named_and_its_key_is_not(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DTSCHED_KEY", "dts_secret")
    ended = bare_cli("list")
    assert (ended.code, "the server at http://127.0.0.1:9 cannot be reached" in ended.err) == (6, True)
    assert "secret" not in ended.err


def test_the_url_of_something_else_is_told_from_a_server(bare_cli: Cli, database: str) -> None:
    with serving(database) as url:
        ended = bare_cli("show", "1", "--dsn", f"{url}/v1")
        assert (ended.code, "check DTSCHED_URL" in ended.err) == (6, True)


def test_a_schema_that_is_missing_is_exit_code_7_over_rest_too(bare_cli: Cli, empty_database: str) -> None:
    with serving(empty_database) as url:
        assert bare_cli("list", "--dsn", url).code == 7


def test_the_nearer_setting_decides_and_config_says_which(
    bare_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTSCHED_DSN", "postgresql:///jobs")
    assert bare_cli("config", "show").err == ""
    monkeypatch.setenv("DTSCHED_URL", "https://jobs.example.org")
    assert bare_cli("config", "show").err == (
        "commands ask the database: the DSN (environment) goes before the URL (environment)\n"
    )
    monkeypatch.delenv("DTSCHED_DSN")
    (tmp_path / ".env").write_text("DTSCHED_DSN=postgresql:///jobs\n")
    over = "commands ask the server at https://jobs.example.org over REST, "
    assert bare_cli("config", "show").err == over + "without a key: DTSCHED_KEY is not set\n"
    monkeypatch.setenv("DTSCHED_KEY", "dts_secret")
    assert bare_cli("config", "show").err == over + "with the key in DTSCHED_KEY\n"


def test_help_and_commands_of_the_database_do_not_load_the_client_of_http(database: str) -> None:
    program = "import sys; from dtsched.cli import main; main(['list']); print('httpx' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(DTSCHED_DSN=database),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1] == "False", ended.stderr
