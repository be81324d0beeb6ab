"""S8, S10 to S14: keys, parents, lines, times, ticks and cancellations."""

from __future__ import annotations

import pytest

from dtsched.torture.clocks import Clock, Pair
from tests.torture.story import EPOCH, Story, finding, violated

UNIQUE = {"key": "unique-1", "key_for": "unfinished", "on_conflict": "reject"}


def unique(story: Story, name: str, **more: str) -> int:
    return story.submit(name, note={"unique": {**UNIQUE, **more}}, key="unique-1")


def test_a_key_may_be_held_by_one_job_after_the_other() -> None:
    story = Story()
    for number in range(3):
        story.work(unique(story, f"unique-a-{number}"))

    assert violated(story) == []
    assert finding(story, "S8").checked == 1


def test_two_holders_of_a_key_at_a_time_violate_s8() -> None:
    story = Story()
    first, second = unique(story, "unique-a-1"), unique(story, "unique-a-2")
    story.work(second)
    story.work(first)

    assert violated(story) == ["S8"]


def test_two_holders_of_a_key_that_both_still_wait_violate_s8() -> None:
    story = Story()
    for number in range(2):
        job = unique(story, f"unique-a-{number}")
        story.move(job, "scheduled", "reschedule")
        story.jobs[job]["run_at"] = story.at + 3600

    assert violated(story) == ["S8"]


def test_a_submission_that_waits_for_its_key_may_be_traced_before_that_is_free() -> None:
    story = Story()
    first = unique(story, "unique-a-1")
    lease = story.claim(first)
    story.start(lease)
    story.end(lease)
    second = unique(story, "unique-a-2")
    story.release(lease, "completed")
    story.work(second)

    assert violated(story) == []


def test_a_job_that_gave_its_key_up_holds_it_no_more() -> None:
    story = Story()
    first = unique(story, "unique-a-1", on_conflict="supersede")
    lease = story.claim(first)
    story.start(lease)
    story.work(unique(story, "unique-a-2", on_conflict="supersede"))
    story.end(lease)
    story.release(lease, "completed", gave_up_key=True)

    assert violated(story) == []


def test_a_second_job_of_a_key_that_is_kept_violates_s8() -> None:
    story = Story()
    for number in range(2):
        story.work(unique(story, f"unique-a-{number}", key_for="kept"))

    assert violated(story) == ["S8"]


def family(story: Story, *, policy: str = "cancel") -> tuple[int, int]:
    parent = story.submit("dag-a-1", note={"expect": ["completed", "failed"]})
    child = story.submit("dag-a-2", note={"expect": ["completed", "cancelled"]}, to="blocked", depends_on=[parent],
                         policies=[policy])  # fmt: skip
    return parent, child


def fail(story: Story, job: int) -> None:
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "failed")


def test_a_child_that_runs_after_its_parent_violates_nothing() -> None:
    story = Story()
    parent, child = family(story)
    story.work(parent)
    story.move(child, "ready", "work", same=True)
    story.work(child)

    assert violated(story) == []


def test_a_child_that_runs_before_its_parent_has_completed_violates_s10() -> None:
    story = Story()
    parent, child = family(story)
    story.move(child, "ready", "finish")
    story.work(child)
    story.work(parent)

    assert violated(story) == ["S10"]


@pytest.mark.parametrize(("policy", "expected"), [("run", []), ("cancel", ["S10"]), ("skip", ["S10"])])
def test_a_child_may_run_after_a_failed_parent_only_by_its_policy(policy: str, expected: list[str]) -> None:
    story = Story()
    parent, child = family(story, policy=policy)
    fail(story, parent)
    story.move(child, "ready", "finish")
    story.work(child)

    assert violated(story) == expected


@pytest.mark.parametrize(("policy", "expected"), [("skip", []), ("cancel", ["S10"])])
def test_a_child_that_went_on_without_a_skipped_parent_may_run_before_that_is_retried(
    policy: str, expected: list[str]
) -> None:
    story = Story()
    grandparent, parent = family(story, policy=policy)
    child = story.submit("dag-a-3", to="blocked", depends_on=[parent], policies=["cancel"])
    fail(story, grandparent)
    story.move(parent, "cancelled", "finish", same=True)
    story.move(child, "ready", "finish", same=True)
    for job in (grandparent, parent):
        story.record("retry", "ok", role="submitter", process="submitter", job=job, outcome="retried")
        story.move(job, "ready", "retry")
    story.work(grandparent)
    story.work(child)
    story.work(parent)

    assert violated(story) == expected


def test_a_child_that_still_waits_for_a_failed_parent_violates_s10_and_l1() -> None:
    story = Story()
    parent, _child = family(story)
    fail(story, parent)
    story.drain()

    assert violated(story) == ["S10", "L1"]


