"""API keys for tests of the API: made, and presented."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from httpx import ASGITransport, AsyncClient

from dtsched.api import create_app
from dtsched.api_keys import Presented, new_key
from dtsched.settings import Rate, Settings


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


@asynccontextmanager
async def in_loop(dsn: str, *, keyless: bool = True, stopping: bool = False) -> AsyncGenerator[AsyncClient]:
    """The API in the loop of the test, where requests run beside one another. `stopping`: what waits ends at once."""
    app = create_app(Settings(dsn=dsn), keyless=keyless, wrong_keys=Rate(1_000_000, 1))
    if stopping:
        app.stopping.set()
    transport = ASGITransport(cast("Any", app))
    async with app.lifespan(), AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client:
        yield client
