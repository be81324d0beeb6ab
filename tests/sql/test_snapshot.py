"""schema/snapshot.sql says what the migrations lay."""

from __future__ import annotations

from tests.support.snapshot import FILE, snapshot


def test_the_committed_snapshot_is_what_the_migrations_lay(database: str):
    assert snapshot(database) == FILE.read_text(), "renew it: python -m tests.support.snapshot"
