"""A07, A08, A16, A18 and A19 through the API of a server process: values out of every range, text that would be SQL,
code or a log line if anybody took it for one, and questions made to be expensive.

What POST /v1/jobs refuses is in test_hostile_bodies.py and, for every door, in tests/support/bad_input.py; what log
lines never tell is in test_secrets_in_logs.py (A17).
"""

from __future__ import annotations

import base64
import json
import pickle
import re
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from tests.api.problems import problem
from tests.api.processes import ApiProcess, served
from tests.runtime.workers import worker_process
from tests.support.bad_input import declare, written
from tests.support.patience import PATIENCE_SECONDS, five_tries, within

INJECTIONS = [
    "'",
    '"',
    "'; drop schema dtsched cascade; --",
    "x' or '1'='1",
    'x" or "1"="1',
    "1; select pg_sleep(5)",
    "'||(select pg_sleep(5))||'",
    "') union select rolpassword from pg_authid --",
    "$$;select pg_sleep(5);$$",
    "\\'; select 1; --",
    "%s %(x)s {0} {x}",
    "$1",
    "a'; copy jobs to program 'touch /tmp/x' --",
    "'; notify dtsched, 'x'; --",
    "e'\\x27'",
    "\N{MODIFIER LETTER APOSTROPHE} or 1=1",
    "\N{FULLWIDTH APOSTROPHE} or 1=1 --",
    "x'/**/or/**/1=1/**/--",
    "jobs\x00'; --",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}",
    "$.a ? (@ like_regex \".*\")",
    "a.b[*].**",
    "../../etc/passwd",
]  # fmt: skip

SCHEMA = """
    select md5(string_agg(object, ',' order by object)) from (
        select oid::regclass::text || relnatts from pg_class where relnamespace = 'dtsched'::regnamespace
            and relkind in ('r', 'v')
        union all select oid::regprocedure::text || md5(prosrc) from pg_proc
            where pronamespace = 'dtsched'::regnamespace
    ) of_it (object)
"""


@pytest.fixture
def client(refusing_api: ApiProcess) -> Generator[httpx.Client]:
    with httpx.Client(base_url=refusing_api.url, timeout=10, verify=False) as client:
        yield client


@pytest.fixture(scope="module")
def connection(refusing_database: str) -> Generator[psycopg.Connection]:
    with psycopg.connect(refusing_database, autocommit=True) as connection:
        declare(connection)
        yield connection


def value(connection: psycopg.Connection, statement: str) -> Any:
    row = connection.execute(statement.encode()).fetchone()
    assert row
    return row[0]


