"""dtsched torture at its door: what cannot be is said in one sentence, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtsched.cli.display import Display
from dtsched.cli.torture import announce
from dtsched.errors import InvalidInput
from dtsched.torture.plan import Plan, Window
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
