"""Group D: bursts of what the semantics of jobs are there for, all at once and against each other. What must hold is
for the checker to say; here it is brought about, and written down."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from time import monotonic, sleep
from typing import Any, ClassVar, Literal, LiteralString

import psycopg
from psycopg import sql

from dtsched.torture.faults.base import Fault, Group, Member, Stage
from dtsched.torture.faults.jobs import Order, insert, orders, submit_aside, submit_on
from dtsched.torture.faults.striking import freeze, kill, thaw

ENDED = ("completed", "failed", "cancelled")
LIMIT = 3

_CANCEL: LiteralString = "select outcome from dtsched.cancel(array[%s::bigint])"
_RETRY: LiteralString = "select outcome from dtsched.retry(array[%s::bigint])"


def act(stage: Stage, connection: psycopg.Connection, what: Literal["cancel", "retry"], key: str, job: int) -> str:
    """What came of it, which is written down as everybody's acts are."""
    stage.record(what, "invoke", key=key, job=job)
    try:
        row = connection.execute(_CANCEL if what == "cancel" else _RETRY, (job,)).fetchone()
    except psycopg.Error as error:
        stage.record(what, "info", key=key, job=job, error=type(error).__name__)
        raise
    outcome = str(row[0]) if row is not None else "missing"
    stage.record(what, "ok", key=key, job=job, outcome=outcome)
    return outcome


class Crowd:
    """Several at once, each in a thread and on a connection of its own; who loses that has ended."""

    def __init__(self, stage: Stage, random: Random, size: int) -> None:
        self._stage = stage
        self._seeds = [random.getrandbits(64) for _ in range(size)]

    async def each(self, play: Callable[[Random, psycopg.Connection], None]) -> None:
        with ThreadPoolExecutor(len(self._seeds), thread_name_prefix="torture-crowd") as threads:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, self._play, play, seed) for seed in self._seeds))

    def _play(self, play: Callable[[Random, psycopg.Connection], None], seed: int) -> None:
        with suppress(psycopg.OperationalError), self._stage.connect(application="torture crowd") as connection:
            play(Random(seed), connection)


class KeyStorm(Fault):
    """F52. Exposed are the jobs that were made under the keys."""

    number = "F52"
    title = "a storm of submissions, cancellations and retries of a few unique keys"
    takes = 8.0
    strikes = 2
    group: ClassVar[Group] = "semantics"

    submitters: ClassVar[int] = 50
    keys: ClassVar[int] = 10
    rounds: ClassVar[int] = 8

    async def inject(self, stage: Stage) -> Sequence[int]:
        made: dict[int, str] = {}
        keys = [f"storm-{self.random.getrandbits(32):08x}-{number}" for number in range(self.keys)]

        def play(random: Random, connection: psycopg.Connection) -> None:
            for _ in range(self.rounds):
                known = list(made.items())
                share = random.random()
                if known and share < 0.3:
                    job, name = random.choice(known)
                    act(stage, connection, "cancel" if share < 0.15 else "retry", name, job)
                    continue
                order = _keyed(random, random.choice(keys))
                with suppress(psycopg.errors.DatabaseError):  # held, as on_conflict has it; and what act() may raise
                    (job,) = submit_on(stage, connection, [order])
                    made.setdefault(job, order.key)

        await Crowd(stage, self.random, self.submitters).each(play)
        return sorted(made)


def _keyed(random: Random, key: str) -> Order:
    on_conflict = random.choice(("keep", "keep", "supersede", "reject"))
    unique = {"key": key, "key_for": "unfinished", "on_conflict": on_conflict}
    (order,) = orders(
        random,
        1,
        "take_time",
        {"seconds": round(random.uniform(0, 0.05), 3)},
        expect=("completed", "cancelled"),
        note={"unique": unique},
        key=key,
        on_conflict=on_conflict,
    )
    return order