A07: list[tuple[str, str, object]] = [
    ("PUT", "/v1/schedules/a", {"spec": "* * * * * * *", "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": "* * * * *" + " *" * 10_000, "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": "*/0 * * * *", "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": "0-99999999999 * * * *", "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": ",".join(["0"] * 100_000) + " * * * *", "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 0 31 2 *", "task": "echo"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "tz": "Mars/Olympus"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "tz": "../../etc/passwd"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "tz": "/etc/localtime"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "tz": "UTC\0"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "catchup_limit": 2**31}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "tolerance": "infinity"}),
    ("PUT", "/v1/schedules/a", {"spec": "0 9 * * *", "task": "echo", "max_attempts": 2**31}),
    ("GET", "/v1/schedules/a/next?count=99999999999", None),
    ("PATCH", "/v1/queues/a", {"limit": 2**63}),
    ("PATCH", "/v1/queues/a", {"limit": -1}),
    ("PATCH", "/v1/queues/a", {"rate": 1e308}),
    ("PATCH", "/v1/queues/a", {"timeout": "9" * 400 + "d"}),
    ("PATCH", "/v1/queues/a", {"aging": -1}),
    ("PATCH", "/v1/queues/a", {"breaker": {"failures": 2**70, "within": 1, "cooldown": 1}}),
    ("PUT", "/v1/limits/a", {"concurrency": 2**63}),
    ("PUT", "/v1/limits/a", {"rate": -1}),
    ("PATCH", "/v1/retention", {"completed": -1}),
    ("PATCH", "/v1/retention", {"completed": "infinity"}),
    ("PATCH", "/v1/retention", {"completed": 1e300}),
    ("POST", "/v1/jobs/1/reschedule", {"run_at": "infinity"}),
    ("POST", "/v1/jobs/1/reschedule", {"run_at": "0000-01-01T00:00:00Z"}),
    ("POST", "/v1/jobs/1/reschedule", {"run_at": "10000-01-01T00:00:00Z"}),
    ("POST", "/v1/jobs/1/reschedule", {"run_at": "0001-01-01T00:00:00+23:59"}),
    ("POST", "/v1/jobs/1/reschedule", {"delay": -1}),
    ("POST", "/v1/jobs/1/reschedule", {"delay": 1e308}),
    ("PATCH", "/v1/jobs/1", {"priority": 2**63}),
    ("PATCH", "/v1/jobs/1", {"max_attempts": 2**31}),
    ("POST", "/v1/operations", {"action": "reschedule", "filter": "state:failed", "delay": 1e308}),
    ("POST", "/v1/jobs/actions", {"action": "cancel", "ids": [2**63]}),
    ("GET", "/v1/jobs?after=9223372036854775808", None),
    ("GET", "/v1/jobs?after=-1", None),
    ("GET", "/v1/jobs?filter=since:infinity", None),
    ("GET", "/v1/jobs?filter=id:99999999999999999999", None),
    ("GET", "/v1/workflows?after=9223372036854775808", None),
    ("GET", "/v1/jobs/9223372036854775808", None),
    ("GET", "/v1/jobs/1/logs?after=9223372036854775808", None),
    ("GET", "/v1/jobs/-1", None),
    ("GET", "/v1/jobs/1e3", None),
    ("GET", "/v1/jobs/\N{ARABIC-INDIC DIGIT ONE}", None),
    ("GET", "/v1/workflows/9223372036854775808", None),
    ("GET", "/v1/workers/6f7a1f0e-31c5-4d3c-9b0a-8f6f3d3b0c1g", None),
]


def test_a07_values_out_of_every_range_are_refused_in_a_sentence(
    client: httpx.Client, connection: psycopg.Connection
) -> None:
    connection.execute("select dtsched.submit('echo', delay => '1 h')")
    before = written(connection)
    for method, path, body in A07:
        answer = client.request(method, path, json=body)
        assert answer.status_code in (400, 404, 422), (method, path, str(body)[:100], answer.text)
        assert len(problem(answer, answer.status_code)["detail"]) < 500
    assert written(connection) == before
    assert value(connection, "select count(*) from dtsched.schedules") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "select dtsched.submit('echo', run_at => 'infinity')",
        "select dtsched.submit('echo', run_at => '-infinity')",
        "select dtsched.submit('echo', run_at => '0001-01-01 00:00+00 BC')",
        "select dtsched.submit('echo', run_at => '10000-01-01 00:00+00')",
        "select dtsched.submit('echo', delay => '-1 s')",
        "select dtsched.submit('echo', delay => '100000 years')",
        "select dtsched.submit('echo', max_attempts => 2147483647)",
        "select dtsched.submit('echo', max_attempts => 2147483648)",
        "select dtsched.submit('echo', priority => 9223372036854775808)",
        "select dtsched.submit('echo', timeout => 'NaN')",
        "select dtsched.submit('echo', timeout => 'Infinity')",
        "select dtsched.reschedule(1, 'infinity')",
        'select dtsched.submit_many(\'[{"task": "echo", "priority": 1e400}]\')',
        'select dtsched.submit_many(\'[{"task": "echo", "run_at": "0000-01-01T00:00:00Z"}]\')',
        "select * from dtsched.list_jobs('{}', 9223372036854775808)",
        'select * from dtsched.list_jobs(\'{"id": "99999999999999999999"}\')',
        'select * from dtsched.list_jobs(\'{"since": {"seconds_ago": 1e300}}\')',
        "insert into dtsched.jobs (task, run_at) values ('echo', 'infinity')",
        "insert into dtsched.jobs (task, max_attempts) values ('echo', 2147483647)",
        "insert into dtsched.jobs (task, timeout) values ('echo', 'NaN')",
    ],
)
def test_a07_sql_refuses_them_too_and_lives_on(connection: psycopg.Connection, statement: str) -> None:
    before, session = written(connection), connection.info.backend_pid
    with pytest.raises(psycopg.Error) as refused:
        value(connection, statement)
    assert (refused.value.sqlstate or "")[:2] in ("22", "23", "42", "JQ")
    assert written(connection) == before
    assert value(connection, "select pg_backend_pid()") == session


