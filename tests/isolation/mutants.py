"""Functions that are broken on purpose, each as somebody might break it, and the scenario that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.isolation import (
    test_deletes,
    test_keys,
    test_leases,
    test_limits,
    test_requests,
    test_schedules,
    test_waiting,
)
from tests.isolation.duels import Duels
from tests.support.broken import Broken


@dataclass(frozen=True)
class Mutant(Broken):
    scenario: Callable[[Duels], None]


MUTANTS = (
    Mutant(
        "a claim does not lock its jobs",
        "claim",
        "            order by job.id\n            for no key update skip locked);",
        "            order by job.id);",
        test_leases.test_what_is_cancelled_before_it_is_claimed_never_starts_and_otherwise_is_told_to_stop,
    ),
    Mutant(
        "a claim does not look at the state",
        "claim",
        "where job.id = any (v_ids) and job.state = 'ready' and job.queue = p_queue",
        "where job.id = any (v_ids) and job.queue = p_queue",
        test_leases.test_what_is_cancelled_before_it_is_claimed_never_starts_and_otherwise_is_told_to_stop,
    ),
    Mutant(
        "entries are taken without a lock",
        "take_ready",
        "for update skip locked",
        "",
        test_leases.test_two_claims_never_take_the_same_job,
    ),
    Mutant(
        "limit keys are not locked",
        "take_limited",
        "        order by limited.limit_key\n        for no key update skip locked);",
        "        order by limited.limit_key);",
        test_limits.test_two_claims_that_each_have_a_turn_of_the_same_limit_key,
    ),
    Mutant(
        "two may make the row of a limit key",
        "take_limited",
        "where pg_try_advisory_xact_lock(dtsched.gate() + 2, hashtext(fresh.limit_key))",
        "where true",
        test_limits.test_two_claims_of_a_limit_key_that_is_new,
    ),
    Mutant(
        "the row of a queue is not locked",
        "admit",
        " for no key update",
        "",
        test_limits.test_two_claims_never_start_more_of_a_queue_than_may,
    ),
    Mutant(
        "a finish counts without its lease",
        "finish_completed",
        "    if v_leases is null",
        "    v_leases := p_leases;\n"
        "    v_jobs := array(select id from dtsched.jobs where state = 'running' order by id);\n"
        "    if v_leases is null",
        lambda duels: test_leases.test_a_lease_is_either_finished_or_taken_back(duels, test_leases.FINISH),
    ),
    Mutant(
        "a rescue does not lock the leases",
        "rescue",
        "order by lease.id for update skip locked);",
        "order by lease.id);",
        lambda duels: test_leases.test_a_lease_is_either_finished_or_taken_back(duels, test_leases.FINISH),
    ),
    Mutant(
        "a rescue waits for leases",
        "rescue",
        "order by lease.id for update skip locked);",
        "order by lease.id for update);",
        lambda duels: test_leases.test_a_lease_is_either_finished_or_taken_back(duels, test_leases.FAIL),
    ),
    Mutant(
        "a rescue judges workers that are renewing",
        "rescue",
        "order by expired.id for no key update skip locked",
        "order by expired.id",
        test_leases.test_a_worker_whose_renewal_was_heard_keeps_its_jobs,
    ),
    Mutant(
        "who is told to stop is not locked",
        "cancel",
        "            order by lease.id\n            for no key update skip locked",
        "            order by lease.id",
        lambda duels: test_leases.test_a_job_that_was_told_to_stop_before_its_end_ends_cancelled(
            duels, test_leases.FINISH
        ),
    ),
    Mutant(
        "waiting jobs are cancelled without a lock",
        "lock_waiting",
        "        order by job.id\n        for update skip locked);",
        "        order by job.id);",
        test_leases.test_what_is_cancelled_before_it_is_claimed_never_starts_and_otherwise_is_told_to_stop,
    ),
    Mutant(
        "parents are not locked while a child is linked",
        "link_parents",
        "    order by parent.id\n    for share;",
        "    order by parent.id;",
        lambda duels: (
            test_waiting.test_a_child_that_is_submitted_while_its_parents_end_neither_starts_early_nor_waits_for_ever(
                duels, test_leases.FINISH, "cancel"
            )
        ),
    ),
    Mutant(
        "due jobs are promoted without a lock",
        "lock_jobs",
        " for no key update skip locked",
        "",
        test_waiting.test_a_promotion_and_a_new_time,
    ),
    Mutant(
        "the promotion does not look at the time again",
        "promote",
        "where job.id = due.job_id and job.state = 'scheduled' and job.run_at = due.run_at",
        "where job.id = due.job_id and job.state = 'scheduled'",
        test_waiting.test_a_promotion_and_a_new_time,
    ),
    Mutant(
        "an event is emitted without its lock",
        "emit",
        "    perform pg_advisory_xact_lock(dtsched.event_gate(), hashtext(p_name));\n",
        "",
        test_waiting.test_an_event_that_is_emitted_while_a_job_comes_to_wait_for_it_is_heard,
    ),
    Mutant(
        "a schedule is fired without a lock",
        "fire",
        "    for no key update skip locked;",
        "    ;",
        test_schedules.test_of_two_that_fire_a_tick_one_does,
    ),
    Mutant(
        "a schedule of another version is fired",
        "fire",
        " and schedule.version = p_version and schedule.next_at is not distinct from p_due\n"
        "        and schedule.paused_at is null and schedule.problem is null",
        "",
        lambda duels: test_schedules.test_what_is_changed_fires_before_that_or_not_at_all(
            duels, test_schedules.CHANGES["pause"]
        ),
    ),
    Mutant(
        "two may be at one Idempotency-Key",
        "submit_once",
        "if not pg_try_advisory_xact_lock(hashtextextended(p_caller || E'\\n' || p_key, 0)) then",
        "if false then",
        test_requests.test_a_request_that_is_sent_twice_submits_once,
    ),
    Mutant(
        "an end over HTTP does not find its receipt",
        "finish_lease",
        "where receipt.lease_id = p_lease",
        "where receipt.lease_id = -p_lease",
        test_requests.test_the_same_end_twice_counts_once_and_is_told_twice,
    ),
    Mutant(
        "two may step one operation",
        "step_operation",
        "    limit 1\n    for update skip locked;",
        "    limit 1;",
        test_requests.test_two_steps_of_an_operation_meet_each_job_once,
    ),
    Mutant(
        "a retry does not lock its jobs",
        "retry",
        "        order by job.id\n        for update skip locked);",
        "        order by job.id);",
        lambda duels: test_deletes.test_a_job_is_either_retried_or_deleted(duels, test_deletes.cancelled_job),
    ),
    Mutant(
        "a deletion does not lock its jobs",
        "delete",
        "        order by job.id\n        for update skip locked);",
        "        order by job.id);",
        lambda duels: test_deletes.test_a_job_is_either_retried_or_deleted(duels, test_deletes.cancelled_job),
    ),
    Mutant(
        "pruning does not lock its jobs",
        "prune_chunk",
        "        order by job.id\n        for update skip locked);",
        "        order by job.id);",
        test_deletes.test_a_job_is_either_retried_or_pruned,
    ),
    Mutant(
        "keys are taken in the order of the array",
        "try_keys",
        "        group by wanted.key\n        order by wanted.key\n        on conflict do nothing;",
        "        group by wanted.key\n        order by min(wanted.id)\n        on conflict do nothing;",
        test_keys.test_of_two_submissions_with_a_key_one_makes_the_job_and_the_other_gets_it,
    ),
    Mutant(
        "a retry takes no key",
        "retry",
        "    if v_keyed is not null then",
        "    if false then",
        test_keys.test_a_retry_beside_a_submission_that_takes_its_key,
    ),
)
