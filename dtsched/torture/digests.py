"""What names a JSON value, however it was written: for submitters, handlers and the checker."""

import hashlib
import json
from decimal import Decimal
from typing import cast


def digest(value: object) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:24]


def canonical(value: object) -> bytes:
    """Of plain JSON data. jsonb forgets the order of members and how a number was written: 1e3, 1000.0 and 1000 are one
    number, and so they are here."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if isinstance(value, float):
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    return value
