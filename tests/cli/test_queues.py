"""`dtsched queue`, `dtsched workers list` and `show`, and `dtsched stats`: what is waiting, and who works."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from dtsched.overview import Queue, Stats, WorkerRecord
from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.conftest import Connect

FIGURES = {"system_info": {"cpu_usage": 12.4, "memory_usage": 50, "disk_usage": 99.6}, "host": "here"}


def register(
    connection: psycopg.Connection[Any], name: str, *, slots: int = 4, info: object = FIGURES, expired: bool = False
) -> UUID:
    worker = uuid4()
    connection.execute(
        "select dtsched.register_worker(%s, %s, '{default,mail}', '{echo}', %s, interval '1 min', %s::jsonb)",
        [worker, name, slots, msgspec.json.encode(info).decode()],
    )
    if expired:
        connection.execute("update dtsched.workers set expires_at = now() - interval '1 h' where id = %s", [worker])
    return worker


def paused(cli: Cli, name: str) -> bool:
    return cli("queue", "show", name, "--json").json["paused_at"] is not None


def test_queues_are_listed_with_what_waits_in_them(cli: Cli) -> None:
    for arguments in (["--queue", "mail"], ["--queue", "mail", "--in", "1h"], []):
        cli("submit", "echo", *arguments)
    queues = msgspec.convert(cli("queue", "list", "--json").json, list[Queue])
    assert [(queue.name, queue.ready, queue.scheduled) for queue in queues] == [("default", 1, 0), ("mail", 1, 1)]
    head, first, second = (line.split("\t") for line in cli("queue", "list").out.splitlines())
    assert dict(zip(head, second, strict=True))["scheduled"] == "1"
    assert (first[0], second[0]) == ("default", "mail")


def test_a_queue_is_shown_and_an_unknown_one_is_3(cli: Cli) -> None:
    cli("submit", "echo", "--queue", "mail")
    assert "ready         1\n" in cli("queue", "show", "mail").out
    assert cli("queue", "show", "mail", "--json").json["ready"] == 1
    unknown = cli("queue", "show", "nosuch")
    assert (unknown.code, unknown.err) == (3, "dtsched: there is no queue nosuch\n")


def test_pausing_and_resuming_say_what_they_changed_and_may_be_repeated(cli: Cli) -> None:
    first = cli("queue", "pause", "mail", "slow", "mail")
    assert (first.code, first.out) == (0, "name\toutcome\nmail\tpaused\nslow\tpaused\n")
    again = cli("queue", "pause", "mail", "--json")
    assert (again.code, again.json) == (0, [{"name": "mail", "paused": True, "changed": False}])
    assert (paused(cli, "mail"), paused(cli, "slow")) == (True, True)
    assert "paused since" in cli("queue", "show", "mail").out
    resumed = cli("queue", "resume", "mail", "other")
    assert (resumed.code, resumed.out) == (0, "name\toutcome\nmail\tresumed\nother\twas not paused\n")
    assert (paused(cli, "mail"), paused(cli, "slow")) == (False, True)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_name_that_cannot_be_one_leaves_all_queues_as_they_are(cli: Cli, verb: str) -> None:
    ended = cli("queue", verb, "mail", "a b")
    assert ended.code == 2
    assert "queue must be 1 to 128 characters" in ended.err
    assert cli("queue", "list", "--json").json == []
    assert cli("queue", verb).code == 2


def test_workers_are_listed_with_their_machines_figures(cli: Cli, connect: Connect) -> None:
    connection = connect()
    register(connection, "one")
    register(connection, "two", info={"system_info": {"cpu_usage": "much"}}, expired=True)
    head, *rows = (line.split("\t") for line in cli("workers", "list").out.splitlines())
    one, two = (dict(zip(head, row, strict=True)) for row in rows)
    assert (one["name"], one["state"], one["queues"], one["running"]) == ("one", "active", "default,mail", "0/4")
    assert (one["cpu"], one["memory"], one["disk"]) == ("12%", "50%", "100%")
    assert (two["state"], two["cpu"], two["memory"]) == ("lost", "", "")
    assert two["seen"].startswith("1:01:")


@pytest.mark.parametrize(("state", "names"), [("active", ["one"]), ("lost", ["two"]), ("draining", ["three"])])
def test_workers_can_be_listed_by_state(cli: Cli, connect: Connect, state: str, names: list[str]) -> None:
    connection = connect()
    register(connection, "one")
    register(connection, "two", expired=True)
    connection.execute("update dtsched.workers set draining = true where id = %s", [register(connection, "three")])
    listed = msgspec.convert(cli("workers", "list", "--state", state, "--json").json, list[WorkerRecord])
    assert [worker.name for worker in listed] == names


def test_a_worker_is_shown_by_its_id_or_its_name(cli: Cli, connect: Connect) -> None:
    worker = register(connect(), "one")
    assert cli("workers", "show", str(worker), "--json").json["name"] == "one"
    assert cli("workers", "show", "one", "--json").json["id"] == str(worker)
    said = cli("workers", "show", "one").out
    assert "running                        0 of 4 slots\n" in said
    assert "info.system_info.cpu_usage     12.4\n" in said
    for unknown in ("nobody", str(uuid4())):
        ended = cli("workers", "show", unknown)
        assert (ended.code, ended.err) == (3, f"dtsched: there is no worker {unknown}\n")


def test_of_several_workers_of_a_name_the_living_one_is_shown(cli: Cli, connect: Connect) -> None:
    connection = connect()
    register(connection, "one", expired=True)
    living = register(connection, "one")
    connection.execute("update dtsched.workers set started_at = now() - interval '1 d' where id = %s", [living])
    ended = cli("workers", "show", "one", "--json")
    assert ended.json["id"] == str(living)
    assert "2 workers are called one" in ended.err


def test_stats_are_the_figures_of_the_schema(cli: Cli, connect: Connect) -> None:
    cli("submit", "echo")
    cli("submit", "echo", "--in", "1h")
    register(connect(), "one")
    stats = msgspec.convert(cli("stats", "--json").json, Stats)
    assert (stats.jobs.ready, stats.jobs.scheduled, stats.workers.slots) == (1, 1, 4)
    said = cli("stats").out
    assert "1 ready, 0 running, 1 scheduled, 0 blocked" in said
    assert "1 active, 0 draining, 0 lost; 0 of 4 slots taken (0%)" in said
    assert "ran                nothing to tell yet" in said


@pytest.mark.parametrize("columns", [50, 80, 140])
@pytest.mark.parametrize("command", ["queue list", "workers list", "stats"])
def test_tables_fit_the_terminal(cli: Cli, database: str, connect: Connect, command: str, columns: int) -> None:
    cli("submit", "echo", "--queue", "q" * 100)
    register(connect(), "w" * 100)
    code, text = on_terminal(*command.split(), columns=columns, env={"DTSCHED_DSN": database})
    assert code == 0
    figures = text.split("\n\n")[-1] if command == "stats" else text
    assert max(map(len, figures.splitlines())) <= columns
