"""What jobs do is decided by their names alone, and what becomes of them can be told beforehand."""

from __future__ import annotations

from itertools import islice

import pytest

from dtsched import App
from dtsched.torture.app import MOST_ATTEMPTS
from dtsched.torture.app import app as torture_app
from dtsched.torture.behaviour import MOST_FAILURES, behaviour, is_doomed, kind_of
from dtsched.torture.digests import digest
from dtsched.torture.sabotage import add_to
from dtsched.torture.workload import KINDS, MIX, Submission, end_of, submissions


def some(count: int, seed: int = 7, name: str = "a.0") -> list[Submission]:
    return list(islice(submissions(seed, name, {**MIX, "poison": 3}), count))


def test_behaviour_is_decided_by_seed_name_and_attempt_and_by_nothing_else() -> None:
    keys = [f"{kind}-a.0-{number}" for kind in KINDS for number in range(20)]
    once = [behaviour(42, key, attempt) for key in keys for attempt in (1, 2, 3)]
    again = [behaviour(42, key, attempt) for key in reversed(keys) for attempt in (3, 2, 1)]
    assert again == once[::-1]
    assert once != [behaviour(43, key, attempt) for key in keys for attempt in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["retrying", "overrunning", "http"])
def test_what_fails_for_some_attempts_fails_for_the_first_few(kind: str) -> None:
    ways: set[int] = set()
    for number in range(100):
        acts = [behaviour(42, f"{kind}-a.0-{number}", attempt).act for attempt in range(1, MOST_ATTEMPTS + 1)]
        failures = sum(act in ("raise", "retry", "overrun") for act in acts)
        assert failures <= MOST_FAILURES
        assert not any(act in ("raise", "retry", "overrun") for act in acts[failures:])
        ways.add(failures)
    assert len(ways) > 1


def test_a_doomed_job_of_a_graph_fails_in_each_attempt() -> None:
    for number in range(100):
        key = f"dag-a.0-{number}"
        acts = {behaviour(42, key, attempt).act for attempt in range(1, 10)}
        assert acts == {"fail" if is_doomed(42, key) else "return"}


def test_one_seed_and_name_draw_the_same_submissions() -> None:
    assert some(300) == some(300)
    assert some(300) != some(300, seed=8)
    assert not {item.key for one in some(300) for item in one.items} & {
        item.key for one in some(300, name="a.1") for item in one.items
    }


def test_every_kind_and_every_way_comes() -> None:
    drawn = some(3000)
    assert {one.kind for one in drawn} == set(KINDS) == {*MIX, "poison"}
    assert {one.way for one in drawn} == {
        "client", "client_batch", "insert", "function", "rest", "rest_batch", "rest_stream", "outbox",
    }  # fmt: skip
    keys = [item.key for one in drawn for item in one.items]
    assert len(keys) == len(set(keys))
    assert all(kind_of(item.key) == one.kind for one in drawn for item in one.items)


def test_every_task_that_is_submitted_is_one_of_the_app_but_one() -> None:
    tasks = {item.job.task for one in some(3000) for item in one.items if item.must != "refuse"}
    assert tasks - set(torture_app.registry) == {"nobody.knows"}
    for_faults = App()
    add_to(for_faults)
    assert set(torture_app.registry) - set(for_faults.registry) - tasks == {"tick"}


def test_only_what_the_database_or_the_api_knows_again_is_repeated() -> None:
    for one in some(2000):
        if one.repeatable and one.way not in ("rest", "rest_batch"):
            assert all(item.job.key == item.key and item.job.key_for == "kept" for item in one.items)


def test_a_record_of_a_submission_says_what_the_checker_needs() -> None:
    for one in some(2000):
        for item in one.items:
            note = one.note(item)
            assert {"kind", "task", "door", "way", "expect", "max_attempts"} <= set(note)
            assert None not in note.values()
            assert (note["kind"] == "dag" and one.items[0].key in note.get("parents", [])) <= ("parents" in note)
            if item.must is None:
                assert item.job.args["name"] == item.key
                assert item.digest == digest(item.job.args)


@pytest.mark.parametrize(
    ("parents", "policy", "doomed", "end"),
    [
        ([], None, False, "completed"),
        ([], None, True, "failed"),
        (["completed", "completed"], None, False, "completed"),
        (["completed", "failed"], None, False, "cancelled"),
        (["completed", "failed"], "skip", True, "skipped"),
        (["completed", "failed"], "run", True, "failed"),
        (["cancelled"], None, False, "cancelled"),
        (["cancelled"], "run", False, "completed"),
        (["skipped"], None, False, "completed"),
        (["skipped", "cancelled"], "skip", False, "skipped"),
    ],
)
def test_how_a_job_of_a_graph_ends(parents: list[str], policy: str | None, doomed: bool, end: str) -> None:
    assert end_of(parents, policy, doomed=doomed) == end  # pyright: ignore[reportArgumentType]


def test_a_digest_does_not_depend_on_how_a_value_was_written() -> None:
    assert digest({"a": 1000.0, "b": [1e22, -0.0]}) == digest({"b": [10**22, 0], "a": 1000})
    assert digest({"a": 1e308}) == digest({"a": 10**308})
    assert digest([0.1]) != digest([0.10000000000000002])
    assert digest("1") != digest(1)
    assert digest([None]) != digest([False])
