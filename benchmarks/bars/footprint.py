"""What dtsched takes when it has nothing to do, and what a job writes."""

import time
from collections.abc import Sequence
from typing import LiteralString

import httpx
import psutil

from benchmarks.bars.ground import Ground, Server
from benchmarks.bars.row import Figure, Scale, Tell
from dtsched.cli.demo import free_port
from dtsched.cli.processes import Child

IDLE_SECONDS = 60.0
_WARM_SECONDS = 40.0  # longer than a lease: until then a worker looks for lost answers and lost workers more often
# Every statement outside of a block is a transaction of its own.
_TRANSACTIONS: LiteralString = """
    select xact_commit + xact_rollback from pg_stat_database where datname = current_database()
"""


def idle(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    with server.ground() as ground:
        alone = _transactions_in(ground, IDLE_SECONDS)
        (worker,) = ground.start_workers(1, slots=10)
        ground.until_registered(1)
        time.sleep(_WARM_SECONDS)
        cpu = _cpu_seconds(worker)
        statements = max(0, _transactions_in(ground, IDLE_SECONDS) - alone) / IDLE_SECONDS
        share = (_cpu_seconds(worker) - cpu) / IDLE_SECONDS
        resident = _resident_mib(worker)
        tell(
            f"idle worker: {statements:.2f} statements/s ({alone / IDLE_SECONDS:.2f} without it), {share:.2%} CPU, "
            f"{resident:.0f} MiB"
        )
    api = _api_mib(server)
    tell(f"API: {api:.0f} MiB")
    return [
        Figure(row="idle worker", value=statements, of="statements/s", at_most=1.5),
        Figure(row="idle worker", value=100 * share, of="% of a core", at_most=0.5),
        Figure(row="idle worker", value=resident, of="MiB resident", at_most=70),
        Figure(row="API", value=api, of="MiB resident", at_most=120),
    ]


def wal(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """Of a job that does nothing, from its submission in bulk to its finish; without the full pages of a checkpoint."""
    count = scale.jobs
    with server.ground() as ground:
        ground.load(1_000)
        ground.start_workers()
        ground.until_finished()
        ground.connection.execute("checkpoint")
        before = ground.value("select pg_current_wal_insert_lsn()")
        ground.load(count)
        ground.until_finished()
        written = ground.value("select pg_current_wal_insert_lsn() - %s::pg_lsn", before)
        full = ground.value("select wal_fpi from pg_stat_wal")
    tell(f"WAL: {written / count:,.0f} bytes a job ({full:,} full pages since the server began)")
    return [Figure(row="WAL of a no-op job, submit to finish", value=float(written) / count, of="bytes", at_most=1_700)]


def _transactions_in(ground: Ground, seconds: float) -> int:
    """Of all sessions, autovacuum's too."""

    def so_far() -> int:
        ground.connection.execute("select pg_stat_force_next_flush()")
        return int(ground.value(_TRANSACTIONS))

    before = so_far()
    time.sleep(seconds)
    return so_far() - before


def _cpu_seconds(child: Child) -> float:
    process = psutil.Process(child.pid)
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _resident_mib(child: Child) -> float:
    process = psutil.Process(child.pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def _api_mib(server: Server) -> float:
    with server.ground() as ground:
        port = free_port()
        api = ground.family.start(
            "api", ["api", "--host", "127.0.0.1", "--port", str(port)], {"DTSCHED_DSN": ground.dsn}
        )
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        for _ in range(200):
            httpx.post(f"{url}/v1/jobs", json={"task": "noop"})
        return _resident_mib(api)
