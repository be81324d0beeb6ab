"""Jobs that wait for many others, and many that wait for some."""

import asyncio
import time
from collections.abc import Sequence

from benchmarks.bars.ground import Server, Wrong
from benchmarks.bars.row import Figure, Scale, Tell
from benchmarks.bars.tasks import QUEUE
from dtsched.client import Client
from dtsched.jobs import NewJob, ParentEdge

FEW, MANY = 1_000, 10_000
NODES, WIDTH = 100_000, 10


def graphs(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    few, many = _fan_in(server, FEW), _fan_in(server, MANY)
    tell(f"fan-in: {1e6 * few:.1f} us a parent of {FEW:,}, {1e6 * many:.1f} us of {MANY:,}")
    nodes = NODES
    seconds = _submit_graph(server, nodes)
    tell(f"graph of {nodes:,} nodes: {seconds:.2f} s")
    return [
        Figure(row=f"fan-in of {MANY:,} parents", value=many / few, of=f"cost per parent of {FEW:,}", at_most=1.25),
        Figure(row=f"graph of {nodes:,} nodes submitted", value=seconds, of="seconds", at_most=10.0),
    ]


def _fan_in(server: Server, parents: int) -> float:
    """Seconds a parent, from the first claim of a parent to the end of their child."""
    with server.ground() as ground:
        jobs = ground.load(parents)
        child = ground.value(
            "insert into dtsched.jobs (task, queue, depends_on) values ('noop', %s, %s) returning id", QUEUE, [*jobs]
        )
        ground.settle()
        ground.start_workers()
        ground.until_completed(range(child, child + 1), pause=0.01)
        return (parents + 1) / ground.rate(range(jobs[0], child + 1)) / parents


def _submit_graph(server: Server, nodes: int) -> float:
    """Seconds from Python: layers of ten, each node waiting for two of the layer before, in one call."""
    jobs = [NewJob(task="noop", queue=QUEUE, depends_on=_above(number)) for number in range(1, nodes + 1)]

    async def submit(dsn: str) -> float:
        async with Client(dsn, statement_ms=120_000) as client:
            began = time.monotonic()
            await client.submit_many(jobs, check_tasks=False)
            return time.monotonic() - began

    with server.ground() as ground:
        seconds = asyncio.run(submit(ground.dsn))
        if (submitted := ground.value("select count(*) from dtsched.jobs")) != nodes:
            raise Wrong(f"{submitted:,} of {nodes:,} nodes are there")
        return seconds


def _above(number: int) -> list[ParentEdge] | None:
    layer, place = divmod(number - 1, WIDTH)
    if layer == 0:
        return None
    return [ParentEdge(entry=(layer - 1) * WIDTH + (place + step) % WIDTH + 1) for step in (0, 1)]
