"""Questions to a database that does not answer."""

from __future__ import annotations

import asyncio
import os
import signal

import psycopg
import pytest

from dtsched.embedded import Cluster
from dtsched.errors import DatabaseUnreachable
from dtsched.patience import Patience
from tests.api.test_outages import processes_of


async def test_what_a_frozen_database_was_asked_is_given_up(cluster: Cluster) -> None:
    """Cancelled once, the driver asks the server to withdraw the question, and waits for what it says to that."""
    patience = Patience()
    before = asyncio.all_tasks()
    connection = await psycopg.AsyncConnection.connect(cluster.dsn, autocommit=True)
    frozen = processes_of(cluster)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnreachable, match="did not answer within"):
            await patience.ask(connection.execute("select 1"), 0.2)
        await patience.close(0.2)
        assert asyncio.all_tasks() == before
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        await connection.close()
