"""`dtsched config show`: the settings in force, where each came from, and no secret."""

from pathlib import Path

import pytest

from dtsched.cli.config import duration
from dtsched.settings import parse_duration
from tests.cli.conftest import Cli

SECRET = "secret-word"


def test_every_setting_is_shown_with_where_it_came_from(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_LEASE", "1m")
    Path(".env").write_text("DTSCHED_LOG=json\nDTSCHED_LEASE=2m\n")
    Path("pyproject.toml").write_text('[tool.dtsched]\nworker_name = "w"\nlog = "text"\n')
    shown = bare_cli("config", "show", "--origin", "--dsn", "embedded", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.json == {
        "dsn": {"value": "embedded", "origin": "flag"},
        "lease": {"value": 60.0, "origin": "environment"},
        "poll": {"value": 1.0, "origin": "default"},
        "log": {"value": "json", "origin": ".env"},
        "log_level": {"value": "INFO", "origin": "default"},
        "job_log_level": {"value": "INFO", "origin": "default"},
        "worker_name": {"value": "w", "origin": "pyproject.toml"},
        "allow_no_key": {"value": False, "origin": "default"},
        "api_rate": {"value": "off", "origin": "default"},
        "url": {"value": None, "origin": "default"},
        "key": {"value": None, "origin": "default"},
    }
    assert "lease\t1m\tenvironment\n" in bare_cli("config", "show", "--origin").out
    assert "lease          1m\n" in bare_cli("config", "show").out
    assert bare_cli("config", "show", "--json").json["lease"] == 60.0


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://me@db/jobs", "postgresql://me@db/jobs"),
        (f"postgresql://me:{SECRET}@db:6000/jobs", "user=me password=*** dbname=jobs host=db port=6000"),
        (f"postgresql://me@db/jobs?password={SECRET}&sslpassword={SECRET}", "password=***"),
        (f"host=db user='a b' password='{SECRET}'", "user='a b'"),
        (f"postgresql://me:a%20{SECRET}@one:1,two:2/jobs", "host=one,two port=1,2"),
        (f"postgresql:/me:{SECRET}@db:x:y", "(it cannot be read)"),
        (f"{SECRET}", "(it cannot be read)"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"], ["--origin"]], ids=" ".join)
def test_no_password_of_a_dsn_is_shown(
    bare_cli: Cli, monkeypatch: pytest.MonkeyPatch, dsn: str, shown: str, options: list[str]
) -> None:
    monkeypatch.setenv("DTSCHED_DSN", dsn)
    ended = bare_cli("config", "show", *options)
    assert ended.code == 0
    assert SECRET not in ended.out + ended.err
    parts = shown.split() if "***" in shown and " " in shown else [shown]
    assert all(part in ended.out for part in parts)


def test_neither_the_key_nor_a_password_of_the_url_is_shown(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_KEY", SECRET)
    monkeypatch.setenv("DTSCHED_URL", f"https://me:{SECRET}@example.org/jobs")
    for options in ([], ["--json"], ["--origin"]):
        ended = bare_cli("config", "show", *options)
        assert SECRET not in ended.out + ended.err
        assert "https://***@example.org/jobs" in ended.out
    assert bare_cli("config", "show", "--json").json["key"] == "***"


def test_what_looks_like_a_setting_and_is_none_is_pointed_out(bare_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTSCHED_LEESE", "1m")
    monkeypatch.setenv("DTSCHED_PARENT_PID", "1")
    Path(".env").write_text("DTSCHED_XYZ=1\nOTHER=1\n")
    Path("pyproject.toml").write_text('[tool.dtsched]\ndns = "embedded"\n')
    ended = bare_cli("config", "show", "--json")
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "DTSCHED_LEESE in the environment is no setting: DTSCHED_LEASE is",
        "DTSCHED_XYZ in .env is no setting",
        "dns in [tool.dtsched] of pyproject.toml is no setting: dsn is",
    ]


@pytest.mark.parametrize("text", ["500ms", "10ms", "1s", "30s", "90s", "2m", "1h", "1d", "7d", "1500ms"])
def test_durations_are_shown_as_they_are_written(text: str) -> None:
    assert duration(parse_duration(text)) == text
