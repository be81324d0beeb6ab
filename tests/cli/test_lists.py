"""`dtsched list`: the filter language, pages, and how a list looks on a terminal and elsewhere."""

import signal

import msgspec
import pytest

from tests.cli.command import start
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.conftest import Connect

LONG_ERROR = "Timeout while reading the response of a very slow server " * 6


def submit(connect: Connect, count: int, task: str = "echo", queue: str = "default") -> list[int]:
    rows = connect().execute(
        "insert into dtsched.jobs (task, queue) select %s, %s from generate_series(1, %s) returning id",
        [task, queue, count],
    )
    return [row[0] for row in rows]


def listed(cli: Cli, *arguments: str) -> list[int]:
    return [job["id"] for job in cli("list", *arguments, "--json").json["jobs"]]


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        (["args.user.id:42"], True),
        (["args.user.id:43"], False),
        (["tag:b,c", "priority:9"], True),
        (["key:order 1"], True),
        (['key:"order 1" tag:b'], True),
        (["since:1h"], True),
        (["until:1h"], False),
        (["state:pending"], True),
        (["state:failed,running"], False),
    ],
)
def test_the_whole_filter_language_is_understood(cli: Cli, terms: list[str], fits: bool) -> None:
    job_id = cli("submit", "echo", 'user={"id": 42}', "--tag", "b", "--priority", "9", "--key", "order 1").out.strip()
    assert listed(cli, *terms) == ([int(job_id)] if fits else [])


def test_a_limit_beyond_a_page_fetches_pages_until_it_is_reached(cli: Cli, connect: Connect) -> None:
    ids = submit(connect, 450)[::-1]
    some = cli("list", "--limit", "401", "--json").json
    assert ([job["id"] for job in some["jobs"]], some["next"]) == (ids[:401], str(ids[400]))
    rest = cli("list", "--limit", "401", "--before", some["next"], "--json").json
    assert ([job["id"] for job in rest["jobs"]], rest["next"]) == (ids[401:], None)
    assert len(cli("list", "--limit", "1000").out.splitlines()) == 451
    assert len(cli("list").out.splitlines()) == 51


def test_an_empty_page_is_not_taken_for_the_end(cli: Cli, connect: Connect) -> None:
    """The schema looks at 100,000 jobs for a page."""
    (oldest,) = submit(connect, 1, task="needle")
    connection = connect()
    connection.execute("set session_replication_role = replica")  # nothing is to run them
    connection.execute("insert into dtsched.jobs (task) select 'hay' from generate_series(1, 250000)")
    assert listed(cli, "task:needle") == [oldest]


def test_an_id_to_begin_below_may_be_larger_than_any(cli: Cli, connect: Connect) -> None:
    (job,) = submit(connect, 1)
    assert listed(cli, "--before", str(2**63)) == [job]


def test_an_empty_list_is_a_document_too(cli: Cli) -> None:
    assert cli("list", "--json").json == {"jobs": [], "next": None}
    assert cli("list").out.splitlines() == ["id\tstate\tqueue\ttask\tattempt\tcreated\terror"]


def test_elsewhere_than_on_a_terminal_an_error_is_whole_and_on_one_line(cli: Cli, connect: Connect) -> None:
    (job,) = submit(connect, 1)
    connect().execute("update dtsched.jobs set error = %s where id = %s", [f"{LONG_ERROR}\nand\tmore", job])
    _, line = cli("list").out.splitlines()
    assert line.split("\t")[6] == rf"{LONG_ERROR}\nand\tmore"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (60, "id state task error"),
        (80, "id state queue task attempt error"),
        (100, "id state queue task attempt created error"),
        (200, "id state queue task attempt created error"),
    ],
)
def test_a_list_fits_the_terminal(database: str, connect: Connect, columns: int, names: str) -> None:
    (job,) = submit(connect, 1, task="send_the_monthly_newsletter_to_everybody", queue="newsletters_and_others")
    connect().execute("update dtsched.jobs set error = %s where id = %s", [LONG_ERROR, job])
    code, text = on_terminal("list", columns=columns, env={"DTSCHED_DSN": database})
    header, _, line = text.rstrip("\n").split("\n")
    assert code == 0
    assert header.split() == names.split()
    assert max(map(len, text.split("\n"))) <= columns
    assert line.split()[:2] == [str(job), "ready"]
    assert line.rstrip().endswith("…")


def test_ctrl_c_ends_a_long_search_with_what_it_has_found(database: str, connect: Connect) -> None:
    connection = connect()
    connection.execute("set session_replication_role = replica")
    connection.execute("insert into dtsched.jobs (task) select 'hay' from generate_series(1, 250000)")
    connection.execute("insert into dtsched.jobs (task) values ('needle')")
    connection.execute("begin")
    listing = start("list", "task:needle", "--json", env={"DTSCHED_DSN": database})
    assert listing.stdout is not None
    first = listing.stdout.read(9)  # the first page is there
    connection.execute("lock table dtsched.jobs in access exclusive mode")  # after the second, before the third
    listing.send_signal(signal.SIGINT)
    document = first + listing.stdout.read()
    _, talk = listing.communicate(timeout=20)
    connection.execute("rollback")
    assert listing.returncode == 130, talk
    assert [job["task"] for job in msgspec.json.decode(document)["jobs"]] == ["needle"]
    assert "Traceback" not in talk
