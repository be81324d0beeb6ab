"""One arena for all scenarios that a process plays: each play empties it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.support.servers import Databases

pytest.register_assert_rewrite("tests.isolation.duels")

from tests.isolation.duels import Duels, opened  # noqa: E402 - after that


@pytest.fixture(scope="session")
def duels(databases: Databases, template: str) -> Generator[Duels]:
    name = databases.clone(template)
    with opened(databases.dsn(name)) as duels:
        yield duels
    databases.drop(name)
