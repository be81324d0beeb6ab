"""A17 over a whole installation, as docs/security.md lays it: the schema's owner cannot log in, whoever migrates is a
member of it, the server, the worker and the submitter are each a login of a role of their own. PostgreSQL logs all
that it can without parameters. Then every place that somebody else might read is searched for each secret.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from dtsched import embedded
from tests.api.test_correlation import program, until_logged
from tests.cli.command import run
from tests.support.servers import temporary_cluster

ARGS = "canary in the args"
LOGGING = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "debug5",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length": "0",
}
ROLES = """
    create role dtsched_owner nologin;
    create role dtsched_submit nologin;
    create role dtsched_worker nologin;
    create role dtsched_monitor nologin;
    create role dtsched_reader nologin;
    create role dtsched_operator nologin;
    create role dtsched_api nologin;
    create role deploy login in role dtsched_owner;
    alter role deploy set role = dtsched_owner;
    create role server login in role dtsched_api;
    create role runner login in role dtsched_worker;
    create role shop login in role dtsched_submit;
    grant create on database postgres to dtsched_owner;
"""


class Installation(NamedTuple):
    cluster: embedded.Cluster
    superuser: psycopg.Connection
    passwords: dict[str, str]

    def dsn(self, user: str) -> str:
        return make_conninfo(self.cluster.dsn, user=user, password=self.passwords[user])

    @property
    def log(self) -> Path:
        return self.cluster.data_dir.parent / "log"


@pytest.fixture
def installation() -> Generator[Installation]:
    with (
        temporary_cluster(LOGGING) as cluster,
        contextlib.closing(psycopg.connect(cluster.dsn, autocommit=True)) as superuser,
    ):
        superuser.execute(ROLES.encode())
        passwords = {user: f"canary@{user}:{time.monotonic_ns()}" for user in ("deploy", "server", "runner", "shop")}
        superuser.execute("set log_statement = 'none'; set log_min_duration_statement = -1")  # the DBA's own secrets
        for user, password in passwords.items():
            superuser.execute(f"alter role {user} password '{password}'".encode())
        yield Installation(cluster, superuser, passwords)


def processes() -> dict[int, str]:
    """The command line of everything that runs here."""
    lines: dict[int, str] = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines[int(file.parent.name)] = file.read_text(errors="replace")
    return lines


def environments_of_postgres(postmaster: int) -> str:
    found = ""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            parent = re.search(r"PPid:\s+(\d+)", status.read_text())
            if status.parent.name == str(postmaster) or (parent and int(parent[1]) == postmaster):
                found += (status.parent / "environ").read_text(errors="replace")
    return found


def work_over_http(client: httpx.Client) -> tuple[str, str]:
    """The secret of a lease that was claimed and ended, and of one that is held yet."""
    worker = client.post("/v1/workers", json={"name": "w", "queues": ["by-http"], "slots": 2}).json()["id"]
    for _ in range(2):
        assert client.post("/v1/jobs", json={"task": "say", "queue": "by-http"}).status_code == 201
    first, second = client.post(f"/v1/workers/{worker}/claim", json={"limit": 2}).json()["jobs"]
    for lease, secret in ((first, first["secret"]), (second, first["secret"])):
        body = {"secret": secret, "outcome": "complete"}
        client.post(f"/v1/workers/{worker}/leases/{lease['lease_id']}/finish", json=body)
    return first["secret"], second["secret"]


def go_wrong(client: httpx.Client, key: str) -> list[str]:
    """What is answered to what is not as it should be. Whoever may send args is shown what is wrong with them, and
    nobody else."""
    bearer = {"authorization": f"Bearer {key}"}
    wrong = {"authorization": f"Bearer {key[:-1]}x"}
    bodies: list[Any] = [
        {"task": "nosuch", "args": {"a": ARGS}},
        {"task": "say", "args": [ARGS]},
        {"task": "say", "args": {"text": "\0" + ARGS}},
        {"task": "say", "args": {"text": ARGS}, "priority": 99},
        {"task": "say", "args": {"text": ARGS}, "depends_on": [987654]},
    ]
    answers = [client.post("/v1/jobs", json=body, headers=headers) for body in bodies for headers in (bearer, wrong)]
    answers += [client.post("/v1/jobs", content=f'{{"task": "say", "args": {{"a": "{ARGS}'.encode(), headers=bearer)]
    answers += [
        client.get(path, headers=headers) for path in ("/v1/jobs/999", "/nowhere") for headers in (bearer, wrong)
    ]
    assert {answer.status_code for answer in answers} >= {400, 401, 404, 422}
    assert [answer for answer in answers if answer.status_code == 401 and ARGS in answer.text] == []
    return [f"{answer.headers} {answer.text}" for answer in answers]


def wherever_rows_hold(superuser: psycopg.Connection, text: str) -> set[str]:
    tables = superuser.execute(
        "select relname from pg_class where relnamespace = 'dtsched'::regnamespace and relkind = 'r'"
    ).fetchall()
    found = "select exists (select from dtsched.{} it where it::text like '%%' || %s || '%%')"
    return {
        table for (table,) in tables if superuser.execute(found.format(table).encode(), [text]).fetchone() == (True,)
    }


def test_a17_no_secret_is_where_somebody_else_might_read_it(installation: Installation, tmp_path: Path) -> None:
    superuser = installation.superuser
    assert run("migrate", "up", env={"DTSCHED_DSN": installation.dsn("deploy")}).code == 0
    owners = superuser.execute(
        "select distinct relowner::regrole::text from pg_class where relnamespace = 'dtsched'::regnamespace"
        " union select distinct proowner::regrole::text from pg_proc where pronamespace = 'dtsched'::regnamespace"
    ).fetchall()
    assert owners == [("dtsched_owner",)]
    made = run("key", "create", "ci", "--scope", "admin", env={"DTSCHED_DSN": installation.dsn("deploy")}).out
    reading = run("key", "create", "eye", "--scope", "read", env={"DTSCHED_DSN": installation.dsn("deploy")}).out
    key, eye = (re.findall(r"dts_[a-z0-9]{12}_[0-9a-f]{64}", text)[0] for text in (made, reading))

    api, worker = tmp_path / "api", tmp_path / "worker"
    command = ["worker", "-A", "tests.runtime.logging_handlers:app", "--poll", "200ms", "--log-level", "DEBUG"]
    with (
        program(worker, installation.dsn("runner"), *command),
        program(api, installation.dsn("server"), "api", "--port", "0", "--log-level", "DEBUG"),
    ):
        until_logged(worker, "serves")
        url = until_logged(api, "listening")["message"].split()[-1]
        with httpx.Client(base_url=url, timeout=20, headers={"authorization": f"Bearer {key}"}) as client:
            said = client.post("/v1/jobs", json={"task": "say", "args": {"text": ARGS}}, headers={"prefer": "wait=10"})
            assert said.json()["state"] == "completed", said.text
            client.post("/v1/jobs", json={"task": "fail", "args": {"text": ARGS}, "max_attempts": 1})
            with contextlib.closing(psycopg.connect(installation.dsn("shop"), autocommit=True)) as shop:
                shop.execute("insert into dtsched.jobs (task, args) values ('say', %s)", [json.dumps({"text": ARGS})])
                shop.execute("select dtsched.submit('say', %s)", [json.dumps({"text": ARGS})])
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    shop.execute("select args from dtsched.jobs")
            held = "select count(*) from dtsched.jobs where state not in ('completed', 'failed')"
            while superuser.execute(held.encode()).fetchone() != (0,):
                time.sleep(0.05)
            leases = work_over_http(client)
            answers = go_wrong(client, key)
            refused = run("submit", "say", "--args", '{"text": 1}', env={"DTSCHED_DSN": installation.dsn("runner")})
            assert refused.code != 0
            assert "does not let this user do that" in refused.err
            told = [
                client.get(path).text for path in ("/metrics", "/openapi.json", "/readyz", "/v1/audit", "/v1/workers")
            ]
            by_eye = {"authorization": f"Bearer {eye}"}
            jobs = client.get("/v1/jobs", headers=by_eye).json()["jobs"]
            assert [job["state"] for job in jobs if ARGS in (job.pop("error") or "")] == [
                "failed"
            ]  # the handler's words
            told += [str(jobs), client.get("/v1/jobs/1", headers=by_eye).text]
            activity = str(superuser.execute("select query, application_name from pg_stat_activity").fetchall())
            lines = "\n".join(processes().values())
            environments = environments_of_postgres(installation.cluster.pid or 0)
    places = {
        "the server's log": api.read_text(),
        "the worker's log": worker.read_text(),
        "PostgreSQL's log": installation.log.read_text(),
        "what was answered": "\n".join([*told, refused.out, refused.err]),
        "refusals": "\n".join(answers),
        "pg_stat_activity": activity,
        "command lines": lines,
        "environments of PostgreSQL": environments,
    }
    secrets = dict(installation.passwords) | {
        "quoted": quote(installation.passwords["server"], safe=""),
        "key": key[-64:],
        "other key": eye[-64:],
        "lease": leases[0],
        "held lease": leases[1],
    }
    for place, text in places.items():
        assert text, place
    hits = [(place, name) for place, text in places.items() for name, secret in secrets.items() if secret in text]
    assert hits == []
    assert [place for place, text in places.items() if ARGS in text] == ["refusals"]
    assert {name: tables for name, secret in secrets.items() if (tables := wherever_rows_hold(superuser, secret))} == {}
    assert wherever_rows_hold(superuser, ARGS) == {"jobs_0", "attempts"}
    assert superuser.execute("select count(*) from dtsched.check()").fetchone() == (0,)
