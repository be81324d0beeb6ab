"""What is submitted: jobs of every kind, through every door, and what may become of each. Nothing is sent from here.

One submitter in one of its lives has dice of its own, so the seed and its name decide what it submits, and in which
order; how far it comes is up to the machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Literal, cast

from msgspec import Struct, structs

from dtsched.jobs import NewJob, OnConflict, OnFailure
from dtsched.torture.app import MOST_ATTEMPTS
from dtsched.torture.behaviour import behaviour, is_doomed
from dtsched.torture.digests import canonical, digest
from dtsched.torture.hostile import Case, cases
from dtsched.torture.plan import dice

Door = Literal["python", "sql", "rest", "batch", "outbox"]
Way = Literal["client", "client_batch", "insert", "function", "rest", "rest_batch", "rest_stream", "outbox"]
Then = Literal["cancel", "retry"]
End = Literal["completed", "failed", "cancelled", "skipped"]

DOORS: Mapping[Way, Door] = {
    "client": "python",
    "client_batch": "batch",
    "insert": "sql",
    "function": "sql",
    "rest": "rest",
    "rest_batch": "rest",
    "rest_stream": "rest",
    "outbox": "outbox",
}
ALONE: Sequence[Way] = ("client", "insert", "function", "rest")
UNINSERTED: Sequence[Way] = ("client", "function", "rest")
"""A plain INSERT has no backoff but the default one, which a run has no time for."""

HTTP_QUEUE = "http"
LIMIT = 3
LIMIT_KEYS = ("limited-a", "limited-b")
FIFO_KEYS = tuple(f"fifo-{number}" for number in range(6))
UNIQUE_KEYS = 10
FOREVER = "kept"

_TAKING: Mapping[int, OnConflict] = {0: "supersede", 1: "replace"}
_POLICIES: Sequence[OnConflict | None] = (None, None, "keep", "reject")

MIX: Mapping[str, float] = {
    "plain": 40,
    "retrying": 8,
    "failing": 3,
    "overrunning": 1,
    "long": 3,
    "unique": 8,
    "limited": 6,
    "fifo": 5,
    "dag": 1.5,
    "napping": 3,
    "delayed": 6,
    "cancelled": 4,
    "outbox": 6,
    "exact": 3,
    "http": 5,
    "hostile": 3,
    "multiplying": 0.5,
}
"""How often each kind comes. Poison is for those who ask for it."""

POISON = 0.5


class Item(Struct, frozen=True, kw_only=True):
    """A job. `must` says what the product has to do with it, where one of the two would be a fault."""

    key: str
    job: NewJob
    expect: tuple[str, ...]
    parents: tuple[str, ...] = ()
    must: Literal["accept", "refuse"] | None = None
    case: str | None = None

    @property
    def digest(self) -> str | None:
        """None of what is no JSON."""
        try:
            return digest(self.job.args)
        except ValueError:
            return None


class Submission(Struct, frozen=True, kw_only=True):
    """What is sent at once. It may be sent again, and is the same then, if the database knows it by a key that is kept,
    or the API by its Idempotency-Key."""

    kind: str
    way: Way
    items: tuple[Item, ...]
    then: Then | None = None
    after_seconds: float = 0.0

    @property
    def key(self) -> str:
        return self.items[0].key

    @property
    def repeatable(self) -> bool:
        return self.way in ("rest", "rest_batch") or all(
            item.job.key_for == FOREVER and item.job.on_conflict is None for item in self.items
        )

    def note(self, item: Item) -> dict[str, Any]:
        """What the record of a submission says of one of its jobs."""
        job = item.job
        said = {
            "kind": self.kind,
            "task": job.task,
            "door": DOORS[self.way],
            "way": self.way,
            "queue": job.queue or "default",
            "priority": job.priority or 5,
            "max_attempts": job.max_attempts,
            "args_bytes": size_of(job.args),
            "expect": list(item.expect),
            "limit_key": job.limit_key,
            "limit": LIMIT if job.limit_key in LIMIT_KEYS else 1 if job.limit_key else None,
            "fifo": job.limit_key if self.kind == "fifo" else None,
            "unique": unique_of(job),
            "parents": list(item.parents) or None,
            "on_parent_failure": (job.on_parent_failure or "cancel") if item.parents else None,
            "delay": job.delay,
            "run_at": job.run_at.isoformat() if job.run_at else None,
            "timeout": job.timeout,
            "must": item.must,
            "case": item.case,
        }
        return {name: value for name, value in said.items() if value is not None}


def unique_of(job: NewJob) -> dict[str, Any] | None:
    if job.key is None:
        return None
    return {"key": job.key, "key_for": job.key_for or "unfinished", "on_conflict": job.on_conflict or "keep"}


def size_of(args: dict[str, Any]) -> int | None:
    try:
        return len(canonical(args))
    except ValueError:
        return None


def submissions(seed: int, name: str, mix: Mapping[str, float] | None = None) -> Iterator[Submission]:
    """Without end."""
    weights = MIX if mix is None else mix
    draft = Draft(seed, name, dice(seed, f"workload/{name}"))
    kinds, shares = list(weights), list(weights.values())
    while True:
        (kind,) = draft.dice.choices(kinds, shares)
        yield KINDS[kind](draft, kind)


@dataclass
class Draft:
    """What the kinds are drawn with."""

    seed: int
    name: str
    dice: Random
    numbers: Iterator[int] = field(default_factory=count)

    def key(self, kind: str) -> str:
        return f"{kind}-{self.name}-{next(self.numbers)}"

    def args(self, key: str) -> dict[str, Any]:
        return {"name": key, "payload": self.payload()}

    def payload(self) -> object:
        number = self.dice.randrange(10**9)
        return self.dice.choice((None, number, number / 1000, "x" * (number % 300), {"n": number, "to": ["a@x.org"]}))

    def task(self, *, process: bool = True, thread: bool = True) -> str:
        share = self.dice.random()
        if process and share < 0.1:
            return "work_in_process"
        return "work_in_thread" if thread and share > 0.85 else "work"

    def one(
        self,
        kind: str,
        ways: Sequence[Way],
        *expect: str,
        task: str | None = None,
        then: Then | None = None,
        after_seconds: float = 0.0,
        **fields: Any,
    ) -> Submission:
        """A job alone."""
        key = self.key(kind)
        given: dict[str, Any] = {"max_attempts": MOST_ATTEMPTS, **fields}
        job = NewJob(task=task or self.task(), args=self.args(key), **given)
        return Submission(
            kind=kind,
            way=self.dice.choice(ways),
            items=(Item(key=key, job=job, expect=expect),),
            then=then,
            after_seconds=after_seconds,
        )


def _plain(draft: Draft, kind: str) -> Submission:
    share = draft.dice.random()
    if share < 0.15:
        return _batch(draft, kind)
    priority = draft.dice.randint(1, 10) if draft.dice.random() < 0.3 else None
    submission = draft.one(kind, ALONE, "completed", priority=priority)
    return _kept(submission) if share > 0.5 and submission.way in ("client", "function") else submission


def _kept(submission: Submission) -> Submission:
    """Under a key that nobody else has, and which stays taken: so it may be sent again."""
    items = tuple(
        structs.replace(item, job=structs.replace(item.job, key=item.key, key_for=FOREVER)) for item in submission.items
    )
    return structs.replace(submission, items=items)


def _batch(draft: Draft, kind: str) -> Submission:
    way: Way = draft.dice.choice(("client_batch", "rest_batch", "rest_stream"))
    several = [draft.one(kind, (way,), "completed") for _ in range(draft.dice.randint(2, 20))]
    batch = structs.replace(several[0], items=tuple(one.items[0] for one in several))
    return _kept(batch) if way == "rest_stream" or draft.dice.random() < 0.5 else batch


def _completing(ways: Sequence[Way], **fields: Any) -> "Kind":
    return lambda draft, kind: draft.one(kind, ways, "completed", **fields)


def _failing(draft: Draft, kind: str) -> Submission:
    by_hand = draft.dice.random() < 0.4
    return draft.one(
        kind,
        UNINSERTED,
        "failed",
        max_attempts=draft.dice.randint(1, 3),
        then="retry" if by_hand else None,
        after_seconds=draft.dice.uniform(0.5, 4),
    )


def _overrunning(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, UNINSERTED, "completed", task=draft.task(thread=False), timeout=0.5)


def _unique(draft: Draft, kind: str) -> Submission:
    """Of a few keys, which many want at once. Who takes a key from its holder has it cancelled, or replaced."""
    number = draft.dice.randrange(UNIQUE_KEYS)
    policy: OnConflict | None = _TAKING.get(number) or draft.dice.choice(_POLICIES)
    return draft.one(
        kind,
        ALONE if policy is None else UNINSERTED,
        *(("completed", "cancelled") if number in _TAKING else ("completed",)),
        key=f"unique-{number}",
        on_conflict=policy,
        delay=round(draft.dice.uniform(0.1, 1), 3) if draft.dice.random() < 0.5 else None,
    )


def _limited(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, ALONE, "completed", limit_key=draft.dice.choice(LIMIT_KEYS))


def _in_turn(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, ALONE, "completed", limit_key=draft.dice.choice(FIFO_KEYS))


def _napping(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, ALONE, "completed", task=draft.task(process=False))


def _delayed(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, ALONE, "completed", delay=round(draft.dice.uniform(0.2, 6), 3))


def _cancelled(draft: Draft, kind: str) -> Submission:
    return draft.one(
        kind,
        ALONE,
        "completed",
        "cancelled",
        delay=round(draft.dice.uniform(0.1, 2), 3) if draft.dice.random() < 0.3 else None,
        then="cancel",
        after_seconds=draft.dice.choice((0.0, draft.dice.uniform(0, 0.1), draft.dice.uniform(0, 2))),
    )


def _over_http(draft: Draft, kind: str) -> Submission:
    return draft.one(kind, ALONE, "completed", task="over_http", queue=HTTP_QUEUE)


def _multiplying(draft: Draft, kind: str) -> Submission:
    """A copy of a worker that runs on, and a program that outlives its handler."""
    submission = draft.one(kind, UNINSERTED, "completed")
    (item,) = submission.items
    task = "work" if behaviour(draft.seed, item.key, 1).act == "fork" else "work_in_process"
    return structs.replace(submission, items=(structs.replace(item, job=structs.replace(item.job, task=task)),))


def _poison(draft: Draft, kind: str) -> Submission:
    task = draft.dice.choice(("poison", "poison_in_process"))
    return draft.one(kind, UNINSERTED, "failed", task=task, max_attempts=5)


def _graph(draft: Draft, kind: str) -> Submission:
    """Three to eight jobs, each but the first of which depends on some before it."""
    items: list[Item] = []
    ends: dict[str, End] = {}
    for number in range(draft.dice.randint(3, 8)):
        parents = [parent.key for parent in draft.dice.sample(items, min(number, draft.dice.randint(1, 3)))]
        policy = cast("OnFailure | None", draft.dice.choice((None, None, "run", "skip"))) if parents else None
        key = draft.key(kind)
        job = NewJob(
            task=draft.task(process=False),
            args=draft.args(key),
            key=key,
            key_for=FOREVER,
            max_attempts=MOST_ATTEMPTS,
            depends_on=parents or None,
            on_parent_failure=policy,
        )
        end = ends[key] = end_of([ends[parent] for parent in parents], policy, doomed=is_doomed(draft.seed, key))
        expect = ("cancelled" if end == "skipped" else end,)
        items.append(Item(key=key, job=job, parents=tuple(parents), expect=expect))
    draft.dice.shuffle(items)
    ways: Sequence[Way] = ("client_batch", "rest_batch")
    return Submission(kind=kind, way=draft.dice.choice(ways), items=tuple(items))


def end_of(parents: Sequence[End], policy: OnFailure | None, *, doomed: bool) -> End:
    """How a job of a graph ends. What depends on a skipped one goes on as if that had completed."""
    unmet = any(parent in ("failed", "cancelled") for parent in parents)
    if unmet and policy != "run":
        return "skipped" if policy == "skip" else "cancelled"
    return "failed" if doomed else "completed"


def _hostile(draft: Draft, kind: str) -> Submission:
    case: Case = draft.dice.choice(HOSTILE)
    key = draft.key(kind)
    fields: dict[str, Any] = {"task": draft.task(), "max_attempts": MOST_ATTEMPTS, **case.fields}
    payload = case.payload() if case.payload is not None else None
    job = NewJob(args={"name": key, "payload": payload}, **fields)
    item = Item(key=key, job=job, expect=case.expect, must=case.must, case=case.name)
    return Submission(kind=kind, way=cast("Way", draft.dice.choice(case.ways)), items=(item,))


Kind = Callable[[Draft, str], Submission]

HOSTILE: Sequence[Case] = cases()
KINDS: Mapping[str, Kind] = {
    "plain": _plain,
    "retrying": _completing(UNINSERTED),
    "failing": _failing,
    "overrunning": _overrunning,
    "long": _completing(ALONE),
    "unique": _unique,
    "limited": _limited,
    "fifo": _in_turn,
    "dag": _graph,
    "napping": _napping,
    "delayed": _delayed,
    "cancelled": _cancelled,
    "outbox": _completing(("outbox",)),
    "exact": _completing(UNINSERTED, task="complete_in"),
    "http": _over_http,
    "hostile": _hostile,
    "multiplying": _multiplying,
    "poison": _poison,
}
