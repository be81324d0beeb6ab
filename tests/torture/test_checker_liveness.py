"""L1 to L8: what the checker makes of jobs that hang, databases that are slow to come back, and processes that end."""

from __future__ import annotations

from typing import Any

import pytest

from dtsched.torture.state import Problem
from tests.torture.story import LEASE_SECONDS, Story, finding, violated


def test_a_job_that_is_left_over_violates_l1() -> None:
    story = Story()
    story.submit("plain-a-1")
    story.wait(3.1)
    story.record("phase", "ok", name="check")

    assert violated(story) == ["L1"]


def test_a_job_that_came_in_the_last_seconds_may_be_left_over() -> None:
    story = Story()
    story.submit("plain-a-1")
    story.wait(2.9)
    story.record("phase", "ok", name="check")
    story.wait(60)
    story.record("phase", "ok", name="end")

    assert violated(story) == []
    assert finding(story, "L1").notes == ["1 came due in the last 3 s"]


def test_a_job_that_ends_otherwise_than_expected_violates_l1() -> None:
    story = Story()
    story.done("plain-a-1", note={"expect": ["failed"]})

    assert violated(story) == ["L1"]


def test_a_job_that_is_expected_to_wait_may() -> None:
    story = Story()
    story.submit("hostile-a-1", note={"expect": ["ready"]})
    story.submit("plain-a-1", to="scheduled", run_at=story.at + 3600)

    assert violated(story) == []


def test_a_problem_that_dtsched_check_found_violates_l1() -> None:
    story = Story()
    story.done("plain-a-1")
    story.tables["problems"] = [Problem(invariant="a ready job can be claimed", job_id=1, detail="in neither")]

    assert violated(story) == ["L1"]


def restart(story: Story, *, slow_seconds: float) -> None:
    """A hundred jobs a second, an outage of two seconds, ten a second for a while, and as many as before again."""
    finished = 0

    def go_on(seconds: float, rate: int) -> None:
        nonlocal finished
        for _ in range(round(seconds / 0.25)):
            story.wait(0.249)
            finished += rate // 4
            story.pulse(finished=finished, ready=50)
            story.start(lease)

    job = story.submit("long-a-1", note={"expect": ["running"]})
    lease = story.claim(job)
    story.record("phase", "ok", name="baseline")
    go_on(5, 100)
    story.record("phase", "ok", name="storm")
    story.record("fault", "invoke", fault="F19", jobs=[])
    for _ in range(8):
        story.wait(0.25)
        story.pulse(ok=False)
    story.record("fault", "ok", fault="F19")
    go_on(slow_seconds, 8)
    go_on(5, 100)


@pytest.mark.parametrize(("slow_seconds", "expected"), [(1.0, False), (7.0, True)])
def test_a_database_that_is_slow_after_its_restart_violates_l2(slow_seconds: float, expected: bool) -> None:
    story = Story("F19")
    restart(story, slow_seconds=slow_seconds)

    assert ("L2" in violated(story)) is expected
    assert finding(story, "L2").checked == 1
    assert finding(story, "L2").notes[-1] == "baseline 100 jobs/s"


def test_a_restart_beside_another_fault_says_nothing_of_l2() -> None:
    story = Story("F19", "F43")
    story.record("fault", "invoke", fault="F43", jobs=[])
    restart(story, slow_seconds=7)

    assert finding(story, "L2").checked == 0


def orphan(story: Story, *, wait_seconds: float) -> int:
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.fault("F01", job)
    story.lose(lease)
    story.wait(wait_seconds)
    story.work(job, "w2")
    return job


@pytest.mark.parametrize(("wait_seconds", "expected"), [(2.9, []), (3.1, ["L3"])])
def test_an_orphan_that_runs_again_later_than_a_lease_and_three_seconds_violates_l3(
    wait_seconds: float, expected: list[str]
) -> None:
    story = Story("F01")
    orphan(story, wait_seconds=wait_seconds)

    assert violated(story) == expected
    assert finding(story, "L3").checked == 1


def test_an_orphan_that_never_runs_again_violates_l3() -> None:
    story = Story("F01")
    job = story.submit("plain-a-1", note={"expect": ["ready"]})
    lease = story.claim(job)
    story.start(lease)
    story.fault("F01", job)
    story.lose(lease)
    story.wait(LEASE_SECONDS)

    assert violated(story) == ["L3"]


