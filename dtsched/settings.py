"""Settings and where each came from: flag > DTSCHED_* > .env > [tool.dtsched] in pyproject.toml > default."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

from dtsched.errors import InvalidInput

Duration: TypeAlias = float | str | timedelta

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?")

_RATE = re.compile(r"([0-9]{1,7})/([smh])")

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NAMES = (
    "dsn",
    "lease",
    "poll",
    "log",
    "log_level",
    "job_log_level",
    "worker_name",
    "allow_no_key",
    "api_rate",
    "url",
    "key",
)


_OF_OURS = ("DTSCHED_DSN_GIVEN", "DTSCHED_PARENT_PID", "DTSCHED_READY_FD", "DTSCHED_TEST_DSN")
"""What a command tells the processes that it starts, and what tests read."""


NO_DATABASE = "no database is named: give --dsn, or set DTSCHED_DSN, to a PostgreSQL DSN or to 'embedded'"
NO_URL = "the URL of the API (DTSCHED_URL) must be like https://jobs.example.org"
ITSELF = "this talks to PostgreSQL itself, and not over REST: set DTSCHED_DSN (or give --dsn) to a PostgreSQL DSN"

_ORIGINS = ("flag", "environment", ".env", "pyproject.toml", "default")


class Unknown(NamedTuple):
    """A name that is no setting, where it stands, and the names that there are."""

    name: str
    origin: str
    known: tuple[str, ...]


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Durations in seconds. `origins` says for each name where its value came from."""

    dsn: str | None = field(default=None, repr=False)  # it may hold a password
    lease: float = 30.0
    poll: float = 1.0
    log: Literal["json", "text"] | None = None
    log_level: str = "INFO"
    job_log_level: str = "INFO"
    worker_name: str | None = None
    allow_no_key: bool = False
    api_rate: str = "off"
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def target(self) -> str | None:
        """The DSN or the URL, whichever comes from nearer: a flag before the environment, that before a file. From the
        same place it is the DSN. A DSN may be the URL of a server itself."""
        nearer = _ORIGINS.index(self.origins.get("url", "default")) < _ORIGINS.index(self.origins.get("dsn", "default"))
        return self.url if self.dsn is None or (self.url is not None and nearer) else self.dsn

    @property
    def database(self) -> str | None:
        """The DSN, unless it is the URL of a server."""
        return None if self.dsn is None or is_url(self.dsn) else self.dsn

    def require_target(self) -> str:
        if self.target is None:
            raise InvalidInput(
                "no database is named: give --dsn, or set DTSCHED_DSN, to a PostgreSQL DSN or to 'embedded'; or set "
                "DTSCHED_URL to the server of the REST API",
                field="dsn",
            )
        self.check_url()
        return self.target

    def check_url(self) -> None:
        """What stands in DTSCHED_URL and is none would be taken for a DSN."""
        if self.url is not None and self.target is self.url and not is_url(self.url):
            raise InvalidInput(NO_URL, field="url")

    def require_dsn(self) -> str:
        if self.database is None:
            raise InvalidInput(ITSELF if self.target is not None else NO_DATABASE, field="dsn")
        return self.database


def is_url(target: str) -> bool:
    """Of a server's API, and not a DSN."""
    return target.lower().startswith(("http://", "https://"))


