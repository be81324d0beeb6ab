"""compose.yaml and the Dockerfile, as far as they can be held without an engine: what they say is parsed, and the very
commands they give are run, side by side on this machine."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml

from dtsched.cli import load
from dtsched.settings import parse_duration
from tests.cli.command import COMMAND, environment
from tests.packaging.env_example import names_of_the_example, names_of_the_settings

ROOT = Path(__file__).parent.parent.parent
COMPOSE = (ROOT / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
OURS = ["migrate", "api", "worker"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTION = re.compile(r"^([A-Z]+) (.+)$")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]+)?\}")


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_that_the_command_line_takes(name: str) -> None:
    word, *rest = SERVICES[name]["command"]
    command = load(word)
    while isinstance(command, click.Group):
        word, *rest = rest
        inner = command.get_command(click.Context(command), word)
        assert inner is not None, word
        command = inner
    command.make_context(word, rest)


def test_every_setting_exists_and_what_a_user_may_set_is_in_the_example() -> None:
    given = {name for service in OURS for name in SERVICES[service]["environment"]}
    assert given - names_of_the_settings() == {"PGPASSWORD"}
    assert {name for name, _ in VARIABLE.findall(COMPOSE)} <= names_of_the_example()


def test_no_password_has_a_default() -> None:
    secret = r"(?m)^ +(?:PGPASSWORD|POSTGRES_PASSWORD): (.+)$"
    given = re.findall(secret, COMPOSE)
    assert len(given) == 2
    assert all(re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", value) for value in given)


def test_nothing_is_published_but_the_api_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}
    assert all("network_mode" not in service for service in SERVICES.values())


def test_the_worker_can_be_scaled_and_is_given_more_time_than_its_jobs() -> None:
    worker = SERVICES["worker"]
    assert not {"container_name", "hostname", "ports"} & worker.keys()
    assert "DTSCHED_WORKER_NAME" not in worker["environment"]
    grace = worker["command"][worker["command"].index("--grace") + 1]
    assert parse_duration(worker["stop_grace_period"]) > parse_duration(grace)


def test_the_schema_is_laid_once_before_anything_uses_it() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_nothing_they_need_not(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_data_is_kept_where_the_image_keeps_it() -> None:
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert yaml.safe_load(COMPOSE)["volumes"] == {"postgres": None}


def test_its_commands_run_a_job_from_request_to_result(empty_database: str) -> None:
    port = free_port()
    with service("migrate", empty_database) as migrate:
        assert migrate.wait(60) == 0
    with service("api", empty_database, port) as api, service("worker", empty_database) as worker:
        check = [word.replace("8000", str(port)) for word in SERVICES["api"]["healthcheck"]["test"]]
        assert check[:2] == ["CMD", "python"]
        until(
            lambda: subprocess.run([sys.executable, *check[2:]], capture_output=True, check=False).returncode == 0, api
        )
        url = f"http://127.0.0.1:{port}"
        job = httpx.post(f"{url}/v1/jobs", json={"task": "fibonacci", "args": {"n": 90}}).json()
        until(lambda: httpx.get(f"{url}/v1/jobs/{job['id']}/result").status_code == 200, worker)
        assert httpx.get(f"{url}/v1/jobs/{job['id']}/result").json()["result"] == 2880067194370816120
        assert httpx.get(f"{url}/livez", headers={"Host": f"{socket.gethostname()}:8000"}).status_code == 200
        for process in (api, worker):
            process.send_signal(signal.SIGTERM)
        assert (api.wait(20), worker.wait(20)) == (0, 0)


@contextmanager
def service(name: str, dsn: str, port: int = 0) -> Generator[subprocess.Popen[bytes]]:
    """The process that its container would run, on another database and port."""
    given = {key: VARIABLE.sub(r"\2", value) for key, value in SERVICES[name]["environment"].items()}
    given = {**given, "DTSCHED_DSN": dsn}
    del given["PGPASSWORD"]
    command = [str(port) if word == "8000" else word for word in SERVICES[name]["command"]]
    with subprocess.Popen([*COMMAND, *command], env=environment(**given), stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def until(reached: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def instructions(name: str) -> list[str]:
    """What stands after each such instruction, continued lines joined."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)).splitlines()
    found = [INSTRUCTION.match(line) for line in lines if line]
    assert all(found), "a line that is no instruction"
    return [match[2] for match in found if match and match[1] == name]


def final_stage() -> str:
    return DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_the_image_runs_dtsched_as_nobody_special() -> None:
    (user,) = instructions("USER")
    assert final_stage().count("\nUSER ") == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert instructions("ENTRYPOINT") == ['["dtsched"]']


def test_base_images_are_named_by_version() -> None:
    images = {image.split()[0] for image in instructions("FROM")}
    assert images == {"python:3.13-slim-trixie"}


def test_nothing_is_installed_into_the_final_image() -> None:
    assert "\nRUN " not in final_stage()
    assert re.findall(r"(?m)^COPY .*$", final_stage()) == ["COPY --from=build /opt/dtsched /opt/dtsched"]


def test_what_is_copied_exists_and_is_sent_to_the_engine() -> None:
    copied = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:].rstrip("/") for line in sent if line.startswith("!")} == set(copied)
    assert "*" in sent


def test_what_is_installed_is_pinned_and_hashed() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install [^&\n]+", "\n".join(instructions("RUN")))
    assert len(installs) == 4
    for install in installs:
        assert "--require-hashes" in install or "--no-deps --no-index" in install
