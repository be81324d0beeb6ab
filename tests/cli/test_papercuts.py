"""What went wrong is said once, in the words that help: a broken app, a used port, a database that is not there."""

import socket
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.cli.conftest import Cli
from tests.cli.test_dev import in_folder

BROKEN = {
    "raises": (
        "def divide():\n    return 1 / 0\n\nvalue = divide()\n",
        "ZeroDivisionError: division by zero",
        "divide",
    ),
    "lacks": ("import nosuchthing\n", "ModuleNotFoundError: No module named 'nosuchthing'", "import nosuchthing"),
    "typed": ("def (:\n", "SyntaxError: invalid syntax in typed.py", "def (:"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_app_is_one_sentence_after_the_traceback_of_its_own_module(name: str, bare_cli: Cli) -> None:
    source, sentence, line = BROKEN[name]
    Path(f"{name}.py").write_text(source)
    ended = run("worker", "-A", f"{name}:app", "--dsn", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert ended.code == 1
    *traceback, last = ended.err.splitlines()
    assert last == f"dtsched: -A {name}:app: the module cannot be imported: {sentence}"
    assert f"{name}.py" in "\n".join(traceback)
    assert any(line in each for each in traceback)
    for ours in ("click", "importlib", "dtsched/cli", "dtsched/__main__"):
        assert ours not in "\n".join(traceback)


def test_an_import_error_deep_in_an_app_shows_where_it_was(bare_cli: Cli) -> None:
    Path("outer.py").write_text("import inner\n")
    Path("inner.py").write_text("raise RuntimeError('the reason')\n")
    ended = run("worker", "-A", "outer:app", "--dsn", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert ended.err.index("outer.py") < ended.err.index("inner.py") < ended.err.index("RuntimeError: the reason")


def test_dev_on_a_used_port_ends_with_the_words_of_who_wanted_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = in_folder(tmp_path, "dev", "--port", str(port))
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("dtsched: api ended by itself with code 2; its last words: dtsched: cannot listen")
    assert f"port {port}" in last


@pytest.mark.parametrize(
    "command",
    ["list", "show 1", "why 1", "result 1", "watch 1", "cancel 1", "stats", "queue list", "workers list", "psql -c x"],
)
def test_who_only_looks_makes_no_embedded_database(bare_cli: Cli, command: str) -> None:
    ended = bare_cli(*command.split(), "--dsn", "embedded")
    assert ended.code == 6
    assert ended.err == "dtsched: there is no embedded database in ./.dtsched yet: `dtsched dev` makes one\n"
    assert not Path(".dtsched").exists()


@pytest.mark.parametrize("command", ["migrate status", "migrate check", "migrate down --yes"])
def test_only_up_makes_a_database_to_migrate(bare_cli: Cli, command: str) -> None:
    assert bare_cli(*command.split(), "--dsn", "embedded").code == 6
    assert not Path(".dtsched").exists()


def test_a_folder_of_something_else_is_refused_in_other_words(bare_cli: Cli) -> None:
    Path(".dtsched").mkdir()
    Path(".dtsched/notes").touch()
    ended = bare_cli("list", "--dsn", "embedded")
    assert ended.code == 2
    assert "holds no embedded database" in ended.err


def test_submitting_makes_an_embedded_database_that_can_then_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    tmp_path.parent.chmod(0o711)
    (tmp_path / "jobs").write_text('{"task": "echo"}\n')
    assert in_folder(tmp_path, "submit-many", "jobs", "--dsn", "embedded").err.endswith("submitted 1 job\n")
    assert "echo" in in_folder(tmp_path, "list", "--dsn", "embedded").out