def parse_duration(value: Duration, *, field: str = "duration") -> float:
    """Seconds. Reads 500ms, 30s, 2m, 1h, 7d; a bare number is seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise InvalidInput(
                f"{field} must be a number of seconds or like 500ms, 30s, 2m, 1h, 7d, not {value[:40]!r}", field=field
            )
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    else:
        try:
            seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
        except OverflowError:
            raise InvalidInput(f"{field} must be a finite number of seconds, not one so large", field=field) from None
    if not 0 <= seconds < float("inf"):
        raise InvalidInput(f"{field} must be a finite number of seconds from 0 on, not {str(value)[:40]}", field=field)
    return seconds


def load(flags: Mapping[str, str | None] | None = None, *, folder: Path | None = None) -> Settings:
    """Reads every source; `flags` wins, `folder` (default: the current one) holds .env and pyproject.toml."""
    folder = folder or Path.cwd()
    sources = [
        ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
        ("environment", _upper_case(os.environ)),
        (".env", _upper_case(_read_env_file(folder / ".env"))),
        ("pyproject.toml", _read_pyproject(folder / "pyproject.toml")),
    ]
    values: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name in _NAMES:
        origins[name] = "default"
        for origin, source in sources:
            if source.get(name):
                values[name], origins[name] = source[name], origin
                break
    return Settings(
        dsn=values.get("dsn"),
        lease=_lease(values.get("lease", "30s")),
        poll=_poll(values.get("poll", "1s")),
        log=_log(values.get("log")),
        log_level=_log_level(values.get("log_level", "INFO")),
        job_log_level=_job_log_level(values.get("job_log_level", "INFO")),
        worker_name=values.get("worker_name"),
        allow_no_key=values.get("allow_no_key", "").lower() in ("1", "true", "yes", "on"),
        api_rate=_api_rate(values.get("api_rate", "off")),
        url=values.get("url"),
        key=values.get("key"),
        origins=origins,
    )


def unknown(folder: Path | None = None) -> list[Unknown]:
    """What looks like a setting and is none: load() passes it over without a word."""
    folder = folder or Path.cwd()
    variables = tuple(f"DTSCHED_{name.upper()}" for name in _NAMES)
    sources = (
        ("environment", [name for name in os.environ if name.startswith("DTSCHED_")], variables + _OF_OURS),
        (".env", [name for name in _read_env_file(folder / ".env") if name.startswith("DTSCHED_")], variables),
        ("pyproject.toml", list(_read_pyproject(folder / "pyproject.toml")), _NAMES),
    )
    return [Unknown(name, origin, known) for origin, names, known in sources for name in names if name not in known]


def _lease(value: str) -> float:
    seconds = parse_duration(value, field="lease")
    if not 0.5 <= seconds <= 86400:
        raise InvalidInput(f"lease must be 500ms to 1d, not {value}", field="lease")
    return seconds


def _poll(value: str) -> float:
    seconds = parse_duration(value, field="poll")
    if not 0.01 <= seconds <= 3600:
        raise InvalidInput(f"poll must be 10ms to 1h, not {value}", field="poll")
    return seconds


def _log_level(value: str) -> str:
    if value.upper() not in _LEVELS:
        raise InvalidInput(f"log_level must be one of {', '.join(_LEVELS)}, not {value[:40]!r}", field="log_level")
    return value.upper()


def parse_rate(value: str) -> Rate | None:
    """Reads 1000/s, 600/m, 5000/h; None for off."""
    if value.lower() == "off":
        return None
    match = _RATE.fullmatch(value.replace(" ", ""))
    if match is None or not 1 <= int(match[1]) <= 1_000_000:
        raise InvalidInput(
            f"api_rate must be off, or 1 to 1000000 requests like 1000/s, 600/m or 5000/h, not {value[:40]!r}",
            field="api_rate",
        )
    return Rate(int(match[1]), int(_SECONDS[match[2]]))


def _api_rate(value: str) -> str:
    parse_rate(value)
    return value


def _job_log_level(value: str) -> str:
    if value.upper() not in (*_LEVELS, "OFF"):
        raise InvalidInput(
            f"job_log_level must be one of {', '.join(_LEVELS)}, OFF, not {value[:40]!r}", field="job_log_level"
        )
    return value.upper()


def _log(value: str | None) -> Literal["json", "text"] | None:
    if value is not None and value not in ("json", "text"):
        raise InvalidInput(f"log must be json or text, not {value[:40]!r}", field="log")
    return value


def _upper_case(source: Mapping[str, str]) -> dict[str, str]:
    return {name: source[f"DTSCHED_{name.upper()}"] for name in _NAMES if f"DTSCHED_{name.upper()}" in source}


def _read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines, optionally quoted or after `export`; no interpolation."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for line in _read(path).splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            values[name.strip()] = value[1:-1] if quoted else value
    return values


def _read_pyproject(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        tool = cast("object", tomllib.loads(_read(path)).get("tool"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path.name} is not TOML: {error}", field="settings") from error
    table = cast("dict[object, object]", tool).get("dtsched") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        return {}
    return {str(name): str(value) for name, value in cast("dict[object, object]", table).items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}", field="settings") from error
