"""Bugs that are planted to see whether the checker notices them."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from msgspec import structs

from dtsched.errors import DtschedError
from dtsched.torture.hunt import faults
from dtsched.torture.mutants import MUTANTS, Change, Mutant, plant
from dtsched.torture.plan import draw

SOURCES = """select md5(string_agg(pg_get_functiondef(oid), '' order by oid)) from pg_catalog.pg_proc
    where pronamespace = 'dtsched'::regnamespace"""


@pytest.mark.parametrize("number", MUTANTS)
def test_a_mutant_can_be_planted(number: str, connect: Callable[[], psycopg.Connection]) -> None:
    """What it changes is still there. Settings of the whole server, which other tests use, are left alone."""
    connection, mutant = connect(), MUTANTS[number]
    mutant = structs.replace(mutant, statements=[one for one in mutant.statements if "system" not in one])
    before = connection.execute(SOURCES).fetchone()
    plant(connection, mutant)
    changes = bool(mutant.changes or mutant.statements)
    assert (connection.execute(SOURCES).fetchone() != before) == changes
    assert changes or mutant.poll_seconds is not None or mutant.app is not None


@pytest.mark.parametrize("number", MUTANTS)
def test_what_is_to_reveal_a_mutant_finds_room_in_its_minutes(number: str) -> None:
    mutant = MUTANTS[number]
    windows, left_out = draw(faults(mutant), seed=mutant.seed, minutes=mutant.minutes, mode="storm")
    assert ({window.fault for window in windows}, left_out) == ({*mutant.faults}, {})


def test_a_mutant_that_fits_no_more_is_refused(connect: Callable[[], psycopg.Connection]) -> None:
    old = Mutant(number="M0", title="", faults={}, caught_by={}, changes=[Change("finish", "goto 10", "goto 20")])
    with pytest.raises(DtschedError, match=r"M0 cannot be planted: finish\(\) does not hold 'goto 10'"):
        plant(connect(), old)