def line(story: Story, *, count: int = 2) -> list[int]:
    return [story.submit(f"fifo-a-{number}", limit_key="line") for number in range(count)]


def test_jobs_of_a_line_run_in_their_order() -> None:
    story = Story()
    for job in line(story):
        story.wait(2)
        story.work(job)

    assert violated(story) == []
    assert finding(story, "S11").notes == ["inversions 0"]


def test_a_job_that_is_passed_over_in_its_line_violates_s11() -> None:
    story = Story()
    first, second = line(story)
    story.wait(2)
    story.work(second)
    story.work(first)

    assert violated(story) == ["S11"]


def test_a_job_that_was_not_yet_ready_for_long_is_only_counted() -> None:
    story = Story()
    first, second = line(story)
    story.work(second)
    story.work(first)

    assert violated(story) == []
    assert finding(story, "S11").notes == ["inversions 1"]


def test_a_job_of_a_higher_priority_comes_first_in_its_line() -> None:
    story = Story()
    low = story.submit("fifo-a-1", limit_key="line", priority=1)
    high = story.submit("fifo-a-2", limit_key="line", priority=9)
    story.wait(2)
    story.work(high)
    story.work(low)

    assert violated(story) == []


@pytest.mark.parametrize(("early", "expected"), [(-0.5, []), (0.5, ["S12"])])
def test_a_job_that_is_promoted_before_its_time_violates_s12(early: float, expected: list[str]) -> None:
    story = Story()
    job = story.submit("plain-a-1", to="scheduled", run_at=story.at + 10)
    story.wait(10 - early)
    story.move(job, "ready", "promote")
    story.work(job)

    assert violated(story) == expected


def test_a_job_that_is_promoted_although_the_clock_was_put_back_violates_s12() -> None:
    story = Story()
    job = story.submit("plain-a-1", to="scheduled", run_at=story.at + 10)
    story.record("fault", "info", fault="F49", moved=[story.ns, story.ns + 20 * 10**9, -3600])
    story.wait(11)
    story.move(job, "ready", "promote")
    story.work(job)

    assert violated(story) == ["S12"]


def test_a_job_that_is_moved_forward_by_hand_is_not_early() -> None:
    story = Story()
    job = story.submit("plain-a-1", to="scheduled", run_at=story.at + 10)
    story.move(job, "ready", "run_now")
    story.work(job)

    assert violated(story) == []


def test_a_delay_counts_by_the_clock_that_decided_it() -> None:
    story = Story()
    story.record("fault", "info", fault="F49", moved=[story.ns, story.ns + 2 * 10**9, -3600])
    story.wait(1)
    job = story.submit("delayed-a-1", to="scheduled", run_at=story.at - 3600 + 10, note={"delay": 10.0})
    story.wait(5)
    story.move(job, "ready", "promote")
    story.work(job)

    assert violated(story) == []


@pytest.mark.parametrize(("waited", "expected"), [(4, []), (1, ["S12"])])
def test_a_job_that_was_claimed_before_it_was_replaced_is_not_early_by_that(waited: float, expected: list[str]) -> None:
    replaces = {"unique": {"key": "k", "key_for": "unfinished", "on_conflict": "replace"}}
    story = Story()
    job = story.submit("unique-a-1", key="k", note=replaces)
    story.lose(story.claim(job))
    story.invoke("unique-a-2", delay=3.0, **replaces)
    story.jobs[job].update(name="unique-a-2", attempt=0)
    story.move(job, "scheduled", "submit_many")
    story.answer("unique-a-2", "ok", job)
    story.wait(waited)
    story.move(job, "ready", "run_now")
    story.work(job, "w2")

    assert violated(story) == expected


def test_a_delay_that_the_database_never_heard_of_violates_s12() -> None:
    story = Story()
    story.done("delayed-a-1", note={"delay": 3.0})

    assert violated(story) == ["S12"]


def ticking(story: Story, *seconds: int, **schedule: str) -> None:
    story.schedule(**schedule)
    for second in seconds:
        job = story.row("cron", task="tick")
        story.event(job, None, "ready", who="fire")
        story.work(job)
        story.tick(second, job=job)


def test_a_tick_each_second_violates_nothing() -> None:
    story = Story()
    ticking(story, 3, 4, 5)

    assert violated(story) == []
    assert finding(story, "S13").checked == 3
    assert finding(story, "L7").notes == ["p50/p99/max 0.1/0.1/0.1 s"]


def test_a_tick_that_is_not_there_violates_s13() -> None:
    story = Story()
    ticking(story, 3, 4, 6)

    assert violated(story) == ["S13"]
    (missing,) = finding(story, "S13").violations
    assert missing.key == "each 2023-11-14T22:13:25+00:00"


def test_a_tick_that_is_there_twice_violates_s13() -> None:
    story = Story()
    ticking(story, 3, 4, 4, 5)

    assert violated(story) == ["S13"]


