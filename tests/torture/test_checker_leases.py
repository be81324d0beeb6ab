"""S5 and S9: what the checker makes of leases that overlap, that are taken wrongly, and that are too many."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dtsched.torture.state import Limit, Queue
from tests.torture.story import LEASE_SECONDS, Story, finding, violated


def test_two_leases_of_a_job_at_a_time_violate_s5() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    first = story.claim(job, "w1")
    story.start(first)
    story.fault("F05", job)
    story.lease_event("granted", first + 1, job, "w2", "claim")
    story.end(first)
    story.release(first, "completed")

    assert violated(story) == ["S4", "S5"]  # what is accepted then is of the older lease


def test_a_lease_that_is_taken_from_a_living_worker_violates_s5() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.release(lease, "ready", "rescue")
    story.work(job, "w2")

    assert violated(story) == ["S5"]


def test_a_lease_that_a_plain_statement_takes_violates_s5() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.release(lease, "ready", "delete")
    story.work(job, "w2")

    assert violated(story) == ["S5"]


def test_a_lease_without_a_worker_may_be_rescued() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.release(lease, "ready", "rescue", worker_expires_at=None)
    story.work(job, "w2")

    assert violated(story) == []


def test_a_lease_is_taken_by_its_deadline_after_the_grace_and_not_before() -> None:
    for seconds, expected in ((5.1, []), (1.0, ["S5"])):
        story = Story()
        job = story.submit("plain-a-1")
        lease = story.claim(job)
        story.wait(seconds)
        story.renew()
        story.release(lease, "ready", "expire", deadline=story.at - seconds)
        story.work(job)

        assert violated(story) == expected


def test_a_lease_that_is_granted_to_a_worker_that_was_lost_violates_s5() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease)
    story.release(lease, "completed")
    event = story.lease_events[0]
    story.lease_events[0] = replace(event, worker_lost_at=event.at - 3)

    assert violated(story) == ["S5"]


def test_a_renewal_that_is_shorter_than_it_says_violates_s5() -> None:
    story = Story()
    story.worker_event("renewed", "w1", story.at + LEASE_SECONDS / 3)

    assert violated(story) == ["S5"]


def put_back(story: Story, *, seconds: float) -> None:
    """The clock that decides, by an hour, for so long from now on."""
    story.record("fault", "info", fault="F49", moved=[story.ns, story.ns + seconds * 1e9, -3600])


@pytest.mark.parametrize(("seconds", "expected"), [(5.0, []), (11.0, []), (13.0, ["S5"])])
def test_a_renewal_is_judged_by_the_clock_that_decided_it(seconds: float, expected: list[str]) -> None:
    """Up to two seconds after that was moved: the statement may have read it before."""
    story = Story()
    put_back(story, seconds=10)
    story.wait(seconds)
    story.worker_event("renewed", "w1", story.at - 3600 + LEASE_SECONDS)

    assert violated(story) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, []), (5.0, ["S5"]), (13.0, [])])
def test_a_deadline_is_judged_by_the_clock_that_decided_that_it_had_passed(seconds: float, expected: list[str]) -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    put_back(story, seconds=10)
    story.wait(seconds)
    story.renew()
    story.release(lease, "ready", "expire", deadline=story.at - 60)
    story.work(job)

    assert violated(story) == expected


def test_a_worker_that_is_declared_lost_before_it_has_expired_violates_s5() -> None:
    story = Story()
    story.renew()
    story.worker_event("lost", "w1", story.at + 1, lost_at=story.at)

    assert violated(story) == ["S5"]


def test_a_worker_that_stopped_while_a_job_of_it_was_held_violates_nothing() -> None:
    story = Story()
    story.renew()
    story.worker_event("lost", "w1", story.at + 1, lost_at=story.at, who="deregister_worker")

    assert violated(story) == []


def test_a_zombie_beside_its_successor_is_put_down_to_the_fault_of_that_time() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    zombie = story.claim(job, "w1")
    story.start(zombie)
    story.fault("F05", job, lasts=1, overlaps=True)
    story.lose(zombie)
    lease = story.claim(job, "w2")
    story.start(lease)
    story.end(zombie)
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == []
    assert finding(story, "S5").notes == [
        "legal zombie overlaps, by the faults of their time: F05 1",
        "first of them: job 1 0.0 s (F05)",
    ]


def test_a_zombie_that_begins_after_its_successor_is_still_the_zombie() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    frozen = story.claim(job, "w1")
    story.fault("F05", job, lasts=1, overlaps=True)
    story.lose(frozen)
    second = story.claim(job, "w2")
    story.start(second)
    story.start(frozen, attempt=1)
    story.end(frozen, "cancelled")
    story.end(second)
    story.release(second, "completed")

    assert violated(story) == []
    assert finding(story, "S5").notes[0] == "legal zombie overlaps, by the faults of their time: F05 1"


def test_a_zombie_without_a_fault_violates_s5() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    zombie = story.claim(job, "w1")
    story.start(zombie)
    story.lose(zombie)
    lease = story.claim(job, "w2")
    story.start(lease)
    story.end(zombie)
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == ["S5"]


def zombie_beside(story: Story, *faults: str) -> None:
    """A worker is too late for its lease while these strike, none of which may have a handler run beside another."""
    job = story.submit("plain-a-1")
    zombie = story.claim(job, "w1")
    story.start(zombie)
    for fault in faults:
        story.fault(fault, job, lasts=1)
    story.lose(zombie)
    lease = story.claim(job, "w2")
    story.start(lease)
    story.end(zombie)
    story.end(lease)
    story.release(lease, "completed")


@pytest.mark.parametrize("fault", ["F06", "F07", "F19", "F21", "F32", "F43"])
def test_a_fault_that_keeps_nobody_from_renewing_for_a_lease_explains_no_zombie(fault: str) -> None:
    story = Story(fault)
    zombie_beside(story, fault)

    assert violated(story) == ["S5"]


def test_two_that_keep_workers_from_renewing_for_a_while_may_do_so_for_a_lease() -> None:
    story = Story("F06", "F51")
    zombie_beside(story, "F06", "F51")

    assert violated(story) == []
    assert finding(story, "S5").notes[0] == "legal zombie overlaps, by the faults of their time: F06 1, F51 1"


def test_a_handler_that_ends_before_its_successor_starts_is_none() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job, "w1")
    story.start(lease)
    story.end(lease)  # and its worker is killed before it can deliver that
    story.lose(lease)
    story.work(job, "w2")

    assert violated(story) == []
    assert finding(story, "S5").notes == []


def test_a_killed_handler_has_run_until_the_last_word_of_its_process() -> None:
    story = Story("F01")
    job, other = story.submit("plain-a-1"), story.submit("plain-a-2")
    lease = story.claim(job, "w1")
    story.start(lease)
    story.fault("F05", job, overlaps=True)
    story.lose(lease)
    story.work(job, "w2")
    assert finding(story, "S5").notes == []

    story.work(other, "w1")  # so w1 has not been killed
    assert violated(story) == []
    assert finding(story, "S5").notes[0] == "legal zombie overlaps, by the faults of their time: F05 1"


def test_a_lease_that_is_finished_while_its_handler_goes_on_violates_s5() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.release(lease, "ready")
    again = story.claim(job)
    story.start(again)
    story.end(lease)
    story.end(again)
    story.release(again, "completed")

    assert violated(story) == ["S5"]


def test_a_limit_that_is_kept_violates_nothing_and_one_that_is_not_violates_s9() -> None:
    story = Story()
    story.tables["limits"] = [Limit(limit_key="a", concurrency=2)]
    jobs = [story.submit(f"limited-a-{number}", limit_key="a") for number in range(3)]
    first, second = (story.claim(job) for job in jobs[:2])
    for lease in (first, second):
        story.start(lease)
        story.end(lease)
    story.release(first, "completed")
    third = story.claim(jobs[2])
    story.start(third)
    story.end(third)
    story.release(second, "completed")
    story.release(third, "completed")
    assert violated(story) == []
    assert finding(story, "S9").notes == ["limit key a: at most 2 of 2"]

    story.tables["limits"] = [Limit(limit_key="a", concurrency=1)]
    assert violated(story) == ["S9"]
    assert finding(story, "S9").violated == 2


def finish(story: Story, *leases: int) -> None:
    for lease in leases:
        story.start(lease)
        story.end(lease)
        story.release(lease, "completed")


def test_a_worker_over_http_that_is_given_more_than_it_has_slots_violates_s9() -> None:
    story = Story()
    jobs = [story.submit(f"http-a-{number}") for number in range(3)]
    story.worker_event("registered", "h1", story.at + LEASE_SECONDS, slots=2, who="register_http_worker")
    first, second = (story.claim(job, "h1") for job in jobs[:2])
    finish(story, first)
    third = story.claim(jobs[2], "h1")
    finish(story, second, third)
    assert violated(story) == []

    jobs = [story.submit(f"http-b-{number}") for number in range(3)]
    finish(story, *[story.claim(job, "h1") for job in jobs])
    assert violated(story) == ["S9"]
    assert finding(story, "S9").violations[0].what == "3 leases of a worker over HTTP, which has 2 slots"


def test_slots_of_a_worker_over_http_are_those_that_it_has_when_it_is_given_a_job() -> None:
    story = Story()
    jobs = [story.submit(f"http-a-{number}") for number in range(4)]
    story.worker_event("registered", "h1", story.at + LEASE_SECONDS, slots=1, who="register_http_worker")
    story.worker_event("renewed", "h1", story.at + LEASE_SECONDS, slots=3)
    leases = [story.claim(job, "h1") for job in jobs[:3]]
    story.worker_event("renewed", "h1", story.at + LEASE_SECONDS, slots=2)
    finish(story, *leases[:2])
    finish(story, leases[2], story.claim(jobs[3], "h1"))
    assert violated(story) == []


def test_a_worker_in_python_may_fetch_ahead() -> None:
    story = Story()
    jobs = [story.submit(f"plain-a-{number}") for number in range(3)]
    story.worker_event("registered", "w1", story.at + LEASE_SECONDS, slots=2, who="register_worker")
    finish(story, *[story.claim(job) for job in jobs])

    assert violated(story) == []


def test_the_limit_of_a_key_that_says_nothing_is_its_queue_s_or_one() -> None:
    story = Story()
    jobs = [story.submit(f"limited-a-{number}", limit_key="a") for number in range(2)]
    leases = [story.claim(job) for job in jobs]
    for lease in leases:
        story.start(lease)
        story.end(lease)
        story.release(lease, "completed")
    assert violated(story) == ["S9"]

    story.tables["queues"] = [Queue(name="default", paused=False, limit=None, key_limit=2)]
    assert violated(story) == []
    story.tables["queues"] = [Queue(name="default", paused=False, limit=1, key_limit=2)]
    assert violated(story) == ["S9"]