class LimitUnderKills(Fault):
    """F53. Workers that hold seats of one limit key are killed and frozen. Exposed are the jobs in those seats."""

    number = "F53"
    title = "a limit of three while those who hold its seats are killed and frozen"
    takes = 16.0
    strikes = 5
    group: ClassVar[Group] = "semantics"
    overlaps = True

    jobs: ClassVar[int] = 60
    seconds: ClassVar[float] = 0.3
    kills: ClassVar[int] = 3

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._frozen: list[Member] = []
        self._since = 0.0

    async def inject(self, stage: Stage) -> Sequence[int]:
        key = f"limited-{self.random.getrandbits(32):08x}"
        with stage.connect() as connection:
            connection.execute("select dtsched.set_limit(%s, %s)", (key, LIMIT))
        wanted = orders(
            self.random, self.jobs, "take_time", {"seconds": self.seconds}, note={"limit": LIMIT}, limit_key=key
        )
        jobs = {*await submit_aside(stage, wanted)}
        exposed: set[int] = set()
        for _ in range(self.kills):
            exposed.update(jobs.intersection(kill(stage, await self._holders(stage, jobs))))
        self._frozen = await self._holders(stage, jobs)
        self._since = monotonic()
        exposed.update(jobs.intersection(freeze(stage, self._frozen)))
        return sorted(exposed)

    async def heal(self, stage: Stage) -> None:
        if self._frozen:
            await asyncio.sleep(max(0.0, self._since + 1.5 * stage.lease_seconds - monotonic()))
        thaw(self._frozen)
        self._frozen = []

    async def _holders(self, stage: Stage, jobs: set[int]) -> list[Member]:
        """One worker with a seat, as soon as there is one."""
        deadline = monotonic() + 3 * stage.lease_seconds + 5
        while monotonic() < deadline:
            workers = [worker for worker in stage.members("worker") if not worker.frozen]
            self.random.shuffle(workers)
            for worker in workers:
                if jobs.intersection(stage.in_flight(worker)):
                    return [worker]
            await asyncio.sleep(0.02)
        return []


class GraphsInTheMaking(Fault):
    """F54. Jobs are added to a graph one by one while those they depend on run, fail, are cancelled and come back.
    Exposed are children that were added while a parent had not ended."""

    number = "F54"
    title = "random graphs of which parents fail, are cancelled and retried while children are added"
    takes = 8.0
    group: ClassVar[Group] = "semantics"

    graphs: ClassVar[int] = 4
    nodes: ClassVar[int] = 25

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed: list[int] = []

        def play(random: Random, connection: psycopg.Connection) -> None:
            made: list[tuple[int, Order]] = []
            for _ in range(self.nodes):
                parents = random.sample(made, min(len(made), random.randint(0, 3)))
                ids = [job for job, _ in parents]
                order = _node(random, parents)
                unended = _unended(connection, ids)
                (job,) = submit_on(stage, connection, [order])
                made.append((job, order))
                if unended:
                    exposed.append(job)
                if random.random() < 0.2:
                    job, order = random.choice(made)
                    act(stage, connection, random.choice(("cancel", "retry")), order.key, job)

        await Crowd(stage, self.random, self.graphs).each(play)
        return sorted(exposed)


def _node(random: Random, parents: Sequence[tuple[int, Order]]) -> Order:
    """How it ends is up to how its parents do, and who cancels them."""
    policy = random.choice(("cancel", "run", "skip"))
    doomed = random.random() < 0.25
    edges: dict[str, Any] = {"depends_on": [job for job, _ in parents], "on_parent_failure": policy} if parents else {}
    said = {"parents": [parent.key for _, parent in parents], "on_parent_failure": policy} if parents else {}
    (order,) = orders(
        random,
        1,
        "fail_at_once" if doomed else "take_time",
        {} if doomed else {"seconds": round(random.uniform(0, 0.05), 3)},
        expect=("failed", "cancelled") if doomed else ("completed", "cancelled"),
        note=said,
        **edges,
    )
    return order


