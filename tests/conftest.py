"""The databases every test may ask for: real ones, each a fresh clone of a migrated template.

Which server: `DTSCHED_TEST_DSN`, else Docker if an engine answers, else the embedded one; `DTSCHED_TEST_PG_BIN` names a
folder of other server programs for the embedded one. See `support/servers.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import psycopg
import pytest

from dtsched import migrations
from dtsched.embedded import Cluster
from tests.support.leftovers import left_behind
from tests.support.servers import Databases, temporary_cluster, test_server
from tests.support.skips import SkipGuard

Connect = Callable[[], psycopg.Connection]


# What asks for none of these is the same on every server.
SERVERS = {"server", "empty_cluster"}
# And so is what stands in front of our SQL, and what that computes once it has read its rows. What another server may
# do otherwise is to plan, lock, show and vacuum rows, to notify, to keep partitions and rights, to stop and start, and
# to know fewer functions than the newest. So there all of SQL is run where that decides, and else each of its functions
# in some test; of what is in front, what sends each statement once, listens, or sees the server go.
DEPENDING = (
    "tests/sql/",
    "tests/cron/",
    "tests/client/test_acting.py",
    "tests/client/test_bad_input.py",
    "tests/client/test_no_database.py",
    "tests/client/test_remote.py",
    "tests/client/test_submitting.py",
    "tests/client/test_transactions.py",
    "tests/client/test_waiting.py",
    "tests/runtime/test_handlers.py",
    "tests/runtime/test_listener.py",
    "tests/runtime/test_pruning.py",
    "tests/runtime/test_schedules.py",
    "tests/runtime/test_steps.py",
    "tests/runtime/test_superseding.py",
    "tests/runtime/test_waking.py",
    "tests/faults/test_database.py",
    "tests/api/test_openapi.py",
    "tests/api/test_group_commit.py",
    "tests/api/test_metrics.py",
    "tests/api/test_audit.py",
    "tests/cli/test_migrate.py",
)
# Rules that are many, in functions that the other files of their folder call too.
ALIKE = (
    "tests/sql/test_key_modes.py",
    "tests/sql/test_parent_policies.py",
    "tests/sql/test_parents_by_key.py",
    "tests/sql/test_partial_batches.py",
    "tests/sql/test_queue_limits.py",
    "tests/sql/test_random_graphs.py",
    "tests/sql/test_result_ttl.py",
    "tests/sql/test_retry_delay.py",
    "tests/sql/test_revival.py",
    "tests/sql/test_settings_doors.py",
    "tests/sql/test_task_settings.py",
    "tests/sql/test_tasks_and_queues.py",
    "tests/sql/test_why.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--on-servers",
        action="store_true",
        help="only tests whose outcome depends on the server, for a run on another: see DEPENDING",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--on-servers") or collection_path.is_dir():
        return None
    place = collection_path.relative_to(config.rootpath).as_posix()
    return None if place.startswith(DEPENDING) and not place.startswith(ALIKE) else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--on-servers"):
        asks = [not SERVERS.isdisjoint(getattr(item, "fixturenames", ())) for item in items]
        config.hook.pytest_deselected(items=[item for item, asked in zip(items, asks, strict=True) if not asked])
        items[:] = [item for item, asked in zip(items, asks, strict=True) if asked]


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # whoever started us judges the run, in the folder that we have from it
        return
    config.pluginmanager.register(SkipGuard())
    config.pluginmanager.register(LeftoverGuard())


def memory_with_room(*, bytes_needed: int = 8 << 30) -> str | None:
    """Where databases are cloned several times as fast as on a disk, of which no test needs more than memory has."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free >= bytes_needed and os.access("/dev/shm", os.W_OK):
            return "/dev/shm"
    return None


class LeftoverGuard:
    """Gives the run a temporary folder, by which its processes are known, and fails it if one of them outlives it."""

    def __init__(self) -> None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # pytest keeps its own folders there
        self._folder = Path(tempfile.mkdtemp(prefix="dtsched-", dir=memory_with_room()))
        self._folder.chmod(0o711)  # as root, the server and some tests run as another user
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._folder)
        self._found: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._found = left_behind(self._folder, patience_seconds=5)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for process in self._found:
            terminalreporter.write_line(f"left behind: {process}", red=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Generator[str]:
    """The DSN of a superuser of the server that the whole run shares."""
    with test_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def databases(server: str) -> Generator[Databases]:
    with contextlib.closing(Databases(server)) as databases:
        yield databases


@pytest.fixture(scope="session")
def template(databases: Databases) -> Generator[str]:
    name = databases.create()
    migrations.up(databases.dsn(name))
    databases.seal(name)
    yield name
    databases.drop(name)


@pytest.fixture
def database(databases: Databases, template: str) -> Generator[str]:
    """The DSN of a migrated database of the test's own."""
    name = databases.clone(template)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture(scope="module")
def refusing_database(databases: Databases, template: str) -> Generator[str]:
    """One for all that is refused: each refusal proves that it left nothing there."""
    name = databases.clone(template)
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture
def empty_database(databases: Databases) -> Generator[str]:
    """The DSN of a database of the test's own that has never been migrated."""
    name = databases.create()
    yield databases.dsn(name)
    databases.drop(name)


@pytest.fixture
def connect(database: str) -> Generator[Connect]:
    """Opens connections to `database` in autocommit; they are closed when the test ends."""
    with contextlib.ExitStack() as connections:
        yield lambda: connections.enter_context(contextlib.closing(psycopg.connect(database, autocommit=True)))


@pytest.fixture
def empty_cluster() -> Generator[Cluster]:
    """A server of the test's own that has never been migrated."""
    with temporary_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(empty_cluster: Cluster) -> Cluster:
    """A migrated server of the test's own, to be stopped, killed and started again."""
    migrations.up(empty_cluster.dsn)
    return empty_cluster
