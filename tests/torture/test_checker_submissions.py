"""S1, S2, S15, S16, S17: what the checker makes of submissions that were lost, invented or changed."""

from __future__ import annotations

import pytest

from dtsched.torture.state import Effect, Twin
from tests.torture.story import Story, digest, finding, told, violated


def test_accepted_submissions_that_are_there_violate_nothing() -> None:
    story = Story()
    for number in range(3):
        story.done(f"plain-a-{number}")

    assert violated(story) == []
    assert finding(story, "S1").checked == 3


def test_an_accepted_submission_that_is_not_there_is_lost() -> None:
    story = Story()
    story.done("plain-a-1")
    story.invoke("plain-a-2")
    story.answer("plain-a-2", "ok", 77, created=True)

    assert violated(story) == ["S1"]
    (lost,) = finding(story, "S1").violations
    assert (lost.key, lost.job) == ("plain-a-2", 77)
    assert [next(iter(shown)) for shown in lost.shown] == ["record", "record"]


def test_a_submission_that_is_there_twice_violates_s1() -> None:
    story = Story()
    first = story.done("plain-a-1")
    again = story.row("plain-a-1", state="ready")
    story.event(again, None, "ready", who=None)
    story.work(again)

    assert violated(story) == ["S1"]
    assert first != again


def test_a_submission_that_was_refused_and_is_there_violates_s1() -> None:
    story = Story()
    story.invoke("plain-a-1")
    story.answer("plain-a-1", "fail", error="OperationalError: no connection")
    job = story.row("plain-a-1")
    story.event(job, None, "ready", who=None)
    story.work(job)

    assert violated(story) == ["S1"]


def test_a_submission_without_an_answer_may_be_there_and_may_not() -> None:
    story = Story()
    for number in range(5):
        story.invoke(f"plain-a-{number}")
        if number < 4:
            story.answer(f"plain-a-{number}", "info", error="connection lost")
        if number < 2:
            job = story.row(f"plain-a-{number}")
            story.event(job, None, "ready", who="submit")
            story.work(job)

    assert violated(story) == []
    assert finding(story, "S1").notes == ["ambiguous 5: 2 present, 3 absent"]


def test_a_submission_that_was_repeated_under_its_key_is_one_job() -> None:
    story = Story()
    story.invoke("plain-a-1")
    story.answer("plain-a-1", "info")
    job = story.row("plain-a-1")
    story.event(job, None, "ready", who="submit")
    story.invoke("plain-a-1", again=True)
    story.answer("plain-a-1", "ok", job, created=False)
    story.work(job)

    assert violated(story) == []


def test_a_submission_whose_key_another_job_held_has_that_job_for_its_own() -> None:
    story = Story()
    unique = {"key": "unique-1", "key_for": "unfinished", "on_conflict": "keep"}
    job = story.submit("unique-a-1", note={"unique": unique}, key="unique-1")
    story.invoke("unique-a-2", unique=unique)
    story.answer("unique-a-2", "ok", job, created=False)
    story.work(job)
    assert violated(story) == []

    story.invoke("unique-a-3", unique=unique)
    story.answer("unique-a-3", "ok", 99, created=False)
    assert violated(story) == ["S1"]


def test_what_an_asynchronous_failover_took_back_is_counted_apart() -> None:
    story = Story("F23")
    story.invoke("plain-a-1")
    story.answer("plain-a-1", "ok", 77, created=True)
    told = story.ns
    story.wait(1)
    story.fault("F23", forgets=[told, story.ns])

    assert violated(story) == []
    assert "1 were lost by a failover" in finding(story, "S1").notes[0]


@pytest.mark.parametrize(
    ("fault", "way", "expected"), [("F39", "insert", []), ("F39", "function", ["S1"]), ("F19", "insert", ["S1"])]
)
def test_only_a_plain_insert_that_was_told_not_to_wait_for_the_disk_may_be_lost(
    fault: str, way: str, expected: list[str]
) -> None:
    story = Story(fault)
    story.record("fault", "invoke", fault=fault, jobs=[])
    story.invoke("plain-a-1", way=way)
    story.answer("plain-a-1", "ok", 77, created=True)
    story.record("fault", "ok", fault=fault)

    assert violated(story) == expected
    assert ("1 were plain INSERTs" in " ".join(finding(story, "S1").notes)) == (not expected)