@pytest.mark.parametrize(
    ("before", "wait_seconds", "expected"),
    [({}, 2.9, []), ({}, 3.1, ["L3"]), ({"priority": 4}, 2.0, ["L3"]), ({"queue": "other"}, 2.0, ["L3"])],
)
def test_an_orphan_that_waits_behind_others_runs_when_they_do(
    before: dict[str, Any], wait_seconds: float, expected: list[str]
) -> None:
    story = Story("F01")
    orphaned = story.submit("plain-a-1")
    lease = story.claim(orphaned)
    story.start(lease)
    others = [story.submit(f"plain-b-{number}", **before) for number in range(30)]
    story.fault("F01", orphaned)
    story.lose(lease)
    for other in others:
        story.wait(1)
        story.work(other, "w2")
    story.wait(wait_seconds)
    story.work(orphaned, "w2")

    assert violated(story) == expected
    if not expected:
        assert finding(story, "L3").notes == ["1 were rescued in time, and waited behind others"]


def test_an_orphan_waits_behind_nobody_who_came_later() -> None:
    story = Story("F01")
    orphaned = story.submit("plain-a-1")
    lease = story.claim(orphaned)
    story.start(lease)
    story.fault("F01", orphaned)
    story.lose(lease)
    for number in range(30):
        story.wait(1)
        story.work(story.submit(f"plain-b-{number}"), "w2")
    story.work(orphaned, "w2")

    assert violated(story) == ["L3"]


def test_an_orphan_may_wait_for_a_seat() -> None:
    story = Story("F01")
    orphaned = story.submit("plain-a-1", limit_key="one")
    lease = story.claim(orphaned)
    story.start(lease)
    story.fault("F01", orphaned)
    story.lose(lease)
    story.wait(10)
    story.work(orphaned, "w2")

    assert violated(story) == []


def test_an_orphan_that_is_rescued_late_violates_l3_whatever_is_before_it() -> None:
    story = Story("F01")
    orphaned = story.submit("plain-a-1")
    lease = story.claim(orphaned)
    story.start(lease)
    story.fault("F01", orphaned)
    story.wait(8.1)
    story.lose(lease)
    for number in range(20):
        story.done(f"plain-b-{number}")
    story.work(orphaned, "w2")

    assert violated(story) == ["L3"]


def test_an_orphan_of_an_outage_is_no_measure_of_rescue() -> None:
    story = Story("F01", "F19")
    story.record("fault", "invoke", fault="F19", jobs=[])
    orphan(story, wait_seconds=20)

    assert violated(story) == []
    assert finding(story, "L3").notes == ["1 more beside other faults"]


def test_rows_that_somebody_holds_keep_no_orphans_but_their_own_from_being_rescued() -> None:
    for held, expected in ((1, []), (2, ["L3"])):
        story = Story("F01", "F31")
        story.record("fault", "invoke", fault="F31", jobs=[held])
        job = story.submit("plain-a-1")
        lease = story.claim(job)
        story.start(lease)
        story.fault("F01", job)
        story.wait(8.1)
        story.lose(lease)
        story.work(job, "w2")
        assert violated(story) == expected


def test_an_orphan_beside_rows_that_are_held_is_to_be_rescued_in_time() -> None:
    story = Story("F01", "F31")
    story.record("fault", "invoke", fault="F31", jobs=[2])
    orphan(story, wait_seconds=20)

    assert violated(story) == []


def test_an_orphan_may_wait_for_the_seat_of_a_job_whose_row_is_held() -> None:
    story = Story("F01", "F31")
    story.record("fault", "invoke", fault="F31", jobs=[2])
    job = story.submit("limited-a-1", limit_key="a")
    lease = story.claim(job)
    story.start(lease)
    story.fault("F01", job)
    story.wait(8.1)
    story.lose(lease)
    story.work(job, "w2")

    assert violated(story) == []


def test_an_exit_that_nobody_wanted_violates_l8() -> None:
    story = Story()
    story.record("exit", "ok", name="worker-1", code=-9, expected=True)
    story.record("exit", "ok", name="worker-1", code=6, expected=False, at_work=False)
    assert violated(story) == []

    story.record("exit", "ok", name="worker-1", code=1, expected=False, at_work=True)
    assert violated(story) == ["L8"]


def test_poison_excuses_as_many_exits_as_it_has_caused() -> None:
    story = Story("F08")
    job = story.submit("poison-a-1", note={"expect": ["failed"]}, max_attempts=1)
    lease = story.claim(job)
    story.start(lease)
    story.record("exit", "ok", name="worker-1", role="worker", code=-9, expected=False, at_work=True)
    story.lose(lease, "failed")
    assert violated(story) == []
    assert finding(story, "L8").notes[0] == "1 workers were killed by poison"

    story.record("exit", "ok", name="worker-1", role="worker", code=-9, expected=False, at_work=True)
    assert violated(story) == ["L8"]


