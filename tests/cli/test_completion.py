"""`dtsched completion`: scripts that shells accept, and what they are told when they ask."""

import subprocess
from collections.abc import Callable

import pytest

from dtsched.cli import main
from tests.cli.command import COMMAND, environment
from tests.cli.conftest import Cli

Completed = Callable[[str], list[str]]


@pytest.fixture
def completed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Completed:
    """As bash asks: the last word is what is being typed. That the program is asked so, the script itself shows."""

    def ask(words: str) -> list[str]:
        monkeypatch.setenv("_DTSCHED_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        with pytest.raises(SystemExit) as ended:
            main([])
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (0, "")
        return [line.partition(",")[2] for line in said.out.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("words", "there", "not_there"),
    [
        ("dtsched ", ["submit", "queue", "workers"], ["list_queues"]),
        ("dtsched su", ["submit", "submit-many"], ["queue"]),
        ("dtsched queue ", ["list", "show", "pause", "resume", "set", "limit", "drain"], ["submit"]),
        ("dtsched queue set mail key_", ["key_limit=", "key_rate=", "key_burst=", "key_breaker="], ["limit="]),
        ("dtsched limit ", ["list", "show", "set"], []),
        ("dtsched workers ", ["list", "show", "start", "status", "stop"], []),
        ("dtsched submit-many --", ["--batch", "--ids", "--json"], []),
        ("dtsched workers list --state ", ["active", "draining", "lost"], []),
        ("dtsched completion ", ["bash", "zsh", "fish"], []),
    ],
)
def test_commands_options_and_choices_are_completed(
    completed: Completed, words: str, there: list[str], not_there: list[str]
) -> None:
    found = completed(words)
    assert set(there) <= set(found)
    assert not set(not_there) & set(found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_program(bare_cli: Cli, shell: str) -> None:
    ended = bare_cli("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_DTSCHED_COMPLETE={shell}_complete" in ended.out


def test_bash_reads_the_script_and_completes_by_it(bare_cli: Cli) -> None:
    script = bare_cli("completion", "bash").out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    program = " ".join(f"'{word}'" for word in COMMAND)
    asked = f"""
        dtsched() {{ {program} "$@"; }}
        env() {{ local -x "${{@:1:3}}"; "${{@:4}}"; }}  # a function is no program for the real one
        {script}
        COMP_WORDS=(dtsched queue res) COMP_CWORD=2
        _dtsched_completion dtsched
        echo "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(["bash", "-c", asked], env=environment(), capture_output=True, text=True, check=True)
    assert ended.stdout == "resume\n"


def test_an_unknown_shell_is_2(bare_cli: Cli) -> None:
    assert bare_cli("completion", "csh").code == 2


def test_the_version_is_the_first_line_of_the_versions(bare_cli: Cli) -> None:
    ended = bare_cli("--version")
    assert (ended.code, ended.out) == (0, bare_cli("version").out.splitlines(keepends=True)[0])
    assert ended.out.startswith("dtsched ")