def _unended(connection: psycopg.Connection, jobs: Sequence[int]) -> bool:
    row = connection.execute(
        "select exists (select from dtsched.jobs where id = any (%s) and state <> all (%s))", (list(jobs), list(ENDED))
    ).fetchone()
    return bool(row and row[0])


class CancelRaces(Fault):
    """F55. Each job is cancelled at a random moment of its short life. Exposed are those whose cancellation was
    answered."""

    number = "F55"
    title = "cancellation against claim against completion"
    strikes = 2
    group: ClassVar[Group] = "semantics"

    players: ClassVar[int] = 8
    rounds: ClassVar[int] = 10

    async def inject(self, stage: Stage) -> Sequence[int]:
        exposed: list[int] = []

        def play(random: Random, connection: psycopg.Connection) -> None:
            for _ in range(self.rounds):
                seconds = round(random.choice((0.0, random.uniform(0, 0.05))), 4)
                (order,) = orders(random, 1, "take_time", {"seconds": seconds}, expect=("completed", "cancelled"))
                (job,) = submit_on(stage, connection, [order])
                sleep(random.choice((0.0, random.uniform(0, 0.01), random.uniform(0, 0.1))))
                for _ in range(10):
                    if act(stage, connection, "cancel", order.key, job) != "busy":
                        exposed.append(job)
                        break

        await Crowd(stage, self.random, self.players).each(play)
        return sorted(exposed)


class Starvation(Fault):
    """F56. Exposed are the few that wait behind the many."""

    number = "F56"
    title = "nine jobs of high priority to one of low priority"
    takes = 8.0
    group: ClassVar[Group] = "semantics"

    few: ClassVar[int] = 100

    async def inject(self, stage: Stage) -> Sequence[int]:
        """Both come at once, in one transaction."""
        low = orders(self.random, self.few, "do_nothing", priority=1)
        waiting = (await submit_aside(stage, [*low, *self._flood(4)]))[: self.few]
        for _ in range(5):
            await asyncio.sleep(self.random.uniform(0, 0.1))
            await submit_aside(stage, self._flood(1))
        return waiting

    def _flood(self, times: int) -> list[Order]:
        return orders(self.random, times * self.few, "take_time", {"seconds": 0.005}, priority=10)


ROLES = ("dtsched_submit", "dtsched_worker", "dtsched_reader", "dtsched_operator")

ABUSES: Sequence[LiteralString] = (
    "delete from dtsched.jobs where id = any (%(jobs)s)",
    "update dtsched.jobs set state = 'completed' where id = any (%(jobs)s)",
    "update dtsched.jobs set attempt = 0, max_attempts = 1000 where id = any (%(jobs)s)",
    "truncate dtsched.jobs",
    "truncate dtsched.leases",
    "drop table dtsched.jobs",
    "alter table dtsched.jobs disable trigger all",
    "insert into dtsched.jobs (task, state) values ('do_nothing', 'completed')",
    "insert into dtsched.jobs (id, task) select unnest(%(jobs)s::bigint[]), 'do_nothing'",
    "insert into dtsched.jobs (task) values (null)",
    "insert into dtsched.jobs (task, args) values ('do_nothing', null)",
    "insert into dtsched.jobs (task, args) values ('do_nothing', '[]')",
    "insert into dtsched.jobs (task, run_at) values ('do_nothing', 'infinity')",
    "insert into dtsched.jobs (task, max_attempts) values ('do_nothing', -1)",
    "insert into dtsched.jobs (task, timeout) values ('do_nothing', '-1 s')",
    "insert into dtsched.jobs (task, priority) values ('do_nothing', 1000)",
    "insert into dtsched.jobs (task, worker_id) values ('do_nothing', gen_random_uuid())",
    "insert into dtsched.leases (id, job_id, worker_id) select 0, unnest(%(jobs)s::bigint[]), gen_random_uuid()",
    "update dtsched.leases set worker_id = gen_random_uuid() where job_id = any (%(jobs)s)",
    "delete from dtsched.leases where job_id = any (%(jobs)s)",
    "select secret from dtsched.leases",
    "select args from dtsched.jobs",
    "select * from dtsched.api_keys",
    "update dtsched.workers set expires_at = 'infinity'",
    "delete from dtsched.workers",
    "insert into dtsched.ready (queue, priority, job_id) select 'default', 1, unnest(%(jobs)s::bigint[])",
    "delete from dtsched.keys",
    "delete from dtsched.job_events",
    "update dtsched.installed set contract = 0",
    "select dtsched.trace(false)",
    "select dtsched.hand_back(%(leases)s, true, '')",
    "select dtsched.complete(gen_random_uuid(), lease) from unnest(%(leases)s::bigint[]) lease",
    "select * from dtsched.finish(gen_random_uuid(), %(leases)s)",
    "select * from dtsched.release(gen_random_uuid(), %(leases)s)",
    "create function dtsched.mine() returns int language sql as 'select 1'",
    "alter role dtsched_worker superuser",
)
"""What no role may do, or do nothing with: each is refused, or changes and shows no row."""


