"""`dtsched config`: the settings in force and where each came from, without their secrets."""

from difflib import get_close_matches
from urllib.parse import urlsplit

import click
import msgspec
from rich_click import RichCommand, RichGroup

from dtsched.cli.options import dsn_option, json_option, settings_of
from dtsched.cli.output import print_fields, print_json, print_table, say
from dtsched.connections import parse_dsn
from dtsched.errors import InvalidInput
from dtsched.settings import Settings, Unknown, unknown

HIDDEN = "***"
PREFIX = "DTSCHED_"
DURATIONS = ("lease", "poll")
SECRETS_OF_A_DSN = ("password", "sslpassword", "oauth_client_secret")


class Known(msgspec.Struct, frozen=True):
    """A setting as --origin shows it."""

    value: object
    origin: str


@click.group("config", cls=RichGroup)
def config_command() -> None:
    """Show the settings in force."""


@config_command.command("show", cls=RichCommand)
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@dsn_option
@json_option
def show_config(origin: bool, dsn: str | None, as_json: bool) -> None:
    """Show every setting. Passwords and keys are left out.

    A value is that of the first that has one: the flag, the environment, .env, [tool.dtsched] in pyproject.toml of this
    folder, or the default. What is written there and is no setting is pointed out on stderr.
    """
    for stray in unknown():
        say(warning(stray))
    settings = settings_of(dsn)
    if settings.url is not None or settings.database != settings.dsn:
        say(door(settings))
    known = {name: Known(value(settings, name), where) for name, where in settings.origins.items()}
    if as_json:
        print_json(known if origin else {name: each.value for name, each in known.items()})
    elif origin:
        print_table(
            ["setting", "value", "origin"], [[name, text(name, each), each.origin] for name, each in known.items()]
        )
    else:
        print_fields((name, text(name, each)) for name, each in known.items())


def door(settings: Settings) -> str:
    """What commands are done with that work over both."""
    if settings.target != settings.database:
        named = without_user(settings.target or "")
        key = "with the key in DTSCHED_KEY" if settings.key else "without a key: DTSCHED_KEY is not set"
        return f"commands ask the server at {named} over REST, {key}"
    origin = settings.origins["dsn"]
    return f"commands ask the database: the DSN ({origin}) goes before the URL ({settings.origins['url']})"


def warning(stray: Unknown) -> str:
    prefix = PREFIX if stray.name.startswith(PREFIX) else ""  # by which alone all would be alike
    near = get_close_matches(stray.name.removeprefix(prefix), [name.removeprefix(prefix) for name in stray.known], n=1)
    return f"{stray.name} in {where(stray.origin)} is no setting" + (f": {prefix}{near[0]} is" if near else "")


def where(origin: str) -> str:
    places = {"environment": "the environment", "pyproject.toml": "[tool.dtsched] of pyproject.toml"}
    return places.get(origin, origin)


def value(settings: Settings, name: str) -> object:
    found: object = getattr(settings, name)
    if not isinstance(found, str):
        return found
    if name == "key":
        return HIDDEN
    if name == "dsn":
        return without_password(found)
    return without_user(found) if name == "url" else found


def without_password(dsn: str) -> str:
    """A DSN that holds one is put together anew out of its parts: what stands where in a URL is easily misjudged."""
    if dsn == "embedded":
        return dsn
    try:
        parts = {name: str(part) for name, part in parse_dsn(dsn).items()}
    except InvalidInput:
        return f"{HIDDEN} (it cannot be read)"
    if not any(name in parts for name in SECRETS_OF_A_DSN):
        return dsn
    return " ".join(f"{name}={HIDDEN if name in SECRETS_OF_A_DSN else quoted(part)}" for name, part in parts.items())


def quoted(part: str) -> str:
    """As a DSN of keywords and values has it."""
    if part and not set(part) & set(" '\\"):
        return part
    return "'" + part.replace("\\", "\\\\").replace("'", "\\'") + "'"


def without_user(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return HIDDEN
    if "@" not in parts.netloc:
        return url if "@" not in url else HIDDEN
    return parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}").geturl()


def text(name: str, known: Known) -> str:
    found = known.value
    if found is None:
        return "not set"
    if isinstance(found, bool):
        return "yes" if found else "no"
    return duration(found) if name in DURATIONS and isinstance(found, float) else str(found)


def duration(seconds: float) -> str:
    """In the largest unit that makes a whole number of it."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds * 1000:g}ms"
