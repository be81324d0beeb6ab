"""S3, S4, S6, S7: what the checker makes of outcomes, fences, attempts and edges."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from dtsched.torture.checker.edges import EDGES
from dtsched.torture.state import Task
from tests.torture.story import Story, finding, violated


def test_the_edges_are_those_of_the_schema_s_readme() -> None:
    text = (Path(__file__).parents[2] / "schema" / "README.md").read_text()
    table = text.partition("## Edges")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| (\(new\)|[a-z]+) \| (\(deleted\)|[a-z]+) \|", table, re.MULTILINE))
    absent = {"(new)": None, "(deleted)": None}

    assert {(absent.get(a, a), absent.get(b, b)) for a, b in documented - {("from", "to")}} == EDGES


def test_all_ways_of_a_job_violate_nothing() -> None:
    story = Story()
    completed = story.done("plain-a-1")
    retried = story.submit("retrying-a-1")
    lease = story.claim(retried)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "scheduled")
    story.move(retried, "ready", "promote")
    story.work(retried)
    snoozing = story.submit("plain-a-2")
    lease = story.claim(snoozing)
    story.start(lease)
    story.end(lease, "snooze")
    story.release(lease, "ready", restored=True)
    story.work(snoozing)
    unstarted = story.submit("plain-a-3")
    story.release(story.claim(unstarted), "ready", "release", restored=True)
    story.work(unstarted)
    failing = story.submit("failing-a-1", note={"expect": ["failed"]}, max_attempts=1)
    lease = story.claim(failing)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "failed")
    story.jobs[failing]["attempt"] = 0
    story.move(failing, "ready", "retry")
    lease = story.claim(failing)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "failed")

    assert violated(story) == []
    assert finding(story, "S6").checked == 9
    assert story.jobs[completed]["state"] == "completed"


def test_a_job_that_ends_twice_without_running_between_violates_s3() -> None:
    story = Story()
    job = story.done("plain-a-1")
    story.event(job, "completed", "completed", who="work")

    assert violated(story) == ["S3", "S7"]  # no edge either


def test_a_second_outcome_violates_s3_and_s4() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease)
    story.release(lease, "completed")
    story.event(job, "running", "completed", who="work")

    assert violated(story) == ["S3", "S4", "S7"]


def test_a_job_that_is_completed_although_its_handler_never_returned_violates_s3() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "completed")

    assert violated(story) == ["S3"]


def test_a_completion_whose_connection_broke_after_the_commit_is_one() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "return")
    story.end(lease, "raise")
    story.release(lease, "completed", "complete")

    assert violated(story) == []


def test_a_lease_that_is_lost_and_the_job_done_again_violates_nothing() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    zombie = story.claim(job, "w1")
    story.start(zombie)
    story.fault("F05", job, overlaps=True)
    story.lose(zombie)
    story.work(job, "w2")
    story.end(zombie)  # too late

    assert violated(story) == []
    assert "stale outcomes refused: 1" in finding(story, "S4").notes


def test_an_outcome_of_a_stale_lease_that_is_accepted_violates_s4() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    zombie = story.claim(job, "w1")
    story.start(zombie)
    story.fault("F05", job)
    story.lose(zombie)
    lease = story.claim(job, "w2")
    story.start(lease)
    story.end(zombie)
    story.move(job, "completed", "work")  # and no lease goes

    assert violated(story) == ["S4"]


def test_an_older_lease_that_is_released_with_the_outcome_violates_s4() -> None:
    story = Story("F05")
    job = story.submit("plain-a-1")
    first = story.claim(job, "w1")
    story.start(first)
    story.fault("F05", job)
    story.move(job, "ready", "rescue")  # and its lease stays
    second = story.claim(job, "w2")
    story.start(second)
    story.end(first)
    story.release(first, "completed")

    assert violated(story) == ["S4", "S5"]


def test_a_lease_id_that_is_granted_twice_violates_s4() -> None:
    story = Story()
    story.done("plain-a-1")
    job = story.submit("plain-a-2")
    story.last_lease = 0
    story.work(job)

    assert violated(story) == ["S4", "S6"]  # and both of its handlers are of one lease


def test_a_job_that_runs_without_a_lease_violates_s4() -> None:
    story = Story()
    job = story.submit("plain-a-1", note={"expect": ["running"]})
    story.jobs[job]["attempt"] = 1
    story.move(job, "running", "claim")

    assert violated(story) == ["S4"]


def test_a_worker_over_http_that_was_told_accepted_for_a_lease_that_was_taken_violates_s4() -> None:
    story = Story("F05")
    job = story.submit("http-a-1")
    first = story.claim(job, "w1")
    story.start(first)
    story.end(first)
    story.lose(first)
    lease = story.claim(job, "w2")
    story.start(lease)
    story.end(lease)
    story.release(lease, "completed", "finish_lease")
    story.record("finish", "ok", role="http_worker", process="w2", job=job, lease=lease)
    assert violated(story) == []

    story.record("finish", "ok", role="http_worker", process="w1", job=job, lease=first)
    assert violated(story) == ["S4"]


def test_a_claim_that_counts_no_attempt_violates_s6() -> None:
    story = Story()
    job = story.submit("retrying-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "ready")
    story.jobs[job]["attempt"] -= 1  # the next claim counts it again
    lease = story.claim(job)
    story.start(lease, attempt=1)
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == ["S6"]


@pytest.mark.parametrize(("on_conflict", "expected"), [("replace", []), ("keep", ["S6"])])
def test_a_ready_job_that_is_replaced_begins_anew_without_a_change_of_its_state(
    on_conflict: str, expected: list[str]
) -> None:
    unique = {"unique": {"key": "k", "key_for": "unfinished", "on_conflict": on_conflict}}
    story = Story()
    job = story.submit("unique-a-1", key="k", note=unique)
    story.lose(story.claim(job))
    story.invoke("unique-a-2", **unique)
    story.answer("unique-a-2", "ok", job)
    story.jobs[job].update(name="unique-a-2", attempt=0)
    story.work(job, "w2")

    assert violated(story) == expected


def test_a_crash_that_costs_no_attempt_violates_s6() -> None:
    story = Story("F01")
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.wait(6)
    story.worker_event("lost", "w1", story.at - 1, lost_at=story.at)
    story.release(lease, "ready", "rescue", restored=True)
    story.work(job, "w2")

    assert violated(story) == ["S6"]


def test_an_attempt_that_is_given_back_although_its_handler_had_started_violates_s6() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "cancelled")
    story.release(lease, "ready", "release", restored=True)
    story.work(job)

    assert violated(story) == ["S6"]


def test_an_attempt_beyond_the_last_violates_s6() -> None:
    story = Story()
    job = story.submit("retrying-a-1", max_attempts=1)
    lease = story.claim(job)
    story.start(lease)
    story.end(lease, "raise")
    story.release(lease, "ready")
    story.work(job)

    assert violated(story) == ["S6"]


def test_a_job_that_has_crashed_more_workers_than_its_task_may_violates_s6() -> None:
    story = Story()
    job = story.done("plain-a-1")
    story.jobs[job]["crash_count"] = 4
    assert violated(story) == ["S6"]

    story.tables["tasks"] = [Task(name="work", max_crashes=4)]
    assert violated(story) == []


def test_a_lease_that_starts_two_handlers_violates_s6() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    lease = story.claim(job)
    story.start(lease)
    story.start(lease)
    story.end(lease)
    story.release(lease, "completed")

    assert violated(story) == ["S6"]


def test_a_handler_that_returns_from_an_attempt_that_was_to_fail_violates_s6() -> None:
    story = Story()
    story.done("failing-a-1")

    assert violated(story) == ["S6"]


def test_a_change_that_is_no_edge_violates_s7() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    story.move(job, "blocked", "promote")
    story.move(job, "ready", "finish")
    story.work(job)

    assert violated(story) == ["S7"]


def test_a_change_that_does_not_begin_where_the_last_one_ended_violates_s7() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    story.event(job, "blocked", "ready", who="finish")
    story.work(job)

    assert violated(story) == ["S7"]


def test_a_row_that_is_not_what_its_changes_lead_to_violates_s7() -> None:
    story = Story()
    job = story.done("plain-a-1")
    story.jobs[job]["state"] = "failed"
    story.records[0] = replace(story.records[0], note={"expect": ["failed"]})

    assert violated(story) == ["S7"]


def test_a_change_by_a_plain_statement_violates_s7() -> None:
    story = Story()
    job = story.submit("plain-a-1")
    story.event(job, "ready", "scheduled", who=None)
    story.move(job, "ready", "promote")
    story.work(job)

    assert violated(story) == ["S7"]


def test_a_row_whose_making_was_not_traced_violates_s7() -> None:
    story = Story()
    story.invoke("plain-a-1", expect=["ready"])
    story.answer("plain-a-1", "ok", story.row("plain-a-1"))

    assert violated(story) == ["S7"]


def test_a_database_that_went_back_excuses_leases_of_before_and_no_others() -> None:
    for later, expected in ((29, []), (31, ["S6"])):
        story = Story("F25")
        job = story.submit("plain-a-1")
        lease = story.claim(job)
        story.start(lease)
        story.fault("F25", forgets=[story.ns - 1_000_000, story.ns])
        story.end(lease)
        story.release(lease, "completed")
        story.wait(later - 1)
        other = story.submit("plain-a-2")
        again = story.claim(other)
        story.wait(1)
        story.start(again)
        story.start(again)
        story.end(again)
        story.release(again, "completed")

        assert violated(story) == expected
