"""How fast jobs are finished: beside a bare loop, with results and retries, and by many claimers at once."""

from collections.abc import Sequence

from benchmarks.bars.ground import Server
from benchmarks.bars.row import Figure, Scale, Tell, paired
from benchmarks.bars.tasks import MANY


def ceiling(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """Two worker processes against two bare loops over the same SQL functions, and one against one."""

    def drained(processes: int) -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(scale.jobs), processes=processes)

    def bare(processes: int) -> float:
        with server.ground() as ground:
            return ground.bare(ground.load(scale.jobs), processes=processes)

    return [
        Figure(
            row=f"finish no-op jobs, {processes} worker process{'es' if processes > 1 else ''}",
            value=paired(
                f"ceiling, {processes}", lambda n=processes: drained(n), lambda n=processes: bare(n), scale, tell
            ),
            of=f"{processes} bare loops over dtsched.work()",
            at_least=0.6 if processes == 2 else None,
        )
        for processes in (2, 1)
    ]


def results(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    def rich() -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(scale.jobs, task="answer", args=MANY))

    def plain() -> float:
        with server.ground() as ground:
            return ground.drain(ground.load(scale.jobs))

    return [
        Figure(
            row="with results, args of 2 kB, retries on 1 %",
            value=paired("results", rich, plain, scale, tell),
            of="the rate of no-op jobs",
            at_least=0.7,
        )
    ]


CLAIMERS = (1, 2, 4, 8, 64)


def claimers(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """Bare loops with batches of 10."""

    def by(count: int) -> float:
        with server.ground() as ground:
            rate = ground.bare(ground.load(scale.jobs), processes=count, batch=10)
            tell(f"{count} claimers: {rate:,.0f}")
            return rate

    best = max(CLAIMERS[:-1], key=by)
    value = paired("claimers", lambda: by(CLAIMERS[-1]), lambda: by(best), scale, tell)
    return [Figure(row="64 claimers with batches of 10", value=value, of=f"the rate of {best}, the best", at_least=0.7)]
