"""A server runs for exactly as long as somebody owns it, however its owners come and go."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from dtsched import embedded
from dtsched.errors import DatabaseUnreachable, InvalidInput
from tests.embedded.owners import eventually, is_running, owner
from tests.support.leftovers import left_behind


def keeper_of(server: int) -> int:
    return int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])


def write(dsn: str, text: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table if not exists notes (text text)")
        connection.execute("insert into notes values (%s)", [text])


def notes(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [text for (text,) in connection.execute("select text from notes order by text")]


def test_a_temporary_server_and_its_data_are_gone_afterwards(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster:
        write(cluster.dsn, "hello")
        server = cluster.pid
    assert server
    assert not is_running(server)
    assert list(folder.iterdir()) == []


def test_the_server_of_a_killed_owner_stops_and_its_temporary_data_go(folder: Path) -> None:
    with owner("temporary", folder) as alone:
        server = alone.introduce().pid
        keeper = keeper_of(server)
        alone.die()
        assert eventually(lambda: not is_running(server) and not is_running(keeper))
    assert list(folder.iterdir()) == []


def test_an_owner_killed_while_its_server_is_being_made_leaves_nothing(folder: Path) -> None:
    for milliseconds in random.sample(range(900), 8):
        with owner("temporary", folder) as hasty:
            time.sleep(milliseconds / 1000)
            hasty.die()
    assert left_behind(folder, patience_seconds=60) == []
    # One that was killed before it had a keeper leaves a few files to the next.
    for home in folder.iterdir():
        os.utime(home, (0, 0))
    with embedded.temporary(base=folder):
        pass
    assert list(folder.iterdir()) == []


def test_an_owner_interrupted_while_its_server_is_being_made_takes_it_along(folder: Path) -> None:
    with owner("temporary", folder) as hasty:
        assert eventually(lambda: any(folder.glob("*/unfinished-*")))
        hasty.process.send_signal(signal.SIGINT)
        hasty.process.communicate(timeout=30)
    assert left_behind(folder, patience_seconds=0) == []
    assert list(folder.iterdir()) == []


def test_a_shared_server_outlives_its_first_owner_and_goes_with_its_last(folder: Path) -> None:
    data_dir = folder / "shared"
    with owner("shared", data_dir) as first, owner("shared", data_dir) as second:
        server = first.introduce().pid
        assert second.introduce().pid == server
        write(first.dsn, "from the first")
        first.die()
        write(second.dsn, "from the second")
        second.leave()
        assert not is_running(server)
    with embedded.shared(data_dir) as cluster:
        assert notes(cluster.dsn) == ["from the first", "from the second"]


def test_the_last_owner_may_be_killed_too(folder: Path) -> None:
    data_dir = folder / "shared"
    with owner("shared", data_dir) as first, owner("shared", data_dir) as second:
        server = first.introduce().pid
        second.introduce()
        write(first.dsn, "kept")
        first.leave()
        second.die()
        assert eventually(lambda: not is_running(server))
    with embedded.shared(data_dir) as cluster:
        assert notes(cluster.dsn) == ["kept"]


def test_owners_that_arrive_together_get_one_server(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(owner("shared", folder / "shared")) for _ in range(6)]
        assert len({member.introduce().pid for member in crowd}) == 1
        for member in crowd:
            member.leave()


def test_owners_may_come_while_the_last_one_goes(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(owner("visits", folder / "shared", 12)) for _ in range(3)]
        for visitor in visitors:
            visitor.leave()
    with embedded.shared(folder / "shared") as cluster:
        server = cluster.pid
    assert server
    assert not is_running(server)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_keeper_takes_its_server_along(folder: Path, blow: signal.Signals) -> None:
    with embedded.temporary(base=folder) as cluster:
        server = cluster.pid
        assert server
        os.kill(keeper_of(server), blow)
        assert eventually(lambda: not is_running(server))
        cluster.start()
        assert cluster.pid not in (None, server)
    assert list(folder.iterdir()) == []


def test_a_server_found_without_a_keeper_is_waited_for_and_replaced(folder: Path) -> None:
    with embedded.temporary(base=folder) as cluster, ThreadPoolExecutor() as threads:
        server = cluster.pid
        assert server
        os.kill(server, signal.SIGSTOP)  # so that it can't follow its keeper
        os.kill(keeper_of(server), signal.SIGKILL)
        assert eventually(lambda: cluster.pid is None)
        started = threads.submit(cluster.start)
        with pytest.raises(TimeoutError):
            started.result(timeout=0.5)
        os.kill(server, signal.SIGCONT)
        started.result()
        assert not is_running(server)


def test_data_half_made_when_everything_was_killed_are_not_taken_for_data(folder: Path) -> None:
    data_dir = folder / "shared"
    with owner("shared", data_dir) as hasty:
        assert eventually(lambda: any(data_dir.glob("unfinished-*/base")))
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(process / "cwd").samefile(data_dir):
                    os.kill(int(process.name), signal.SIGKILL)
        hasty.die()
    with embedded.shared(data_dir) as cluster:
        write(cluster.dsn, "works")
        assert notes(cluster.dsn) == ["works"]


def test_temporary_data_that_a_power_cut_left_are_swept_but_not_those_of_the_living(folder: Path) -> None:
    left, young = folder / "dtsched-pg-left", folder / "dtsched-pg-young"
    with embedded.temporary(base=folder) as living:
        for home in (left, young):
            home.mkdir()
        for home in (left, living.data_dir.parent):
            os.utime(home, (0, 0))
        with embedded.temporary(base=folder):
            assert (left.exists(), young.exists(), living.data_dir.exists()) == (False, True, True)


def test_a_folder_with_other_things_in_it_is_refused(folder: Path) -> None:
    (folder / "thesis.tex").touch()
    with pytest.raises(InvalidInput, match="not empty"), embedded.shared(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    nonsense = embedded.temporary(base=folder, settings={"shared_buffers": "much"})
    with pytest.raises(DatabaseUnreachable, match="shared_buffers"), nonsense:
        pass
    assert list(folder.iterdir()) == []
