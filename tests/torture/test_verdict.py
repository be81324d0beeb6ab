"""What a verdict says, and when it is none: too little exposed, or something that never happened."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from dtsched.torture import report
from dtsched.torture.checker.exposures import exposures
from dtsched.torture.checker.sometimes import sometimes
from dtsched.torture.history import Record
from dtsched.torture.verdict import Verdict, judge
from tests.torture.story import Story, finding, violated


def killed(story: Story, count: int) -> list[int]:
    """So many jobs in flight, whose worker is killed, and which another one does then."""
    jobs = [story.submit(f"plain-a-{number}") for number in range(count)]
    leases = [story.claim(job) for job in jobs]
    for lease in leases:
        story.start(lease)
    story.fault("F01", *jobs)
    for lease in leases:
        story.lose(lease)
    for job in jobs:
        story.work(job, "w2")
    return jobs


def test_a_run_without_faults_in_which_jobs_were_done_passes() -> None:
    story = Story()
    story.done("plain-a-1")
    verdict = judge(story.run())

    assert (verdict.result, verdict.exit_code) == ("PASS", 0)


def test_a_run_in_which_nothing_was_done_is_inconclusive() -> None:
    verdict = judge(Story().run())

    assert (verdict.result, verdict.exit_code) == ("INCONCLUSIVE", 2)


def test_twenty_exposures_are_enough_and_nineteen_are_not() -> None:
    for count, result in ((20, "PASS"), (19, "INCONCLUSIVE")):
        story = Story("F01")
        killed(story, count)
        verdict = judge(story.run())

        assert verdict.result == result
        assert verdict.faults[0].exposed == count


def test_a_planned_fault_that_was_not_injected_is_inconclusive() -> None:
    story = Story("F26")
    story.done("plain-a-1")
    story.record("fault", "invoke", fault="F26", jobs=list(range(30)))
    story.record("fault", "fail", fault="F26", error="no tmpfs")
    verdict = judge(story.run())

    assert verdict.result == "INCONCLUSIVE"
    assert "F26: 0 exposures of 20" in verdict.missing
    assert verdict.faults[0].notes == ["no tmpfs"]


def test_a_violation_is_one_whatever_is_missing_besides() -> None:
    story = Story("F01")
    story.submit("plain-a-1")
    story.drain()
    verdict = judge(story.run())

    assert (verdict.result, verdict.exit_code) == ("VIOLATION", 1)


def test_the_row_of_a_fault_counts_second_starts_and_measures_the_way_back() -> None:
    story = Story("F01")
    killed(story, 3)
    run = story.run()
    (row,) = exposures(run, [])

    assert (row.injected, row.exposed, row.duplicated, row.lost) == (1, 3, 3, 0)
    assert row.recovery is not None
    assert 4.9 < row.recovery[0] <= row.recovery[2] < 5.2


def test_a_job_that_a_fault_did_not_hinder_was_not_started_twice() -> None:
    story = Story("F43")
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.fault("F43", job)
    story.wait(0.3)
    story.end(lease)
    story.release(lease, "completed")
    (row,) = exposures(story.run(), [])

    assert (row.exposed, row.duplicated) == (1, 0)
    assert row.recovery == pytest.approx((0.302,) * 3)


def test_a_job_that_a_fault_lost_is_a_violation_of_that_fault() -> None:
    story = Story("F01")
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.fault("F01", job)
    story.lose(lease)
    story.drain()
    verdict = judge(story.run())

    assert verdict.faults[0].lost == 1


def test_what_has_to_happen_sometimes_follows_from_the_faults_and_the_kinds() -> None:
    story = Story("F05", "F42")
    story.done("plain-a-1")
    story.invoke("dag-a-1")
    story.answer("dag-a-1", "info")
    found = {one.what: (one.seen, one.wanted) for one in sometimes(story.run())}

    assert found == {
        "a stale outcome was refused": (0, 1),
        "an answer was lost": (1, 1),
        "a lease was reclaimed": (0, 20),
        "a job waited for its parents": (0, 1),
        "a job of kind dag started": (0, 1),
        "a job of kind plain started": (1, 1),
        "a submission was accepted": (1, 1),
        "a job completed": (1, 1),
    }


def spoiled() -> Verdict:
    story = Story("F01", "F42")
    killed(story, 20)
    story.invoke("plain-[red]-1")
    story.answer("plain-[red]-1", "ok", 77, created=True)
    return judge(story.run())


def test_a_verdict_says_the_same_in_json_as_in_memory(tmp_path: Path) -> None:
    verdict = spoiled()
    verdict.save(tmp_path)

    assert msgspec.json.decode((tmp_path / "verdict.json").read_bytes(), type=Verdict) == verdict


def test_a_ci_reads_a_case_for_each_invariant_fault_and_sometimes(tmp_path: Path) -> None:
    verdict = spoiled()
    verdict.save(tmp_path)
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    cases = {case.get("name"): case for case in suite}

    assert len(cases) == len(verdict.invariants) + len(verdict.faults) + len(verdict.sometimes)
    failed = [name for name, case in cases.items() if case.find("failure") is not None]
    assert failed == ["S1 acked submissions lost"]
    assert cases["F42"].find("skipped") is not None
    assert suite.get("failures") == "1"


def test_a_report_into_a_file_is_plain_and_breaks_no_line() -> None:
    file = io.StringIO()
    report.show(spoiled(), Console(file=file))
    lines = file.getvalue().splitlines()

    assert "\x1b" not in file.getvalue()
    assert [line for line in lines if line.endswith(" ")] == []
    (row,) = [line for line in lines if line.startswith("S1 ") and "acked" in line]
    assert row.split()[-3:] == ["21", "1", "VIOLATION"]
    assert "S1 job 77 key plain-[red]-1: it was accepted, and is not there" in lines
    assert lines[-1].endswith("VERDICT VIOLATION")
    assert "missing F42: 0 exposures of 20" in lines


def test_records_of_faults_about_themselves_are_no_ends_of_their_windows() -> None:
    story = Story("F10")
    job = story.submit("plain-a-1")
    story.record("fault", "invoke", fault="F10", jobs=[job])
    story.record("fault", "info", fault="F10", exit_seconds=1.5)
    story.record("fault", "ok", fault="F10", cut=3)
    story.work(job)
    run = story.run()

    assert violated(story) == []
    assert [one.fault for one in run.injections] == ["F10"]
    assert exposures(run, [])[0].notes == ["cut 3", "exit_seconds 1.5"]
    assert isinstance(run.injections[0].outcome, Record)


def test_what_a_fault_tells_before_it_has_struck_is_of_the_window_that_follows() -> None:
    story = Story("F57")
    story.record("fault", "info", fault="F57", tried=40, accepted=[])
    story.fault("F57")
    story.record("fault", "fail", fault="F57", error="no role", began_ns=story.ns)
    run = story.run()

    assert [(one.failed, len(one.told)) for one in run.injections] == [(False, 1), (True, 0)]


def test_a_window_is_as_long_as_its_injection_took() -> None:
    story = Story("F04")
    began = story.ns
    story.wait(5)
    story.record("fault", "invoke", fault="F04", jobs=[], began_ns=began)
    story.record("fault", "ok", fault="F04")
    run = story.run()

    assert len(run.faults_at(began + 10**9, began + 2 * 10**9)) == 1
    assert run.faults_at(began - 2 * 10**9, began - 10**9) == []
    assert run.faults_at(story.ns + 10**9, story.ns + 2 * 10**9) == []
    assert len(run.faults_at(story.ns + 10**9, story.ns + 2 * 10**9, margin_seconds=1)) == 1


def test_what_was_left_out_for_one_reason_is_one_line() -> None:
    left_out = {"F26": "not root", "F01": "no room", "F02": "no room"}
    console = Console(file=io.StringIO())
    report.show(msgspec.structs.replace(judge(Story().run()), left_out=left_out), console)

    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("left out")]
    assert lines == ["left out F01, F02: no room", "left out F26: not root"]


def test_two_windows_of_one_fault_may_lie_beside_each_other() -> None:
    story = Story("F05", "F05")
    one = story.record("fault", "invoke", fault="F05", window=1, jobs=[1])
    other = story.record("fault", "invoke", fault="F05", window=2, jobs=[2, 3])
    first = story.record("fault", "ok", fault="F05", window=1)
    second = story.record("fault", "ok", fault="F05", window=2)

    seen = [(one.record, one.outcome, one.healed) for one in story.run().injections]
    assert seen == [(one, first, first.ns), (other, second, second.ns)]


def test_what_could_not_be_injected_was_not_though_it_was_healed() -> None:
    story = Story("F37")
    story.done("plain-a-1")
    story.record("fault", "fail", fault="F37", window=1, error="OSError: no")
    healed = story.record("fault", "ok", fault="F37", window=1)

    (injection,) = story.run().injections
    assert (injection.failed, injection.healed) == (True, healed.ns)
    [row] = judge(story.run()).faults
    assert (row.planned, row.injected, row.notes) == (1, 0, ["OSError: no"])


def test_a_fault_that_says_how_much_it_has_struck_has_struck_no_more() -> None:
    story = Story("F42", "F39")
    jobs = killed(story, 30)
    story.fault("F42", *jobs, struck=3, commits=100)
    story.fault("F39", jobs=jobs[:25])

    exposed = {one.fault: (one.exposed, one.is_conclusive) for one in judge(story.run()).faults}
    assert exposed["F42"] == (3, False)
    assert exposed["F39"] == (25, True)


def test_what_a_fault_saw_and_must_not_be_is_a_violation() -> None:
    story = Story("F10")
    story.record("fault", "info", fault="F10", wrong=[])
    story.fault("F10")
    assert violated(story) == []

    story.record("fault", "info", fault="F10", wrong=["worker-1 had ended, and held job 7"])
    story.fault("F10")
    assert violated(story) == ["SEEN"]


def test_what_a_fault_saw_beside_another_one_may_be_that_one_s_doing() -> None:
    story = Story("F10", "F41")
    story.record("fault", "invoke", fault="F41", jobs=[])
    story.record("fault", "info", fault="F10", wrong=["worker-1 had ended, and held job 7"])
    story.fault("F10")
    story.record("fault", "info", fault="F12", wrong=["a child of job 7 has acted"])
    story.fault("F12")
    story.record("fault", "ok", fault="F41")

    assert [one.what for one in finding(story, "SEEN").violations] == ["F12: a child of job 7 has acted"]