class SqlAbuse(Fault):
    """F57. What is not refused is taken back, and violates S17. Exposed are the jobs it is aimed at."""

    number = "F57"
    title = "raw SQL abuse by every role"
    takes = 6.0
    strikes = 2
    group: ClassVar[Group] = "semantics"

    jobs: ClassVar[int] = 20
    abuses: ClassVar[Sequence[LiteralString]] = ABUSES

    async def inject(self, stage: Stage) -> Sequence[int]:
        await submit_aside(stage, orders(self.random, self.jobs, "take_time", {"seconds": 0.5}))
        with stage.connect() as connection:
            held = await self._in_flight(connection)
            aims = {"jobs": [job for _, job in held], "leases": [lease for lease, _ in held]}
            accepted = await asyncio.to_thread(self._accepted, connection, aims)
        tried = len(ROLES) * len(self.abuses)
        stage.record("fault", "info", fault=self.number, tried=tried, accepted=accepted)
        return aims["jobs"]

    def _accepted(self, connection: psycopg.Connection, aims: dict[str, list[int]]) -> list[str]:
        return [
            f"{role}: {abuse}" for role in ROLES for abuse in self.abuses if _is_accepted(connection, role, abuse, aims)
        ]

    async def _in_flight(self, connection: psycopg.Connection) -> list[tuple[int, int]]:
        deadline = monotonic() + 10
        while True:
            held = connection.execute("select id, job_id from dtsched.leases order by job_id limit 50").fetchall()
            if held or monotonic() > deadline:
                return held
            await asyncio.sleep(0.02)


def _is_accepted(connection: psycopg.Connection, role: str, abuse: LiteralString, aims: dict[str, list[int]]) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("set local lock_timeout = '2s'")
            connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            cursor = connection.execute(abuse, aims)
            return cursor.rowcount != 0
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        return False


class SameTime(Fault):
    """F58. A backlog that comes due at one moment; a bigger one is for a benchmark, since here each job is written down
    five times. Exposed are all of them."""

    number = "F58"
    title = "a backlog of jobs that come due at the same time"
    takes = 25.0
    strikes = 2
    group: ClassVar[Group] = "semantics"
    heavy = True

    count: ClassVar[int] = 20_000
    piece: ClassVar[int] = 2_000

    async def inject(self, stage: Stage) -> Sequence[int]:
        due = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        return await asyncio.to_thread(self._insert, stage, due)

    def _insert(self, stage: Stage, due: str) -> list[int]:
        made: list[int] = []
        with stage.connect(application="torture fault") as connection:
            for begun in range(0, self.count, self.piece):
                size = min(self.piece, self.count - begun)
                made += insert(stage, connection, orders(self.random, size, "do_nothing", priority=5, run_at=due))
        return made


FAULTS: Sequence[type[Fault]] = (
    KeyStorm,
    LimitUnderKills,
    GraphsInTheMaking,
    CancelRaces,
    Starvation,
    SqlAbuse,
    SameTime,
)
"""Group D."""
