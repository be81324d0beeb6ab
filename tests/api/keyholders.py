"""API keys for tests of the API: made, and presented."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from dtsched.api_keys import Presented, new_key


def make_key(
    connection: psycopg.Connection,
    name: str,
    scopes: Sequence[str],
    queues: Sequence[str] | None = None,
    *,
    made: tuple[str, Presented] | None = None,
) -> str:
    """The text of the key."""
    text, presented = made or new_key()
    connection.execute(
        "select from dtsched.create_key(%s, %s, %s, %s, %s)",
        [presented.id, name, presented.digest, list(scopes), None if queues is None else list(queues)],
    )
    return text


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