def test_a08_nothing_that_is_sent_is_read_as_sql(client: httpx.Client, connection: psycopg.Connection) -> None:
    before, schema = written(connection)["jobs"], value(connection, SCHEMA)
    accepted = 0
    for text in INJECTIONS:
        part = quote(text, safe="")
        asked: list[tuple[str, str, object, dict[str, Any]]] = [
            *(("POST", "/v1/jobs", {"task": "echo", name: text}, {}) for name in ("task", "queue", "run_at", "delay")),
            *(("POST", "/v1/jobs", {"task": "echo", name: text}, {}) for name in ("on_conflict", "timeout")),
            ("POST", "/v1/jobs", {"task": "echo", "args": {text: text}}, {}),
            ("POST", "/v1/jobs", {"task": "echo", "depends_on": [text]}, {}),
            ("POST", "/v1/jobs", {"task": "echo", text: 1}, {}),
            ("POST", "/v1/operations", {"action": "cancel", "filter": text, "dry_run": True}, {}),
            ("GET", "/v1/jobs", None, {"filter": text}),
            ("GET", "/v1/jobs", None, {"filter": f"args.{text}:1"}),
            *(
                ("GET", "/v1/jobs", None, {"filter": f"{name}:{json.dumps(text, ensure_ascii=False)}"})
                for name in ("queue", "key", "tag", "error", "worker", "since", "args.x", "correlation_id", "id")
            ),
            *(("GET", "/v1/jobs", None, {name: text}) for name in ("state", "queue", "task", "limit", "after", "sort")),
            ("GET", "/v1/limits", None, {"after": text}),
            *(("GET", f"/v1/{of}/{part}", None, {}) for of in ("jobs", "queues", "tasks", "schedules", "workers")),
            *(("POST", f"/v1/queues/{part}/{act}", None, {}) for act in ("pause", "resume", "drain")),
            ("PATCH", f"/v1/queues/{part}", {text: 1}, {}),
            ("PUT", f"/v1/schedules/{part}", {"spec": text, "task": text, "tz": text}, {}),
            ("POST", "/v1/events", {"name": text}, {}),
        ]
        for method, path, body, query in asked:
            header = text.encode("latin-1", "ignore").replace(b"\0", b"").strip()
            with within(4):
                answer = client.request(
                    method, path, json=body, params=query, headers={b"prefer": header, b"if-match": header}
                )
            assert answer.status_code < 500, (method, path, body, answer.text)
            if answer.status_code >= 400:
                problem(answer, answer.status_code)
            elif path == "/v1/jobs" and method == "GET":
                assert answer.json()["jobs"] == [], query
            accepted += method == "POST" and path == "/v1/jobs" and answer.status_code == 201
    assert value(connection, SCHEMA) == schema
    assert written(connection)["jobs"] == before + accepted
    assert value(connection, "select count(*) from dtsched.jobs where state = 'cancelled'") == 0


