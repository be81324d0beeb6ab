"""Each kind of failure has its exit code, and says in one line on stderr what to do."""

import signal
import subprocess
import time
from collections.abc import Generator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched import migrations
from dtsched.embedded import Cluster
from tests.cli.command import COMMAND, Ended, environment, run, start
from tests.cli.conftest import Cli
from tests.support.patience import PATIENCE_SECONDS
from tests.support.servers import temporary_cluster

NOBODY = "postgresql://somebody:secret-word@127.0.0.1:1/nowhere"
SERVING = (["worker", "-A", "dtsched.workers.builtin:app"], ["api", "--port", "0"])
OF_A_JOB = (
    ["show", "1"],
    ["watch", "1"],
    ["result", "1"],
    ["why", "1"],
    ["cancel", "1"],
    ["retry", "1"],
    ["run-now", "1"],
    ["reschedule", "1", "--in", "1h"],
    ["delete", "1"],
)
READING = (
    *OF_A_JOB,
    ["list"],
    ["watch", "state:failed"],
    ["delete", "--where", "state:failed", "--yes"],
    ["delete", "--where", "state:failed", "--dry-run"],
    ["submit", "echo"],
    ["migrate", "status"],
    ["migrate", "check"],
)


def assert_one_line(ended: Ended, *words: str) -> None:
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err
    assert "secret-word" not in ended.err + ended.out
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize("arguments", [*READING, ["migrate", "up"]], ids=" ".join)
def test_no_database_named_is_6(bare_cli: Cli, arguments: list[str]) -> None:
    ended = bare_cli(*arguments)
    assert ended.code == 6
    assert_one_line(ended, "--dsn", "DTSCHED_DSN")


@pytest.mark.parametrize("arguments", [*READING, ["migrate", "up"]], ids=" ".join)
def test_a_database_that_does_not_answer_is_6(bare_cli: Cli, arguments: list[str]) -> None:
    ended = bare_cli(*arguments, "--dsn", NOBODY)
    assert ended.code == 6
    assert_one_line(ended, "DTSCHED_DSN")


@pytest.mark.parametrize("arguments", SERVING, ids=" ".join)
def test_what_would_serve_a_database_that_does_not_answer_is_6(arguments: list[str]) -> None:
    ended = run(*arguments, "--dsn", NOBODY)
    assert ended.code == 6
    assert_one_line(ended, "DTSCHED_DSN")


@pytest.fixture(scope="module")
def guarded() -> Generator[str]:
    """The DSN of a server that is known to ask for passwords: a migrated one, by functions of another version."""
    with temporary_cluster() as cluster:
        migrations.up(cluster.dsn)
        with psycopg.connect(cluster.dsn, autocommit=True) as owner:
            owner.execute("create role bob login password 'secret-word'")
            owner.execute("update dtsched.installed set functions_digest = 'of another version'")
        yield cluster.dsn


@pytest.mark.parametrize("arguments", [["list"], ["migrate", "up"], *SERVING], ids=" ".join)
def test_a_wrong_password_is_6(guarded: str, arguments: list[str]) -> None:
    wrong = guarded.replace(f":{urlsplit(guarded).password}@", ":secret-word@")
    ended = run(*arguments, env={"DTSCHED_DSN": wrong})
    assert ended.code == 6
    assert_one_line(ended, "password")


def test_a_database_that_is_not_there_is_6(database: str) -> None:
    ended = run("list", "--dsn", urlsplit(database)._replace(path="/not_there").geturl())
    assert ended.code == 6
    assert_one_line(ended, "create it")


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_missing_schema_is_7(bare_cli: Cli, empty_database: str, arguments: list[str]) -> None:
    ended = bare_cli(*arguments, "--dsn", empty_database)
    assert ended.code == 7
    assert "migrate up" in ended.err + ended.out


@pytest.mark.parametrize("arguments", SERVING, ids=" ".join)
def test_what_would_serve_a_missing_schema_is_7(empty_database: str, arguments: list[str]) -> None:
    ended = run(*arguments, env={"DTSCHED_DSN": empty_database})
    assert ended.code == 7
    assert_one_line(ended, "migrate up")


@pytest.mark.parametrize("arguments", [["list"], ["submit", "echo"], *SERVING], ids=" ".join)
def test_a_schema_that_is_too_old_is_7(database: str, arguments: list[str]) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update dtsched.installed set contract = 0")
    ended = run(*arguments, env={"DTSCHED_DSN": database})
    assert ended.code == 7
    assert_one_line(ended, "migrate up")