def test_a_tick_that_is_missed_although_all_are_to_run_violates_s13() -> None:
    for catchup, expected in (("all", ["S13"]), ("latest", [])):
        story = Story()
        ticking(story, 3, 5, catchup=catchup)
        story.tick(4, job=None, outcome="missed")

        assert violated(story) == expected


@pytest.mark.parametrize(("late", "expected"), [(15.0, []), (15.1, ["L7"])])
def test_a_tick_that_is_late_without_a_fault_violates_l7(late: float, expected: list[str]) -> None:
    story = Story()
    story.schedule()
    story.tick(10, job=None, late=late)
    assert violated(story) == expected

    story.fault("F51", lasts=2)
    assert violated(story) == []


@pytest.mark.parametrize(("silent", "expected"), [(15.9, []), (16.1, ["L7"])])
def test_a_schedule_that_fires_no_more_violates_l7(silent: float, expected: list[str]) -> None:
    story = Story()
    story.schedule()
    story.tick(10, job=None)
    story.ns = round((10 + silent) * 1e9)
    story.record("phase", "ok", name="check")
    assert violated(story) == expected


def test_a_schedule_that_never_fired_violates_l7() -> None:
    story = Story()
    story.schedule()
    story.drain()
    assert violated(story) == ["L7"]


def test_nobody_knows_which_ticks_there_were_while_the_clock_was_moved() -> None:
    story = Story("F49")
    ticking(story, 3, 4, 3604, 3605)
    story.record("pulse", "ok", clock={"ns": story.ns, "at": 1700003605.0})

    assert finding(story, "S13").violated == 0
    assert finding(story, "S13").notes == ["the database's clock was moved: nobody knows which ticks there were"]


def test_a_time_is_as_uncertain_as_the_clock_had_moved_until_it_was_read_again() -> None:
    clock = Clock([Pair(ns=0, at=EPOCH), Pair(ns=10**10, at=EPOCH + 10), Pair(ns=2 * 10**10, at=EPOCH + 3620)])

    assert clock.at(5 * 10**9) == (EPOCH + 5, 0.0)
    assert clock.at(15 * 10**9) == (EPOCH + 15, 3600.0)
    assert clock.at(25 * 10**9) == (EPOCH + 3625, 0.0)
    assert clock.jumps == [3600.0]


def test_a_clock_that_was_read_slowly_was_not_moved() -> None:
    assert Clock([Pair(ns=0, at=EPOCH), Pair(ns=10**10, at=EPOCH + 12, error_seconds=1.5)]).jumps == []
    assert Clock([Pair(ns=0, at=EPOCH), Pair(ns=10**10, at=EPOCH + 13, error_seconds=1.5)]).jumps == [3.0]


def cancel(story: Story, job: int, outcome: str) -> None:
    story.record("cancel", "invoke", role="submitter", process="submitter", job=job)
    story.record("cancel", "ok", role="submitter", process="submitter", job=job, outcome=outcome)


BOTH = {"expect": ["completed", "cancelled"]}


def test_cancelled_jobs_that_stay_so_violate_nothing() -> None:
    story = Story()
    waiting = story.submit("cancelled-a-1", note=BOTH)
    story.move(waiting, "cancelled", "cancel")
    cancel(story, waiting, "cancelled")
    running = story.submit("cancelled-a-2", note=BOTH)
    lease = story.claim(running)
    story.start(lease)
    cancel(story, running, "requested")
    story.end(lease, "cancelled")
    story.release(lease, "cancelled", cancel_requested=True)
    cancel(story, story.done("cancelled-a-3", note=BOTH), "finished")

    assert violated(story) == []
    assert finding(story, "S14").checked == 3
    assert finding(story, "S14").notes == ["handlers heard of it after p50/p99/max 0.0/0.0/0.0 s"]


def test_a_cancelled_job_that_starts_violates_s14() -> None:
    story = Story()
    job = story.submit("cancelled-a-1", note=BOTH)
    cancel(story, job, "cancelled")
    story.work(job)

    assert violated(story) == ["S14"]


def test_a_job_that_completes_although_it_was_told_to_stop_violates_s14() -> None:
    story = Story()
    job = story.submit("cancelled-a-1", note=BOTH)
    lease = story.claim(job)
    story.start(lease)
    cancel(story, job, "requested")
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == ["S14"]


def test_a_cancelled_job_that_somebody_retries_may_start() -> None:
    story = Story()
    job = story.submit("cancelled-a-1", note=BOTH)
    story.move(job, "cancelled", "cancel")
    cancel(story, job, "cancelled")
    story.record("retry", "ok", job=job, outcome="retried")
    story.jobs[job]["attempt"] = 0
    story.move(job, "ready", "retry")
    story.work(job)

    assert violated(story) == []