class _Exploding:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a16_what_looks_like_code_stays_data(
    refusing_database: str, client: httpx.Client, connection: psycopg.Connection, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    payloads: list[object] = [
        base64.b64encode(pickle.dumps(_Exploding(made))).decode(),
        pickle.dumps(_Exploding(made), protocol=0).decode(),
        f"!!python/object/apply:os.system ['touch {made}']",
        {"__reduce__": ["os.system", f"touch {made}"], "py/reduce": [{"py/function": "os.system"}, f"touch {made}"]},
        {"$type": "System.Diagnostics.Process", "@class": "java.lang.Runtime", "_target_": "os.system"},
        f"$(touch {made})",
        f"`touch {made}`",
        f"__import__('os').system('touch {made}')",
        "{{ ''.__class__.__mro__ }}",
        {"__class__": "dtsched.App", "__proto__": {"a": 1}, "constructor": {"prototype": {}}},
    ]
    ids = [client.post("/v1/jobs", json={"task": "echo", "args": {"value": value}}).json()["id"] for value in payloads]
    for task in ("os.system", "builtins.eval", "subprocess:run", "dtsched.workers.builtin.echo", "__import__"):
        assert problem(client.post("/v1/jobs", json={"task": task}), 422)["type"] == "/problems/unknown-task"
        connection.execute('insert into dtsched.jobs (task, args) values (%s, \'{"value": "id"}\')', (task,))
    with worker_process(refusing_database, app="dtsched.workers.builtin:app"):
        for job_id, payload in zip(ids, payloads, strict=True):
            answer = client.get(f"/v1/jobs/{job_id}/result", headers={"prefer": "wait=9"}, timeout=20)
            assert answer.json()["result"] == payload
    unknown = "select count(*) from dtsched.jobs where task ~ '[._:]' and state = 'ready' and attempt = 0"
    assert value(connection, unknown) == 5
    assert not made.exists()


FORGERIES = [
    "a\n2026-01-01T00:00:00.000Z error   dtsched.api: forged",
    "a\r\nforged: 1",
    "a\x1b[2J\x1b[31mforged",
    "a\N{RIGHT-TO-LEFT OVERRIDE}degrof",
    "a\N{LINE SEPARATOR}forged\N{PARAGRAPH SEPARATOR}",
    "a\x85forged",
    "a\x9b31mforged",
    "a\0forged",
    '","message":"forged',
]


def test_a18_no_text_that_is_sent_makes_a_log_line_of_its_own(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        declare(connection)
    with (
        served(database, tmp_path / "api.log") as api,
        httpx.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as client,
    ):
        asked = 0
        for text in FORGERIES:
            part = quote(text, safe="")
            for method, path in (
                ("GET", f"/{part}"),
                ("GET", f"/v1/queues/{part}"),
                ("GET", f"/v1/tasks/{part}?{part}"),
            ):
                client.request(method, path)
                asked += 1
            for fields in ({"queue": text}, {"task": text}, {"key": text}, {"correlation_id": text}, {text: 1}):
                client.post("/v1/jobs", json={"task": "echo", **fields})
                asked += 1
            header = text.encode("latin-1", "ignore").translate(None, b"\r\n\0")
            for name in (b"x-request-id", b"user-agent", b"referer", b"prefer", b"idempotency-key"):
                client.get("/livez", headers={name: header})
                asked += 1
            with socket.create_connection(("127.0.0.1", api.port)) as raw:
                raw.sendall(b"GET /" + text.encode() + b" HTTP/1.1\r\nHost: " + text.encode() + b"\r\n\r\n")
                raw.settimeout(5)
                assert raw.recv(100)
                asked += 1
        lines = (tmp_path / "api.log").read_bytes().split(b"\n")
    event = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+Z (info|warning) +dtsched\.[a-z_.]+: [^\x00-\x1f\x7f]+")
    told = [line for line in lines if line]
    assert [line for line in told if not event.fullmatch(line) or line.startswith(b"2026-01-01T00")] == []
    assert not any(mark in line.decode() for line in told for mark in "\x85\x9b\u2028\u2029\u202e")
    assert asked <= sum(b"dtsched.api: " in line for line in told) <= asked + 5


LISTS = [
    path
    for path, methods in describe(HANDLERS)["paths"].items()
    if any(one["name"] == "limit" and one["in"] == "query" for one in methods.get("get", {}).get("parameters", []))
]


@pytest.mark.parametrize("path", LISTS)
def test_a19_no_page_is_of_more_than_200_or_of_log_lines_1000_or_of_mere_ids_10000(
    client: httpx.Client, connection: psycopg.Connection, path: str
) -> None:
    connection.execute("select dtsched.submit('echo', delay => '1 h')")
    job_id = value(connection, "select max(id) from dtsched.jobs")
    address = path.replace("{job_id}", str(job_id)).replace("{workflow_id}", "1")
    most = {"logs": 1000, "ids": 10_000}.get(path.rpartition("/")[2], 200)
    assert client.get(address, params={"limit": most}).status_code in (200, 404)
    for limit in ("0", str(most + 1), "-1", "1e2", "9" * 30, "", "x", "200.0"):
        problem(client.get(address, params={"limit": limit}), 400)
    problem(client.get(f"{address}?limit=1&limit=2"), 400)


EXPENSIVE = [
    "error:" + "%_" * 900,
    "error:" + "(a+)+$" * 300,
    'error:"' + "\\\\" * 1500 + '"',
    "queue:" + ",".join(f"q{n}" for n in range(100)),
    "id:" + ",".join(str(n) for n in range(1, 101)),
    " ".join(f"args.{'.'.join(['a'] * 20)}.b{n}:1" for n in range(30)),
    "args." + ".".join(["x"] * 1900) + ":1",
    "tag:" + ",".join("t" * 30 for _ in range(100)),
    "state:completed,failed,cancelled,running error:x since:999d",
    "state:pending args.value:1 until:2000-01-01T00:00:00Z",
    "worker:" + ",".join(f"w{n}" for n in range(100)),
    "correlation_id:" + "c" * 3900,
]


def test_a19_expensive_filters_and_deep_pages_are_answered_in_two_seconds(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        declare(connection)
        connection.execute("""
            select dtsched.submit_many(jsonb_agg(jsonb_build_object(
                'task', 'echo', 'queue', 'q' || n % 100, 'args', jsonb_build_object('value', repeat('a', 50)))))
            from generate_series(1, 10000) n""")
        connection.execute("analyze")
        with (
            served(database, tmp_path / "api.log") as api,
            httpx.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as client,
        ):

            @five_tries
            def ask(query: dict[str, Any]) -> httpx.Response:
                with within(2):
                    return client.get("/v1/jobs", params=query)

            for wanted in EXPENSIVE:
                for query in ({"filter": wanted}, {"filter": wanted, "limit": 200, "after": 2**62}):
                    answer = ask(query)
                    assert answer.status_code in (200, 422), (wanted[:50], answer.text)
            for after in (1, 2, 5000, 2**62):
                assert ask({"after": after, "limit": 200}).status_code == 200


def test_a19_a_read_that_takes_too_long_is_given_up_and_writes_go_on_meanwhile(database: str, tmp_path: Path) -> None:
    """A lock stands for a question that the database needs long for."""
    with psycopg.connect(database, autocommit=True) as connection, psycopg.connect(database) as holder:
        declare(connection)
        with served(database, tmp_path / "api.log") as api:
            holder.execute("lock table dtsched.schedules in access exclusive mode")

            @five_tries
            def be_refused() -> None:
                began = time.monotonic()
                with within(3.5):
                    answer = api.get("/v1/schedules")
                assert problem(answer, 503)["type"] == "/problems/busy"
                assert time.monotonic() - began > 1.9

            be_refused()
            assert api.submit({"task": "echo"}).status_code == 201
