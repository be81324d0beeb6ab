"""dtsched torture at its door: what cannot be is said in one sentence, before anything is started."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dtsched.cli.display import Display
from dtsched.cli.torture import announce
from dtsched.errors import InvalidInput
from dtsched.torture.digests import digest
from dtsched.torture.history import recording
from dtsched.torture.plan import Plan, Window
from dtsched.torture.state import dump
from tests.cli.conftest import Cli


def refused(cli: Cli, *arguments: str) -> str:
    ended = cli("torture", *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    return ended.err


def test_a_folder_without_the_programs_of_a_server_is_refused(cli: Cli, tmp_path: Path) -> None:
    said = refused(cli, "--pg-bin", str(tmp_path))
    assert f"there is no initdb and no pg_ctl and no postgres in {tmp_path}" in said
    assert "pg_config --bindir" in said


def test_a_folder_that_is_no_run_cannot_be_judged_again(cli: Cli, tmp_path: Path) -> None:
    assert f"{tmp_path} is no run of dtsched torture" in refused(cli, "--check-only", str(tmp_path))


def test_a_folder_that_is_filled_or_cannot_be_made_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert "is not empty" in refused(cli, "--dir", str(tmp_path))
    assert "cannot be written to (Not a directory)" in refused(cli, "--dir", str(tmp_path / "mine" / "run"))


def plan(*windows: Window, left_out: dict[str, str]) -> Plan:
    return Plan(
        seed=1, minutes=1, mode="storm", workers=2, apis=1, lease_seconds=5, baseline_seconds=10,
        windows=list(windows), left_out=left_out,
    )  # fmt: skip


def test_a_run_says_first_what_it_is_going_to_do_and_what_not(capfd: pytest.CaptureFixture[str]) -> None:
    strikes = [Window(fault=fault, at=1, lasts=1, seed=1) for fault in ("F05", "F01", "F05")]
    announce(plan(*strikes, left_out={"F19": "no room", "F21": "no room"}), Display())

    assert capfd.readouterr().err == "3 strikes of 2 faults: F01, F05\nleft out F19, F21: no room\n"


def test_a_run_of_no_fault_at_all_is_none() -> None:
    with pytest.raises(InvalidInput, match=r"none of these faults can be planned: left out F47: --api 2"):
        announce(plan(left_out={"F47": "--api 2"}), Display())


@pytest.mark.parametrize(("recorded", "result", "code"), [("none", "INCONCLUSIVE", 2), ("lost", "VIOLATION", 1)])
def test_a_kept_run_is_judged_again_and_its_verdict_is_the_exit_code(
    cli: Cli, database: str, tmp_path: Path, recorded: str, result: str, code: int
) -> None:
    """Code 0 is what `make storm` asks for."""
    (tmp_path / "history").mkdir()
    plan(left_out={}).save(tmp_path)
    with recording(tmp_path / "history", "submitter") as record:
        if recorded == "lost":
            args = digest({"name": "plain-a-1", "payload": None})
            record("submit", "invoke", key="plain-a-1", digest=args, kind="plain", expect=["completed"])
            record("submit", "ok", key="plain-a-1", job=1, created=True)
    dump(database, tmp_path)

    ended = cli("torture", "--check-only", str(tmp_path), "--json")

    assert (msgspec.json.decode(ended.out)["result"], ended.code) == (result, code)
    assert (tmp_path / "junit.xml").exists()
