"""A command's module is loaded when the command is called, and not to list it."""

import subprocess
import sys

import pytest

from dtsched.cli import COMMANDS, load, main

HEAVY = ("psycopg", "psycopg_pool", "litestar", "sqlalchemy", "alembic", "uvicorn")


def test_help_imports_neither_the_driver_nor_the_web_framework() -> None:
    program = (
        "import sys; from dtsched.cli import main; code = main(['--help']);"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says_of_it(name: str) -> None:
    command = load(name)
    assert command.name == name
    assert (command.help or "").split("\n\n")[0].replace("\n", " ").startswith(COMMANDS[name].summary)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