@pytest.mark.parametrize(("seconds", "expected"), [(16, []), (17, ["L8"])])
def test_ready_jobs_that_nobody_starts_violate_l8(seconds: int, expected: list[str]) -> None:
    story = Story()
    for _ in range(seconds):
        story.pulse(ready=3)
        story.wait(0.999)
    story.pulse(ready=0)

    assert violated(story) == expected


def test_nobody_is_deaf_who_is_silenced_by_a_fault() -> None:
    story = Story("F41")
    story.record("fault", "invoke", fault="F41", jobs=[])
    for _ in range(20):
        story.pulse(ready=3)
        story.wait(0.999)
    story.record("fault", "ok", fault="F41")

    assert violated(story) == []


def test_figures_are_no_judgements() -> None:
    story = Story("F18", "F45")
    story.record("fault", "invoke", fault="F18", jobs=[])
    job = story.submit("plain-a-1")
    story.wait(30)
    story.work(job)
    story.pulse(ready=1)
    story.pulse(ready=1, age=3600.0)  # submitted while the clock was an hour back
    story.record("fault", "ok", fault="F18")
    story.fault("F45", queries_per_second=3.5)

    assert violated(story) == []
    assert finding(story, "L4").notes == ["F18: p50/p99/max 30.0/30.0/30.0 s"]
    assert finding(story, "L5").notes == ["F45 queries_per_second at most 3.50"]
    assert finding(story, "L6").notes == ["default: p99 0.1 s, max 0.1 s"]


def listening_again_after(story: Story, seconds: float) -> list[str]:
    """One of two workers does not listen for so long, then both."""
    story.pulses(seconds, listeners=1)
    story.pulses(1)
    return violated(story)


def test_a_worker_that_does_not_listen_again_in_time_violates_l8() -> None:
    assert listening_again_after(Story(), 30) == []
    assert listening_again_after(Story(), 30.5) == ["L8"]


def test_the_time_to_listen_again_begins_with_the_last_fault() -> None:
    story = Story("F18")
    story.pulses(20, listeners=1)
    story.fault("F18")
    assert listening_again_after(story, 30) == []

    story = Story("F18")
    story.fault("F18")
    assert listening_again_after(story, 31) == ["L8"]


def test_pulses_that_were_not_answered_say_nothing_of_who_listens() -> None:
    story = Story()
    story.pulses(16, listeners=0)
    story.pulses(2, ok=False)
    assert listening_again_after(story, 16) == ["L8"]


def test_whoever_has_met_a_pooler_has_a_minute_more_to_listen_again() -> None:
    story = Story("F46")
    story.fault("F46", lasts=5)
    assert listening_again_after(story, 89) == []

    story = Story("F46")
    story.fault("F46", lasts=5)
    assert listening_again_after(story, 91.5) == ["L8"]


def test_nobody_has_to_listen_when_the_run_is_over() -> None:
    story = Story()
    story.record("phase", "ok", name="check")
    assert listening_again_after(story, 40) == []


def silent(seconds: float, fault: str = "F29") -> list[str]:
    """While such a fault lasts, a job is ready for so long before it is claimed."""
    story = Story(fault)
    story.done("plain-a-1")
    story.record("fault", "invoke", fault=fault, jobs=[])
    story.pulses(2)
    job = story.submit("plain-a-2")
    story.pulses(seconds, ready=1)
    story.work(job)
    story.pulses(1)
    story.record("fault", "ok", fault=fault)
    return violated(story)


def test_ready_jobs_that_nobody_looks_for_without_a_notification_violate_l4() -> None:
    assert silent(6) == []
    assert silent(6.5) == ["L4"]


def test_who_hears_of_jobs_has_longer_to_look_for_them() -> None:
    assert silent(6.5, "F53") == []


def test_another_fault_may_keep_workers_from_looking() -> None:
    story = Story("F29", "F19")
    story.done("plain-a-1")
    job = story.submit("plain-a-2")
    story.record("fault", "invoke", fault="F29", jobs=[])
    story.pulses(4, ready=1)
    story.fault("F19")
    story.pulses(4, ready=1)
    story.record("fault", "ok", fault="F29")
    story.work(job)

    assert violated(story) == []


def test_queues_that_no_worker_in_python_serves_are_not_looked_at_for_l4() -> None:
    story = Story("F29")
    job = story.submit("http-a-1")
    story.record("fault", "invoke", fault="F29", jobs=[])
    story.pulses(8, ready=1)
    story.record("fault", "ok", fault="F29")
    lease = story.claim(job, "h1")
    story.record("start", "ok", role="http_worker", process="h1", key="http-a-1", job=job, lease=lease, attempt=1)
    story.end(lease)
    story.release(lease, "completed", "finish_lease")

    assert violated(story) == []
