"""What `.env.example` lists, and what there is to set."""

import re
from dataclasses import fields
from pathlib import Path

from dtsched.settings import Settings

EXAMPLE = Path(__file__).parent.parent.parent / ".env.example"


def example() -> dict[str, str]:
    """Names and values, whether or not they are commented out."""
    return dict(re.findall(r"(?m)^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text()))


def names_of_the_example() -> set[str]:
    return set(example())


def names_of_the_settings() -> set[str]:
    return {f"DTSCHED_{field.name.upper()}" for field in fields(Settings) if field.name != "origins"}
