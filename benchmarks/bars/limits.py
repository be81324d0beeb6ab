"""What limit keys cost: those who have none, and those who have one."""

from collections.abc import Sequence
from typing import LiteralString

from benchmarks.bars.ground import Ground, Server
from benchmarks.bars.row import Figure, Scale, Tell, paired
from benchmarks.bars.tasks import QUEUE

PARKED = 1_000_000
KEYS, EACH = 10_000, 100
SEATS = 10
_KEYED: LiteralString = """
    insert into dtsched.jobs (task, queue, limit_key)
    select 'noop', %s, 'key-' || (n %% %s) from generate_series(1, %s) n
"""
_CHUNK = 5_000


def limits(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    def plain() -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(scale.jobs))

    def beside_parked() -> float:
        """All the seats of the one key are taken, by a job that does not end."""
        with server.ground() as ground:
            ground.value("select dtsched.set_limit('key-0', 1)")
            keyed(ground, scale.of(PARKED), keys=1)
            take_seat(ground)
            jobs = ground.load(scale.jobs)
            ground.settle()
            ground.start_workers()
            ground.until_completed(jobs)
            return ground.rate(jobs)

    def of_keys() -> float:
        with server.ground() as ground:
            keys = scale.of(KEYS)
            ground.value(
                "select count(dtsched.set_limit('key-' || n, %s)) from generate_series(0, %s) n", SEATS, keys - 1
            )
            return ground.drain(keyed(ground, keys * EACH, keys=keys))

    parked, keys = scale.of(PARKED), scale.of(KEYS)
    return [
        Figure(
            row=f"other jobs beside a limit key with {parked:,} parked jobs",
            value=paired("beside parked", beside_parked, plain, scale, tell), of="the rate without it", at_least=0.9,
        ),
        Figure(
            row=f"jobs of {keys:,} limit keys, {EACH} each",
            value=paired("keyed", of_keys, plain, scale, tell), of="the rate of jobs without a key", at_least=0.4,
        ),
    ]  # fmt: skip


def keyed(ground: Ground, count: int, *, keys: int) -> range:
    first = ground.value("select coalesce(max(id), 0) + 1 from dtsched.jobs")
    for start in range(0, count, _CHUNK):
        ground.connection.execute(_KEYED, (QUEUE, keys, min(_CHUNK, count - start)))
    return range(first, first + count)


def take_seat(ground: Ground) -> None:
    worker = ground.value("select gen_random_uuid()")
    ground.connection.execute(
        "select dtsched.register_worker(%s, 'seated', %s, null, 1, interval '1 h')", (worker, [QUEUE])
    )
    claimed = ground.connection.execute("select lease_id from dtsched.claim(%s, %s, 1)", (worker, QUEUE)).fetchall()
    assert len(claimed) == 1
