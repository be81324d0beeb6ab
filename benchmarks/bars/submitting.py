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
    def beside_workers() -> float:
        with server.ground() as ground:
            ground.load(scale.jobs)
            ground.settle()
            ground.start_workers()
            return submitted(ground)

    def alone() -> float:
        with server.ground() as ground:
            ground.load(scale.jobs)
            ground.settle()
            return submitted(ground)

    value = paired("64 submitters", beside_workers, alone, scale, tell)
    row = f"{CLIENTS} clients submitting one job each over SQL, workers busy"
    return [Figure(row=row, value=value, of="the same without any worker", at_least=0.9)]


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
