"""dtsched beside other queues, on one server in one run: python -m benchmarks.compare [--only dtsched,pgqueuer].

Installs each system, in the version that peers/catalogue.py names, into build/peers, then measures them in turn over
several rounds, each time on a fresh database of one temporary PostgreSQL with the settings of a durable one:

    finish   no-op jobs that were there before, by 2 worker processes and by 1: from the start of the first handler to
             when the tables say that nothing is left; checked is that each handler ran once
    submit   jobs in bulk by one client, in the system's own language
    pickup   single jobs, one after the other, for an idle worker: from commit to the start of the handler

How many jobs that takes is found out first, for each system, so that a measurement takes some seconds. Only ratios
mean something from one machine to another. Exit code 1 where anything was not measured.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
import psycopg
from rich.console import Console

from benchmarks.peers import environments, measuring, stage
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import Environment, NotInstalled
from benchmarks.peers.measuring import Finished, PickedUp, Taken
from benchmarks.peers.results import FINISH, PICKUP, SUBMIT, Lacking, Measured, Results, print_tables
from benchmarks.peers.stage import Broken, Stage, staged
from dtsched import embedded
from dtsched.cli.display import Display
from dtsched.cli.processes import termination_raises

WHAT = (FINISH, SUBMIT, PICKUP)
PROCESSES = (2, 1)
PAUSES = 300
_AIM_SECONDS, _LEAST_SECONDS, _MOST_SECONDS = 4.5, 3.0, 6.0
_MOST_JOBS = 2_000_000
_TRIES = 4
_COLUMNS = 130


@dataclass
class Comparison:
    server: str
    folder: Path
    display: Display
    given: argparse.Namespace
    results: Results
    prepared: dict[str, Environment] = field(default_factory=dict[str, Environment])
    jobs: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    stages: int = 0

    def run(self, peers: Sequence[Peer], whats: Sequence[str]) -> None:
        for peer in peers:
            self._try(peer, whats, self._prepare)
        for round_number in range(1, self.given.rounds + 1):
            first = (round_number - 1) % len(peers)
            for what in whats:
                for peer in (*peers[first:], *peers[:first]):
                    if not self.results.lacks(what, peer.name):
                        self._try(peer, [what], lambda one, what=what, at=round_number: self._measure(one, what, at))
            self._keep()

    def _keep(self) -> None:
        self.results.summarize()
        if self.given.json:
            self.given.json.write_bytes(msgspec.json.format(msgspec.json.encode(self.results)))

    def _try(self, peer: Peer, whats: Sequence[str], does: Callable[[Peer], None]) -> None:
        try:
            does(peer)
        except (Broken, NotInstalled, psycopg.Error) as error:
            if not self.given.keep_going:
                raise SystemExit(f"{peer.name}: {error}; --keep-going measures the others all the same") from error
            self.display.say(f"{peer.name}: {error}")
            self.results.lacking += [Lacking(what=what, peer=peer.name, why=str(error)) for what in whats]

    def _prepare(self, peer: Peer) -> None:
        self.display.say(f"{peer.name}: installing what is not installed yet")
        environment = self.prepared[peer.name] = environments.prepare(peer)
        with self._staged(peer) as staged_peer:
            said = staged_peer.said
        self.results.systems[peer.name] = {**said, "packages": environment.packages}

    def _measure(self, peer: Peer, what: str, round_number: int) -> None:
        if what != PICKUP and (peer.name, what) not in self.jobs:
            self.jobs[peer.name, what] = self.given.jobs or self._calibrated(peer, what)
        for variant in _variants(peer, what):
            outcome = self._once(peer, what, variant, round_number)
            self.results.measured.append(
                Measured(what=what, peer=peer.name, variant=variant, round=round_number, outcome=outcome)
            )
            self.display.say(f"round {round_number}: {_told(peer, what, variant, outcome)}")

    def _calibrated(self, peer: Peer, what: str) -> int:
        """So many that it takes some seconds: found by trying."""
        jobs = peer.jobs if what == FINISH else peer.submitted
        for _ in range(_TRIES):
            self.jobs[peer.name, what] = jobs
            outcome = self._once(peer, what, _variants(peer, what)[0], 0)
            assert not isinstance(outcome, PickedUp)
            if _LEAST_SECONDS <= outcome.seconds <= _MOST_SECONDS or jobs == _MOST_JOBS:
                break
            jobs = min(_round(jobs * _AIM_SECONDS / outcome.seconds), _MOST_JOBS)
        return jobs

    def _once(self, peer: Peer, what: str, variant: int, round_number: int) -> Finished | Taken | PickedUp:
        said = f"{_title(peer, what, variant)}, {f'round {round_number}' if round_number else 'calibrating'}"

        def progress(done: int, total: int) -> None:
            self.display.advance(said, done, total)

        with self._staged(peer) as on:
            if what == PICKUP:
                chance = random.Random(round_number)
                return measuring.pick_up(
                    on, pauses=[chance.uniform(0.02, 0.06) for _ in range(self.given.pauses)], progress=progress
                )
            jobs = self.jobs[peer.name, what]
            progress(0, jobs)
            if what == SUBMIT:
                return measuring.take(on, jobs=jobs, batch=variant)
            return measuring.finish(on, jobs=jobs, batch=max(peer.batches), processes=variant, progress=progress)

    def _staged(self, peer: Peer) -> AbstractContextManager[Stage]:
        self.stages += 1
        return staged(peer, self.prepared[peer.name], self.server, self.folder / f"{self.stages:03}-{peer.name}")


def _variants(peer: Peer, what: str) -> Sequence[int]:
    return {FINISH: PROCESSES, SUBMIT: peer.batches, PICKUP: (1,)}[what]


def _title(peer: Peer, what: str, variant: int) -> str:
    of = {FINISH: f"{variant} process{'es'[: 2 * (variant > 1)]}", SUBMIT: f"batches of {variant:,}"}
    return f"{peer.name}, {what}" + (f", {of[what]}" if what in of else "")


def _told(peer: Peer, what: str, variant: int, outcome: Finished | Taken | PickedUp) -> str:
    title = _title(peer, what, variant)
    if isinstance(outcome, PickedUp):
        return f"{title}: p50 {outcome.p50_ms:.2f} ms, p99 {outcome.p99_ms:.2f} ms"
    return f"{title}: {outcome.value:,.0f} jobs/s ({outcome.jobs:,} in {outcome.seconds:.2f} s)"


def _round(number: float) -> int:
    """To two digits."""
    digits = max(len(str(int(number))) - 2, 0)
    return round(number / 10**digits) * 10**digits


def _machine(folder: Path) -> dict[str, str]:
    processors = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": processors[0] if processors else platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "disk": stage.file_system(folder),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "dtsched": _revision(),
    }


def _lines(file: str) -> Iterator[str]:
    return iter(Path(file).read_text().splitlines()) if Path(file).exists() else iter(())


def _revision() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=environments.ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def _server(dsn: str) -> dict[str, str]:
    names = ("server_version", "shared_buffers", "max_wal_size", "fsync", "synchronous_commit", "full_page_writes")
    with psycopg.connect(dsn) as connection:
        read = connection.execute("select name, current_setting(name) from unnest(%s::text[]) as name", [list(names)])
        return {"PostgreSQL" if name == "server_version" else name: value for name, value in read}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", type=_listed(tuple(PEERS)), default=list(PEERS), metavar="NAME,…", help=", ".join(PEERS)
    )
    parser.add_argument("--what", type=_listed(WHAT), default=list(WHAT), metavar="WHAT,…", help=", ".join(WHAT))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="for every system, instead of finding out how many take some seconds")
    parser.add_argument("--pauses", type=int, default=PAUSES, help="how many single jobs are picked up; default 300")
    parser.add_argument("--keep-going", action="store_true", help="a system that breaks is said not to be measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured, and the medians")
    return parser.parse_args()


def _listed(names: Sequence[str]) -> Callable[[str], list[str]]:
    def listed(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(names):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))} among {', '.join(names)}")
        return [name for name in names if name in given]

    return listed


def main() -> int:
    given = _arguments()
    environments.HOME.mkdir(parents=True, exist_ok=True)
    if (disk := stage.file_system(environments.HOME)) in ("tmpfs", "ramfs"):
        raise SystemExit(f"{environments.HOME} is in memory ({disk}): nothing is durable there")
    with (
        termination_raises(),
        tempfile.TemporaryDirectory(prefix="compare-") as folder,
        embedded.temporary(base=environments.HOME) as cluster,
        Display() as display,
    ):
        results = Results(machine=_machine(environments.HOME), server=_server(cluster.dsn))
        peers = [PEERS[name] for name in given.only]
        Comparison(cluster.dsn, Path(folder), display, given, results).run(peers, given.what)
    print_tables(results, Console(width=max(Console().width, _COLUMNS)))  # what is not a terminal has 80
    return 1 if results.lacking else 0


if __name__ == "__main__":
    sys.exit(main())
