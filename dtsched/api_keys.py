"""API keys: what one is made of, and how it is read. Keys of jobs are dtsched.uniqueness.

A key is `dts_<id>_<secret>`. The secret has 256 random bits, is shown when it is made and kept nowhere: the database
has its SHA-256, which is enough of a hash for what cannot be guessed.
"""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias, get_args

import msgspec

from dtsched.checks import check_name, shown
from dtsched.errors import InvalidInput
from dtsched.settings import Duration, parse_duration

Scope: TypeAlias = Literal["submit", "read", "read-args", "operate", "worker", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

LONGEST_SECONDS = 3660 * 86400.0

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 12
_KEY = re.compile(f"dts_([a-z0-9]{{{_ID_LENGTH}}})_([0-9a-f]{{64}})")


class Presented(NamedTuple):
    """What of a key is told to the database."""

    id: str
    digest: bytes


class NewKey(NamedTuple):
    """As checked_key() passed it."""

    name: str
    scopes: tuple[Scope, ...]
    queues: tuple[str, ...] | None
    expires_in: float | None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret. `queues` None: all; `last_used_at` is exact to a minute."""

    id: str
    name: str
    scopes: list[Scope]
    queues: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    state: Literal["active", "expired", "revoked"]


class MadeKey(NamedTuple):
    """`text` is what opens the API. Nobody can show it again."""

    text: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"MadeKey(text='dts_{self.record.id}_…', record={self.record!r})"


class Permit(NamedTuple):
    """What dtsched.authorize() answers. `queues` None: all."""

    verdict: Literal["ok", "unknown", "scope", "missing", "queue", "whole"]
    name: str | None
    scopes: frozenset[Scope]
    queues: tuple[str, ...] | None


def new_key() -> tuple[str, Presented]:
    """The text of a key, and what is kept of it."""
    public = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    secret = secrets.token_hex(32)
    return f"dts_{public}_{secret}", Presented(public, _digest(secret))


def read_key(text: str) -> Presented | None:
    """None for what is not even shaped like a key."""
    match = _KEY.fullmatch(text)
    return None if match is None else Presented(match[1], _digest(match[2]))


def checked_key(
    name: str, scopes: Sequence[str], queues: Sequence[str] | None = None, expires_in: Duration | None = None
) -> NewKey:
    """Raises InvalidInput with the field that is wrong."""
    check_name("name", name)
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None or not scopes:
        said = "nothing: a key without any may do nothing" if unknown is None else shown(unknown)
        raise InvalidInput(f"scopes must be some of {', '.join(SCOPES)}, not {said}", field="scopes")
    for queue in queues or ():
        check_name("queue", queue, blamed="queues")
    if queues is not None and not 1 <= len(queues) <= 100:
        raise InvalidInput(f"queues must be 1 to 100 names, or left out for all, not {len(queues)}", field="queues")
    return NewKey(
        name,
        tuple(scope for scope in SCOPES if scope in scopes),
        None if queues is None else tuple(sorted(set(queues))),
        None if expires_in is None else _checked_life(expires_in),
    )


def _checked_life(expires_in: Duration) -> float:
    seconds = parse_duration(expires_in, field="expires_in")
    if not 0 < seconds <= LONGEST_SECONDS:
        raise InvalidInput(
            f"expires_in must be over 0 and at most 3660d, not {str(expires_in)[:40]}", field="expires_in"
        )
    return seconds


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