def test_a_schema_that_is_too_new_is_7(cli: Cli, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update dtsched.installed set contract = 1000")
    ended = cli("list")
    assert ended.code == 7
    assert_one_line(ended, "upgrade")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["list", "--nonsense"],
        ["show"],
        ["show", "x"],
        ["list", "state:lost"],
        ["list", "color:red"],
        ["list", "--limit", "0"],
        ["list", "--before", "x"],
        ["list", "--before", "0"],
        ["watch"],
        ["watch", "0"],
        ["watch", "1", "state:failed"],
        ["watch", "1", "--timeout", "soon"],
        ["result", "1", "--timeout", "soon"],
        ["cancel"],
        ["cancel", "1", "--where", "state:failed"],
        ["cancel", "1", "--dry-run"],
        ["cancel", "--where", "state:lost", "--yes"],
        ["cancel", "--where", "1", "--yes"],
        ["cancel", "--where", " ", "--yes"],
        ["cancel", "--where", "state:failed"],
        ["reschedule", "1"],
        ["reschedule", "1", "--in", "1h", "--at", "2030-01-01"],
        ["reschedule", "1", "--in", "400d"],
        ["reschedule", "1", "--at", "1969-12-31T00:00Z"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(refusing_cli: Cli, arguments: list[str]) -> None:
    ended = refusing_cli(*arguments)
    assert ended.code == 2
    assert_one_line(ended)


@pytest.mark.parametrize("arguments", OF_A_JOB, ids=" ".join)
@pytest.mark.parametrize("job_id", ["x", "-5", "0", "1.5"])
def test_what_is_no_id_is_2(refusing_cli: Cli, arguments: list[str], job_id: str) -> None:
    name, _, *rest = arguments
    ended = refusing_cli(name, job_id, *rest)
    assert ended.code == 2
    assert_one_line(ended)


@pytest.mark.parametrize("arguments", OF_A_JOB, ids=" ".join)
@pytest.mark.parametrize("job_id", ["12345", str(2**63 - 1), str(2**63)])
def test_an_id_that_no_job_has_is_3(refusing_cli: Cli, arguments: list[str], job_id: str) -> None:
    name, _, *rest = arguments
    ended = refusing_cli(name, job_id, *rest)
    assert ended.code == 3
    assert job_id in ended.out + ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["-A", "dtsched.workers.nothing:app"],
        ["-A", "dtsched.workers.builtin:nothing"],
        ["-A", "dtsched.workers.builtin"],
        ["-A", "dtsched.workers.builtin:app", "-q", "mail:0"],
        ["-A", "dtsched.workers.builtin:app", "-q", "mail:1", "-q", "mail:2"],
        ["-A", "dtsched.workers.builtin:app", "--lease", "soon"],
    ],
    ids=" ".join,
)
def test_a_worker_that_cannot_be_meant_is_2(refusing_cli: Cli, arguments: list[str]) -> None:
    ended = refusing_cli("worker", *arguments)
    assert ended.code == 2
    assert_one_line(ended)


def test_a_job_that_had_ended_is_4_to_cancel(cli: Cli) -> None:
    job_id = cli("submit", "echo").out.strip()
    assert cli("cancel", job_id).code == 0
    assert cli("cancel", job_id).code == 4


def test_waiting_for_a_job_that_is_cancelled_is_5(database: str, cli: Cli) -> None:
    waiting = start("submit", "echo", "--wait", env={"DTSCHED_DSN": database})
    while not cli("list", "--json").json["jobs"]:
        time.sleep(0.02)
    assert cli("cancel", str(cli("list", "--json").json["jobs"][0]["id"])).code == 0
    _, talk = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 5
    assert "cancelled" in talk


def test_waiting_longer_than_asked_is_124_and_the_job_goes_on(cli: Cli) -> None:
    ended = cli("submit", "echo", "--wait-timeout", "100ms")
    assert ended.code == 124
    assert ended.out == ""
    assert cli("list", "--json").json["jobs"][0]["state"] == "ready"


def test_ctrl_c_is_130(database: str, cli: Cli) -> None:
    waiting = start("submit", "echo", "--wait", env={"DTSCHED_DSN": database})
    while not cli("list", "--json").json["jobs"]:
        time.sleep(0.02)
    time.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    _, talk = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert waiting.returncode == 130
    assert f"job {cli('list', '--json').json['jobs'][0]['id']} goes on" in talk
    assert "Traceback" not in talk


@pytest.mark.parametrize("options", [[], ["--json"]], ids=" ".join)
def test_output_that_cannot_be_written_is_1(database: str, cli: Cli, options: list[str]) -> None:
    cli("submit", "echo")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*COMMAND, "list", *options],
            env=environment(DTSCHED_DSN=database),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert_one_line(Ended(1, "", ended.stderr), "cannot be written", "No space left")


def test_a_reader_that_has_seen_enough_is_no_error(database: str, cli: Cli) -> None:
    cli("submit", "echo", "value=1")
    listing = start("list", "--json", env={"DTSCHED_DSN": database})
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None
    with listing.stderr as talk:
        assert talk.read() == ""
    assert listing.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_server_that_goes_away_in_the_middle_is_6(cluster: Cluster) -> None:
    waiting = start("submit", "echo", "--wait", env={"DTSCHED_DSN": cluster.dsn})
    wait_for_a_job(cluster.dsn)
    cluster.stop("immediate")
    try:
        _, talk = waiting.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        waiting.kill()
        raise
    assert waiting.returncode == 6
    assert "Traceback" not in talk


def wait_for_a_job(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute("select count(*) from dtsched.jobs").fetchone() == (0,):
            time.sleep(0.02)


@pytest.mark.parametrize("arguments", [["list"], ["submit", "echo"], ["migrate", "up"]], ids=" ".join)
def test_a_user_without_rights_is_6_and_told_which(guarded: str, arguments: list[str]) -> None:
    ended = run(*arguments, env={"DTSCHED_DSN": make_conninfo(guarded, user="bob", password="secret-word")})
    assert ended.code == 6
    assert_one_line(ended, "does not let this user", "permission denied")


def test_an_id_that_no_job_can_have_is_3(refusing_cli: Cli) -> None:
    ended = refusing_cli("show", "99999999999999999999")
    assert ended.code == 3
    assert_one_line(ended, "there is no job 99999999999999999999")
