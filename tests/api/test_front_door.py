"""Who may call from where, what every answer carries, and what the server refuses to listen on."""

from __future__ import annotations

import re
import socket

import pytest

from dtsched.api.front_door import ANY_ADDRESS
from dtsched.api.server import listen, serve
from dtsched.errors import InvalidInput
from dtsched.settings import Settings
from tests.api.conftest import Api, api_over
from tests.api.problems import problem
from tests.conftest import Connect

JOB = {"task": "echo"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:80", "127.8.8.8", "[::1]", "[::1]:8000"]
)
async def test_the_names_of_loopback_are_served(empty_api: Api, host: str) -> None:
    assert (await empty_api.get("/livez", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost:x",
        "localhost/",
        "192.168.1.1",
        "0.0.0.0",
        "2130706433",
        "[::ffff:10.0.0.1]",
        "[",
        "",
        "\xe9",
    ],
)
async def test_a_rebound_name_is_refused(empty_api: Api, host: str) -> None:
    answer = await empty_api.get("/v1/jobs", headers={b"host": host.encode("latin-1")})
    assert problem(answer, 403)["type"] == "/problems/forbidden"


async def test_what_was_bound_beyond_loopback_is_served_by_its_name_or_any_address(refusing_database: str) -> None:
    async with api_over(refusing_database, "queue.internal") as api:
        assert (await api.get("/livez", headers={"host": "Queue.Internal:8000"})).status_code == 200
        assert (await api.get("/livez", headers={"host": "192.168.1.1"})).status_code == 403
    async with api_over(refusing_database, ANY_ADDRESS) as api:
        assert (await api.get("/livez", headers={"host": "192.168.1.1:8000"})).status_code == 200
        assert (await api.get("/livez", headers={"host": "evil.example"})).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://localhost"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "127.0.0.1"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "nonsense"},
    ],
)
async def test_a_page_of_another_origin_changes_nothing(api: Api, connect: Connect, headers: dict[str, str]) -> None:
    job_id = (await api.post("/v1/jobs", json=JOB)).json()["id"]
    for path in ("/v1/jobs", f"/v1/jobs/{job_id}/cancel"):
        problem(await api.post(path, json=JOB, headers=headers), 403)
    assert connect().execute("select state from dtsched.jobs").fetchall() == [("ready",)]


async def test_pages_of_our_own_and_programs_may_write(empty_api: Api) -> None:
    own = {"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}
    assert (await empty_api.post("/v1/jobs", json=JOB, headers=own)).status_code == 201
    assert (await empty_api.post("/v1/jobs", json=JOB, headers={"sec-fetch-site": "none"})).status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/x"])
async def test_what_a_form_can_send_is_not_read_as_json(empty_api: Api, kind: str) -> None:
    answer = await empty_api.post("/v1/jobs", content=b'{"task":"echo"}', headers={"content-type": kind})
    assert problem(answer, 415)["type"] == "/problems/unsupported-media-type"


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.job+json"])
async def test_json_may_be_called_by_its_other_names(empty_api: Api, kind: str) -> None:
    answer = await empty_api.post("/v1/jobs", content=b'{"task":"echo"}', headers={"content-type": kind})
    assert answer.status_code == 201


async def test_no_other_origin_is_let_in_by_cors(empty_api: Api) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    for answer in (await empty_api.options("/v1/jobs", headers=asked), await empty_api.get("/v1/jobs", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_request_keeps_the_id_it_came_with(empty_api: Api) -> None:
    answer = await empty_api.get("/nowhere", headers={"x-request-id": "a-1_b.c:D"})
    assert problem(answer, 404)["instance"] == "a-1_b.c:D"


@pytest.mark.parametrize("request_id", ["", "a b", "a\tb", "<script>", "x" * 129, "\xe9"])
async def test_an_id_that_could_forge_a_log_is_replaced(empty_api: Api, request_id: str) -> None:
    answer = await empty_api.get("/livez", headers={b"x-request-id": request_id.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_nothing_is_cached_or_guessed_at(empty_api: Api) -> None:
    for answer in (
        await empty_api.get("/livez"),
        await empty_api.get("/nowhere"),
        await empty_api.get("/livez", headers={"host": "x"}),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/schema", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/jobs/1/2/3", 404),
        ("GET", "/v1/jobs/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/%00", 404),
        ("GET", "/%ff", 404),
        ("GET", "/" + "a" * 10_000, 404),
        ("DELETE", "/v1/jobs", 405),
        ("PUT", "/v1/jobs/1", 405),
        ("GET", "/v1/jobs/1/cancel", 405),
        ("TRACE", "/livez", 405),
    ],
)
async def test_what_no_route_takes_is_a_problem_too(empty_api: Api, method: str, path: str, status: int) -> None:
    answer = await empty_api.request(method, path)
    problem(answer, status)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/v1/jobs/1", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("/v1/jobs/1/cancel", "OPTIONS, POST"),
        ("/v1/limits/a/b", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/livez", "GET, HEAD, OPTIONS"),
    ],
)
async def test_an_address_names_all_the_methods_that_it_takes(
    empty_api: Api, method: str, path: str, allowed: str
) -> None:
    answer = await empty_api.request(method, path)
    assert answer.headers["allow"] == allowed
    assert answer.status_code == (204 if method == "OPTIONS" else 405)
    assert (answer.content == b"") == (method == "OPTIONS")


async def test_an_address_that_there_is_not_has_no_methods(empty_api: Api) -> None:
    problem(await empty_api.options("/nowhere"), 404)


async def test_the_api_describes_itself_without_a_page_that_loads_scripts(empty_api: Api) -> None:
    answer = await empty_api.get("/openapi.json")
    description = answer.json()
    assert answer.status_code == 200
    assert description["openapi"].startswith("3.1")
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/livez", "/readyz"} <= set(description["paths"])
    assert "<script" not in answer.text


async def test_a_fault_of_the_server_shows_nothing_of_its_inside(
    api: Api, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connect().execute(
        """create or replace function dtsched.cancel(p_ids bigint[]) returns table (job_id bigint, outcome text)
           language plpgsql as $$ begin raise 'canary in /var/lib' using errcode = 'P0001'; end $$"""
    )
    job_id = (await api.post("/v1/jobs", json=JOB)).json()["id"]
    answer = await api.post(f"/v1/jobs/{job_id}/cancel")
    document = problem(answer, 500)
    assert "canary" not in answer.text
    assert "Traceback" not in answer.text
    assert document["instance"] in caplog.text
    assert "canary" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_nothing_but_loopback_is_listened_on(refusing_database: str, host: str) -> None:
    with pytest.raises(InvalidInput, match=r"dtsched key create .* DTSCHED_ALLOW_NO_KEY=1"):
        serve(Settings(dsn=refusing_database), host, 0)


def test_who_insists_by_name_may_listen_everywhere() -> None:
    with listen("0.0.0.0", 0, allow_anybody=True) as listening:
        assert listening.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_listened_on_without_delaying_small_answers(host: str) -> None:
    with listen(host, 0, allow_anybody=False) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("host", ["", "no such host", "a" * 300, "\0"])
def test_a_host_that_is_none_is_refused_in_a_sentence(host: str) -> None:
    with pytest.raises(InvalidInput, match="there is no address"):
        listen(host, 0, allow_anybody=False)


def test_a_port_that_is_taken_is_refused_in_a_sentence() -> None:
    with (
        listen("127.0.0.1", 0, allow_anybody=False) as taken,
        pytest.raises(InvalidInput, match="Address already in use"),
    ):
        listen("127.0.0.1", taken.getsockname()[1], allow_anybody=False)
