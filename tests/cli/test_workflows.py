"""`dtsched workflow`, and how `dtsched submit` names parents."""

from pathlib import Path

from tests.cli.conftest import Cli
from tests.cli.terminal import on_terminal
from tests.conftest import Connect


def create(connect: Connect) -> int:
    row = connect().execute("select dtsched.create_workflow('etl')").fetchone()
    assert row is not None
    return row[0]


def test_a_workflow_is_listed_shown_cancelled_and_retried(cli: Cli, connect: Connect) -> None:
    workflow = f"{create(connect)}"
    parent = cli("submit", "echo", "--workflow", workflow).out.strip()
    child = cli("submit", "echo", "--workflow", workflow, "--depends-on", parent).out.strip()
    head, line = (line.split("\t") for line in cli("workflow", "list").out.splitlines())
    assert dict(zip(head, line, strict=True)) | {"created": ""} == {
        "id": workflow, "name": "etl", "state": "running", "progress": "0%", "jobs": "2", "failed": "0", "created": "",
    }  # fmt: skip
    shown = cli("workflow", "show", workflow).out
    assert "progress    0% of 2 jobs\n" in shown
    assert "blocked     1\n" in shown
    assert {job["id"] for job in cli("list", f"workflow:{workflow}", "--json").json["jobs"]} == {
        int(parent),
        int(child),
    }
    cancelled = cli("workflow", "cancel", workflow)
    assert (cancelled.code, cancelled.out) == (0, "outcome\tjobs\tmeaning\ncancelled\t2\tit will not run\n")
    assert cli("workflow", "show", workflow, "--json").json["state"] == "cancelled"
    assert cli("workflow", "retry", workflow, "--json").json == {"id": int(workflow), "outcomes": {"retried": 2}}


def test_a_workflow_is_made_and_has_nothing_to_cancel_or_retry_yet(cli: Cli) -> None:
    made = cli("workflow", "create", "etl", "--json").json
    assert (made["name"], made["state"], made["jobs"]["total"]) == ("etl", "completed", 0)
    assert cli("workflow", "create", "etl").out == f"{made['id'] + 1}\n"
    for verb, nothing in (("cancel", "waits or runs"), ("retry", "has failed or was cancelled")):
        ended = cli("workflow", verb, f"{made['id']}")
        assert (ended.code, ended.out, ended.err) == (0, "", f"no job of workflow {made['id']} {nothing}\n")
    refused = cli("workflow", "create", "")
    assert (refused.code, "name must be 1 to 128 characters" in refused.err) == (2, True)
    assert "'x' is no id of a workflow: ids are numbers from 1 on" in cli("workflow", "show", "x").err


def test_a_terminal_is_shown_a_bar(cli: Cli, connect: Connect, database: str) -> None:
    workflow = f"{create(connect)}"
    cli("cancel", cli("submit", "echo", "--workflow", workflow).out.strip())
    cli("submit", "echo", "--workflow", workflow)
    _, out = on_terminal("workflow", "show", workflow, columns=100, env={"DTSCHED_DSN": database})
    assert "\u2588" * 15 + "\u2591" * 15 + " 50% of 2 jobs" in out


def test_what_is_not_there_is_3(cli: Cli) -> None:
    for verb in ("show", "cancel", "retry"):
        ended = cli("workflow", verb, "7")
        assert (ended.code, ended.err) == (3, "dtsched: there is no workflow 7\n")
    refused = cli("submit", "echo", "--workflow", "7")
    assert (refused.code, "there is no workflow 7" in refused.err) == (2, True)


def test_the_policy_of_an_edge_stands_behind_the_parent(cli: Cli) -> None:
    parent = cli("submit", "echo", "--key", "a:run").out.strip()
    children = [
        cli("submit", "echo", "--depends-on", named).out.strip()
        for named in (f"{parent}:run", "a:run:skip", parent, f"{parent}:cancel")
    ]
    cli("cancel", parent)
    jobs = [cli("show", child, "--json").json for child in children]
    found = [(job["state"], job["skipped"]) for job in jobs]
    assert found == [("ready", False), ("cancelled", True), ("cancelled", False), ("cancelled", False)]


def test_a_graph_in_a_file_names_its_jobs_by_their_places(cli: Cli) -> None:
    Path("jobs.ndjson").write_text('{"task": "echo", "depends_on": [{"entry": 2}]}\n{"task": "echo"}\n')
    assert cli("submit-many", "jobs.ndjson").code == 0
    assert cli("show", "1", "--json").json["depends_on"] == [2]
