"""Flags that several commands share."""

import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

import click

from dtsched import logs
from dtsched.settings import Settings, load

F = TypeVar("F", bound=Callable[..., object])


class _Id(click.IntRange):
    """`of` names what it is the id of."""

    def __init__(self, of: str) -> None:
        super().__init__(min=1)
        self.of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter as error:
            raise click.BadParameter(
                f"{value!r} is no id of a {self.of}: ids are numbers from 1 on", ctx, param
            ) from error


JOB_ID = _Id("job")
WORKFLOW_ID = _Id("workflow")


def dsn_option(function: F) -> F:
    return click.option(
        "--dsn", metavar="DSN", help="The database; `embedded` is one that dtsched keeps itself. Default: DTSCHED_DSN."
    )(function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def passed_on(context: click.Context, *, without: Collection[str]) -> list[str]:
    """The options that this command was given or that have a default, as a command line of another one."""
    arguments: list[str] = []
    for parameter in context.command.params:
        value: object = context.params.get(parameter.name or "")
        if not isinstance(parameter, click.Option) or parameter.name in without or value is None or value is False:
            continue
        option = max(parameter.opts, key=len)
        if parameter.is_flag:
            arguments.append(option)
        else:
            values = cast("tuple[object, ...]", value) if parameter.multiple else (value,)
            arguments += [f"{option}={each}" for each in values]
    return arguments


def settings_of(dsn: str | None, **flags: str | None) -> Settings:
    return load({"dsn": dsn, **flags})


def configure_logs(settings: Settings, *, for_jobs: bool = False) -> None:
    """`for_jobs`: what handlers log is kept with their jobs, from a level of its own."""
    also = settings.job_log_level if for_jobs and settings.job_log_level != "OFF" else None
    logs.configure(settings.log or ("text" if sys.stderr.isatty() else "json"), settings.log_level, also=also)
