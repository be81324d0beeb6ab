"""Flags that several commands share."""

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from dtsched import logs
from dtsched.settings import Settings, load

F = TypeVar("F", bound=Callable[..., object])


def dsn_option(function: F) -> F:
    return click.option(
        "--dsn", metavar="DSN", help="The database; `embedded` is one that dtsched keeps itself. Default: DTSCHED_DSN."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def settings_of(dsn: str | None, **flags: str | None) -> Settings:
    return load({"dsn": dsn, **flags})


def configure_logs(settings: Settings) -> None:
    logs.configure(settings.log or ("text" if sys.stderr.isatty() else "json"), settings.log_level)
