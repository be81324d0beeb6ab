"""The five things that can be done to jobs, their outcomes in words, and how they are done to many jobs."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from dtsched.store import Store

Act: TypeAlias = Callable[[Store, Sequence[int]], Awaitable[dict[int, str]]]

BATCH = 500
AGAIN = ("busy", "parents")
"""What may end otherwise at a second try: a lock was held, or a parent's turn came later."""

COMMON = {
    "busy": "somebody else was changing it: try again",
    "missing": "there is no such job",
}


class Verb(NamedTuple):
    """`question` takes a number of jobs, `meanings` explains each outcome; those in `successes` are what was asked."""

    question: str
    doing: str
    successes: frozenset[str]
    meanings: Mapping[str, str]


CANCEL = Verb(
    "Cancel {}?",
    "cancelling",
    frozenset({"cancelled", "requested"}),
    {
        **COMMON,
        "cancelled": "it will not run",
        "requested": "it runs, and has been told to stop",
        "finished": "it had ended before",
    },
)
RETRY = Verb(
    "Run {} again?",
    "retrying",
    frozenset({"retried"}),
    {
        **COMMON,
        "retried": "it runs again, with all its attempts before it",
        "unfinished": "it has not ended, so there is nothing to retry",
        "finished": "it has completed: only failed and cancelled jobs are retried",
        "key_held": "another unfinished job has its key by now",
        "parents": "a job that it depends on failed or was cancelled: retry that one with it",
        "deadline": "its deadline has passed: submit it anew",
    },
)
RUN_NOW = Verb(
    "Run {} now?",
    "making ready",
    frozenset({"ready", "blocked"}),
    {
        **COMMON,
        "ready": "workers may take it now",
        "blocked": "it waits for the jobs it depends on, and for no time any longer",
        "running": "it runs already",
        "finished": "it has ended: retry runs failed and cancelled jobs again",
    },
)
RESCHEDULE = Verb(
    "Reschedule {}?",
    "rescheduling",
    frozenset({"scheduled", "ready", "blocked"}),
    {
        **COMMON,
        "scheduled": "it runs at that time",
        "ready": "that time has come: workers may take it now",
        "blocked": "it waits for the jobs it depends on, and for that time",
        "running": "it runs already",
        "finished": "it has ended: retry runs failed and cancelled jobs again",
    },
)
DELETE = Verb(
    "Delete {}, with results and attempts?",
    "deleting",
    frozenset({"deleted"}),
    {
        **COMMON,
        "deleted": "it is gone, with its result and attempts",
        "running": "it runs: cancel it first",
    },
)

EDIT = Verb(
    "Change {}?",
    "changing",
    frozenset({"edited"}),
    {
        **COMMON,
        "edited": "it is changed; retry runs it again if it has ended",
        "running": "it runs: its worker has what it was",
        "finished": "it has completed",
        "too_large": "its args would be over 1 MiB",
    },
)


async def act_on(
    store: Store, act: Act, batches: AsyncGenerator[list[int]], note: Callable[[dict[int, str]], object]
) -> None:
    """Notes the outcome of every job once. What a second try may change gets one at the end, oldest first: so parents
    come before those that depend on them."""
    later: list[int] = []
    async for ids in batches:
        outcomes = await act(store, ids)

        later += [job_id for job_id, outcome in outcomes.items() if outcome in AGAIN]
        note({job_id: outcome for job_id, outcome in outcomes.items() if outcome not in AGAIN})
    async for ids in batches_of(sorted(later)):
        note(await act(store, ids))


async def batches_of(ids: Iterable[int]) -> AsyncGenerator[list[int]]:
    wanted = list(ids)
    for start in range(0, len(wanted), BATCH):
        yield wanted[start : start + BATCH]