def test_a_row_that_nobody_submitted_violates_s2() -> None:
    story = Story()
    story.done("plain-a-1")
    job = story.row("plain-z-9")
    story.event(job, None, "ready", who=None)
    story.work(job)

    assert violated(story) == ["S2"]


def test_the_job_of_a_tick_was_submitted_by_its_schedule() -> None:
    story = Story()
    story.schedule()
    job = story.row("cron", task="tick")
    story.event(job, None, "ready", who="fire")
    story.work(job)
    story.tick(3, job=job)

    assert violated(story) == []


def test_a_twin_without_its_job_violates_s15() -> None:
    story = Story()
    job = story.done("outbox-a-1", note={"door": "outbox"})
    story.tables["outbox"] = [Twin(key="outbox-a-1", job_id=job)]
    assert violated(story) == []

    story.invoke("outbox-a-2", door="outbox")
    story.answer("outbox-a-2", "info")
    story.tables["outbox"].append(Twin(key="outbox-a-2", job_id=None))
    assert violated(story) == ["S15"]


def test_a_job_without_its_twin_violates_s15() -> None:
    story = Story()
    story.done("outbox-a-1", note={"door": "outbox"})

    assert violated(story) == ["S15"]


def test_an_effect_of_another_lease_than_the_completing_one_violates_s15() -> None:
    story = Story()
    job = story.submit("exact-a-1", task="complete_in")
    lease = story.work(job)
    story.tables["effects"] = [Effect(key="exact-a-1", job_id=job, lease_id=lease)]
    assert violated(story) == []

    story.tables["effects"] = [Effect(key="exact-a-1", job_id=job, lease_id=lease + 1)]
    assert violated(story) == ["S15"]
    story.tables["effects"] = []
    assert violated(story) == ["S15"]
    story.tables["effects"] = 2 * [Effect(key="exact-a-1", job_id=job, lease_id=lease)]
    assert violated(story) == ["S15"]


def test_a_handler_that_is_given_other_args_violates_s16() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease, digest=digest("something else"))
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == ["S16"]


def test_a_result_that_is_not_what_was_returned_violates_s16() -> None:
    story = Story()
    job = story.done("plain-a-1")
    story.jobs[job]["result"] = {"done": "by somebody else"}

    assert violated(story) == ["S16"]


def test_what_had_to_be_refused_and_was_accepted_violates_s17() -> None:
    story = Story()
    story.done("hostile-a-1", note={"must": "accept"})
    story.invoke("hostile-a-2", must="refuse", expect=[])
    story.answer("hostile-a-2", "fail", error="422 bad-input")
    story.invoke("hostile-a-3", must="accept")
    story.answer("hostile-a-3", "fail", error="OperationalError: no connection")
    assert violated(story) == []

    story.done("hostile-a-4", note={"must": "refuse"})
    assert violated(story) == ["S17"]


def test_what_had_to_be_accepted_and_was_refused_as_bad_input_violates_s17() -> None:
    story = Story()
    story.invoke("hostile-a-1", must="accept")
    story.answer("hostile-a-1", "fail", error="422 bad-input")

    assert violated(story) == ["S17"]


def test_an_abuse_that_was_let_through_violates_s17() -> None:
    story = Story("F57")
    story.record("fault", "info", fault="F57", tried=40, accepted=[])
    story.fault("F57")
    assert violated(story) == []
    assert finding(story, "S17").checked == 40

    story.record("fault", "info", fault="F57", tried=40, accepted=["submit: truncate dtsched.jobs"])
    story.fault("F57")
    assert violated(story) == ["S17"]


def test_the_story_s_own_behaviour_is_of_the_shape_that_the_workload_s_has() -> None:
    assert told(1, "failing-a-1", 1).act == "raise"
