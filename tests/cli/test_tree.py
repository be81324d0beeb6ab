"""All commands there are: each that prints data prints it as JSON on request, and talks on stderr alone."""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
import psycopg
import pytest

from dtsched.cli import COMMANDS, load, main
from tests.cli.conftest import Cli
from tests.cli.test_queues import register
from tests.support.servers import Databases

TESTS = Path(__file__).parent.parent

WITHOUT_JSON = {
    "api": "serves, and prints nothing",
    "completion": "prints a script",
    "dev": "runs what serves, and prints nothing",
    "migrate sql": "prints a script",
    "openapi": "prints JSON and nothing else",
    "psql": "prints what psql prints",
    "worker": "serves, and prints nothing",
    "workers stop": "prints nothing: what became of them is talk",
}

ELSEWHERE = {
    "bench": "cli/test_bench.py",
    "demo": "demo/test_demo.py",
    "logs": "cli/test_logs.py",
    "torture": "cli/test_torture.py",
    "workers start": "cli/test_workers_local.py",
}
"""What takes processes of its own is run with --json by the tests that wait for them anyway."""


class Sample(NamedTuple):
    arguments: str = ""
    code: int = 0


SAMPLES = {
    "migrate up": Sample(),
    "migrate down": Sample("--yes"),
    "migrate status": Sample(),
    "migrate check": Sample(),
    "workers list": Sample(),
    "workers show": Sample("a-worker"),
    "workers status": Sample(),
    "submit": Sample("echo value=1"),
    "submit-many": Sample("jobs.ndjson"),
    "list": Sample(),
    "show": Sample("1"),
    "watch": Sample("3", code=5),
    "result": Sample("3", code=5),
    "why": Sample("1"),
    "cancel": Sample("1"),
    "retry": Sample("3"),
    "run-now": Sample("2"),
    "reschedule": Sample("2 --in 2h"),
    "delete": Sample("1"),
    "emit": Sample("paid:42 {}"),
    "edit": Sample("2 --set priority=9"),
    "prune": Sample(),
    "queue retention": Sample("mail --completed 1h"),
    "queue list": Sample(),
    "queue show": Sample("mail"),
    "queue pause": Sample("mail"),
    "queue resume": Sample("mail"),
    "queue set": Sample("mail limit=5 rate=10/s"),
    "queue limit": Sample("mail 5"),
    "queue drain": Sample("mail"),
    "limit list": Sample(),
    "limit show": Sample("tenant-7"),
    "limit set": Sample("tenant-7 3"),
    "schedule list": Sample(),
    "schedule add": Sample("weekly @weekly echo value=1"),
    "schedule show": Sample("nightly"),
    "schedule pause": Sample("nightly"),
    "schedule resume": Sample("nightly"),
    "schedule run": Sample("nightly"),
    "schedule next": Sample("nightly"),
    "schedule remove": Sample("nightly"),
    "task list": Sample(),
    "task show": Sample("echo"),
    "stats": Sample(),
    "operation list": Sample(),
    "operation show": Sample("1"),
    "operation cancel": Sample("1"),
    "workflow create": Sample("etl"),
    "workflow list": Sample(),
    "workflow show": Sample("1"),
    "workflow cancel": Sample("1"),
    "workflow retry": Sample("1"),
    "key create": Sample("ci --scope submit --scope read --queue mail --expires 90d"),
    "key list": Sample(),
    "key revoke": Sample("old"),
    "config show": Sample("--origin"),
    "version": Sample(),
}
LINES = ("watch",)
"""Those that print a JSON document a line, as things happen."""


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for part, each in command.commands.items():
            yield from leaves(f"{name} {part}", each)
    else:
        yield name, command


TREE = dict(leaf for name in COMMANDS for leaf in leaves(name, load(name)))


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


@pytest.fixture(scope="module")
def filled(databases: Databases, template: str) -> Generator[str]:
    """Job 1 is ready, 2 scheduled, 3 cancelled; there is a worker, the workflow 1, the operation 1, and a
    schedule."""
    name = databases.clone(template)
    with contextlib.closing(psycopg.connect(databases.dsn(name), autocommit=True)) as connection:
        register(connection, "a-worker")
        connection.execute("select dtsched.create_workflow('etl')")
        for command in (
            "submit echo --queue mail",
            "submit echo --in 1h",
            "submit echo",
            "cancel 3",
            "schedule add nightly @daily echo",
            "limit set tenant-7 2",
            "key create old --scope read",
        ):
            assert main([*command.split(), "--dsn", databases.dsn(name)]) == 0
        connection.execute("""select dtsched.create_operation('cancel', '{"queue": "none"}')""")
    databases.seal(name)
    yield name
    databases.drop(name)


@pytest.fixture
def prepared(databases: Databases, filled: str, bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Generator[Cli]:
    Path("jobs.ndjson").write_text('{"task": "echo"}\n')
    name = databases.clone(filled)
    monkeypatch.setenv("DTSCHED_DSN", databases.dsn(name))
    yield bare_cli
    databases.drop(name)


@pytest.mark.parametrize("path", TREE)
def test_a_command_takes_json_or_is_known_to_print_no_data(path: str) -> None:
    assert takes_json(TREE[path]) != (path in WITHOUT_JSON), "give it --json, or say in WITHOUT_JSON why not"


@pytest.mark.parametrize("path", TREE)
def test_a_command_has_a_sentence_of_help_for_itself_and_each_option(path: str) -> None:
    assert TREE[path].help
    for parameter in TREE[path].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help or parameter.show_default, parameter.name


@pytest.mark.parametrize("path", [path for path in TREE if takes_json(TREE[path]) and path not in ELSEWHERE])
def test_what_goes_to_stdout_is_json_and_stderr_holds_none(
    path: str, prepared: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
    assert path in SAMPLES, "say in SAMPLES how it is called"
    sample = SAMPLES[path]
    ended = prepared(*path.split(), *sample.arguments.split(), "--json")
    assert ended.code == sample.code, ended.err
    documents = ended.out.splitlines() if path in LINES else [ended.out]
    assert documents
    for document in documents:
        assert isinstance(msgspec.json.decode(document), (dict, list))
    for line in ended.err.splitlines():
        assert line[0] not in "[{"


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_said_to_be_run_elsewhere_is(path: str) -> None:
    text = (TESTS / ELSEWHERE[path]).read_text()
    assert ", ".join(f'"{word}"' for word in path.split()) in text
    assert '"--json"' in text


def test_the_tables_name_no_command_that_is_gone() -> None:
    assert not {*WITHOUT_JSON, *ELSEWHERE, *SAMPLES} - {*TREE}
