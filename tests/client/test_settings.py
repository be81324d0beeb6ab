"""Where settings come from: flag > DTSCHED_* > .env > [tool.dtsched] in pyproject.toml > default."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtsched import InvalidInput
from dtsched.settings import Settings, load, parse_duration, parse_rate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and none of the settings of whoever runs the tests."""
    for name in Settings.__dataclass_fields__:
        monkeypatch.delenv(f"DTSCHED_{name.upper()}", raising=False)
    return tmp_path


def test_without_any_source_the_defaults_hold(folder: Path) -> None:
    settings = load(folder=folder)
    assert (settings.dsn, settings.lease, settings.poll, settings.log_level) == (None, 30.0, 1.0, "INFO")
    assert (settings.allow_no_key, settings.worker_name) == (False, None)
    assert set(settings.origins.values()) == {"default"}


def test_each_source_goes_over_the_ones_after_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[float, str]] = []

    def read(flags: dict[str, str | None] | None = None) -> None:
        settings = load(flags, folder=folder)
        found.append((settings.lease, settings.origins["lease"]))

    read()
    (folder / "pyproject.toml").write_text("[tool.dtsched]\nlease = 1\n")
    read()
    (folder / ".env").write_text("DTSCHED_LEASE=2s\n")
    read()
    monkeypatch.setenv("DTSCHED_LEASE", "3000ms")
    read()
    read({"lease": "4"})
    read({"lease": None})
    assert found == [
        (30.0, "default"),
        (1.0, "pyproject.toml"),
        (2.0, ".env"),
        (3.0, "environment"),
        (4.0, "flag"),
        (3.0, "environment"),
    ]


def test_each_value_has_the_origin_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text('[tool.dtsched]\npoll = "2s"\nallow_no_key = true\n')
    (folder / ".env").write_text("DTSCHED_WORKER_NAME=here\nDTSCHED_POLL=3s\n")
    monkeypatch.setenv("DTSCHED_LOG_LEVEL", "debug")
    settings = load({"log": "json"}, folder=folder)
    assert (settings.poll, settings.allow_no_key, settings.worker_name) == (3.0, True, "here")
    assert (settings.log_level, settings.log) == ("DEBUG", "json")
    assert {name: origin for name, origin in settings.origins.items() if origin != "default"} == {
        "poll": ".env",
        "allow_no_key": "pyproject.toml",
        "worker_name": ".env",
        "log_level": "environment",
        "log": "flag",
    }


def test_an_empty_value_counts_as_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("DTSCHED_POLL=2s\n")
    monkeypatch.setenv("DTSCHED_POLL", "")
    assert load(folder=folder).poll == 2.0


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("DTSCHED_WORKER_NAME=a b", "a b"),
        ('DTSCHED_WORKER_NAME="a b"', "a b"),
        ("DTSCHED_WORKER_NAME='a b'", "a b"),
        ("export DTSCHED_WORKER_NAME=a", "a"),
        ("  DTSCHED_WORKER_NAME = a  ", "a"),
        ("DTSCHED_WORKER_NAME=a=b#c", "a=b#c"),
        ("DTSCHED_WORKER_NAME='", "'"),
        ("# DTSCHED_WORKER_NAME=a", None),
        ("WORKER_NAME=a", None),
        ("DTSCHED_WORKER_NAME", None),
        ("DTSCHED_WORKER_NAME=", None),
        ("DTSCHED_WORKER_NAME=Zoë", "Zoë"),
    ],
)
def test_lines_of_an_env_file(line: str, name: str | None, folder: Path) -> None:
    (folder / ".env").write_text(f"\n# comment\n{line}\n", encoding="utf-8")
    assert load(folder=folder).worker_name == name


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("lease", "soon", "lease must be a number of seconds or like 500ms, 30s, 2m, 1h, 7d, not 'soon'"),
        ("lease", "-1", "lease must be a number of seconds"),
        ("lease", "1 minute", "lease must be a number of seconds"),
        ("lease", "499ms", "lease must be 500ms to 1d, not 499ms"),
        ("lease", "25h", "lease must be 500ms to 1d, not 25h"),
        ("poll", "0", "poll must be 10ms to 1h, not 0"),
        ("poll", "9" * 400, "poll must be a finite number"),
        ("log", "yaml", "log must be json or text, not 'yaml'"),
        ("api_rate", "0/s", "api_rate must be off, or 1 to 1000000 requests"),
        ("api_rate", "1000001/s", "api_rate must be off, or 1 to 1000000 requests"),
        ("api_rate", "10/d", "api_rate must be off, or 1 to 1000000 requests like 1000/s, 600/m or 5000/h, not '10/d'"),
        ("api_rate", "fast", "api_rate must be off"),
        ("log_level", "LOUD", "log_level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    name: str, value: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DTSCHED_{name.upper()}", value)
    with pytest.raises(InvalidInput) as refused:
        load(folder=folder)
    assert str(refused.value).startswith(says)
    assert refused.value.field == name


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1000/s", (1000, 1)), ("600/m", (600, 60)), ("5000 / h", (5000, 3600)), ("off", None), ("OFF", None)],
)
def test_a_rate_is_so_many_requests_in_so_many_seconds(text: str, rate: tuple[int, int] | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("pyproject.toml", b"[tool.dtsched", "pyproject.toml is not TOML"),
        ("pyproject.toml", b"name = '\xff'", "pyproject.toml cannot be read"),
        (".env", b"DTSCHED_WORKER_NAME=\xff", ".env cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(file: str, content: bytes, says: str, folder: Path) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(InvalidInput, match=says):
        load(folder=folder)


@pytest.mark.parametrize("content", ["", "tool = 3", "[tool]\ndtsched = 3", "[tool.other]\nlease = 1"])
def test_a_pyproject_of_somebody_else_says_nothing(content: str, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(content)
    assert load(folder=folder).lease == 30.0


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("2m", 120),
        ("1h", 3600),
        ("7d", 604_800),
        ("1.5", 1.5),
        (" 5 ", 5),
        (0, 0),
        (2.5, 2.5),
    ],
)
def test_durations(given: float | str, seconds: float) -> None:
    assert parse_duration(given) == seconds


@pytest.mark.parametrize(
    "given", ["", "s", "1w", "1h30m", "-1s", "+1", "1e3", "inf", "nan", "1_000", "٣", -1, float("inf"), float("nan")]
)
def test_what_is_no_duration(given: float | str) -> None:
    with pytest.raises(InvalidInput, match="lag must be"):
        parse_duration(given, field="lag")


def test_settings_can_be_shown_without_their_secrets() -> None:
    shown = repr(Settings(dsn="postgresql://me:hunter2@db/jobs", key="dts_secret"))
    assert "hunter2" not in shown
    assert "dts_secret" not in shown


def test_a_program_without_a_dsn_is_told_what_to_set(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="give --dsn, or set DTSCHED_DSN"):
        load(folder=folder).require_dsn()
