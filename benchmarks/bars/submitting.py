"""Many clients that submit one job each, commit by commit, with and without workers that are busy."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import LiteralString

import psycopg

from benchmarks.bars.ground import ROOT, Ground, Server
from benchmarks.bars.row import Figure, Scale, Tell, paired
from benchmarks.bars.tasks import QUEUE

CLIENTS = 64
SECONDS = 10.0
_PROCESSES = 2
_ONE: LiteralString = "insert into dtsched.jobs (task, queue) values ('noop', %s)"


def submitting(server: Server, scale: Scale, tell: Tell) -> Sequence[Figure]:
    """Workers that run what is submitted; and, without a bar, workers that drain a backlog besides, for whom two cores
    are not enough already."""

    def beside_workers(backlog: int = 0) -> float:
        with server.ground() as ground:
            if backlog:
                ground.load(backlog)
            ground.settle()
            ground.start_workers()
            ground.until_registered(2)
            return submitted(ground)

    def alone() -> float:
        with server.ground() as ground:
            ground.settle()
            return submitted(ground)

    row = f"{CLIENTS} clients submitting one job each over SQL, workers busy"
    return [
        Figure(
            row=row, value=paired("64 submitters", beside_workers, alone, scale, tell),
            of="the same without any worker", at_least=0.9,
        ),
        Figure(
            row=f"{row} with a backlog of {5 * scale.jobs:,} jobs too",
            value=paired("64 submitters, a backlog", lambda: beside_workers(5 * scale.jobs), alone, scale, tell),
            of="the same without any worker",
        ),
    ]  # fmt: skip


def submitted(ground: Ground) -> float:
    """Jobs a second, by as many clients in two processes."""
    before = ground.value("select last_value from dtsched.job_id_seq")
    command = [sys.executable, "-m", "benchmarks.bars.submitting", ground.dsn, str(CLIENTS // _PROCESSES)]
    clients = [subprocess.Popen(command, cwd=ROOT) for _ in range(_PROCESSES)]
    for client in clients:
        client.wait()
    return ground.value("select count(*) from dtsched.jobs where id > %s", before) / SECONDS


def submit(dsn: str, clients: int) -> None:
    connections = [psycopg.connect(dsn, autocommit=True) for _ in range(clients)]
    until = time.monotonic() + SECONDS

    def one(connection: psycopg.Connection) -> None:
        while time.monotonic() < until:
            connection.execute(_ONE, (QUEUE,), prepare=True)

    threads = [threading.Thread(target=one, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    submit(sys.argv[1], int(sys.argv[2]))
