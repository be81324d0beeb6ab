"""The engine itself, on a bank that is easy to understand: it plays what it says, and catches what is broken."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.isolation.engine import Arena, Play, Refused, Values

BANK = """
    create schema bank;
    create table bank.accounts (id integer primary key, euros integer not null);
    insert into bank.accounts values (1, 0), (2, 0);
    create function bank.pay_in(p_id integer) returns void language plpgsql as $$
    declare
        v_euros integer := (select euros from bank.accounts where id = p_id);
    begin
        update bank.accounts set euros = v_euros + 1 where id = p_id;
    end $$;
    create function bank.pay_in_under_lock(p_id integer) returns void language plpgsql as $$
    declare
        v_euros integer;
    begin
        select euros into v_euros from bank.accounts where id = p_id for update;
        update bank.accounts set euros = v_euros + 1 where id = p_id;
    end $$;
    """


@pytest.fixture
def arena(empty_database: str) -> Generator[Arena]:
    import psycopg

    with psycopg.connect(empty_database) as connection:
        connection.execute(BANK.encode())
    arena = Arena(empty_database, schema="bank")
    arena.keeper.execute("set deadlock_timeout = '50ms'")
    yield arena
    arena.close()


def poor(arena: Arena) -> Values:
    arena.keeper.execute("update bank.accounts set euros = 0")
    return {"one": 1, "other": 2}


def explore(
    arena: Arena, *sessions: tuple[str, ...], stops: bool = False, preemptions: int | None = None
) -> list[Play]:
    plays: list[Play] = []
    arena.explore(lambda: poor(arena), plays.append, *sessions, stops=stops, preemptions=preemptions)
    return plays


def euros(arena: Arena) -> int:
    row = arena.keeper.execute("select sum(euros)::integer from bank.accounts").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("lengths", "count"), [((1, 1), 2), ((2, 2), 6), ((3, 2), 10), ((1, 1, 1), 6), ((2, 1, 1), 12)]
)
def test_without_a_bound_every_interleaving_is_played_once(arena: Arena, lengths: tuple[int, ...], count: int) -> None:
    plays = explore(arena, *(("select 1",) * length for length in lengths))
    assert len(plays) == len({play.order for play in plays}) == count


def test_a_bound_leaves_out_what_takes_the_turn_away_more_often(arena: Arena) -> None:
    sessions = (("select 1",) * 2,) * 2
    assert [len(explore(arena, *sessions, preemptions=bound)) for bound in (0, 1, 2)] == [2, 4, 6]


def test_an_update_that_is_lost_half_way_through_a_function_is_found(arena: Arena) -> None:
    pay_in = "select bank.pay_in(%(one)s)"

    def judge(play: Play) -> None:
        assert euros(arena) == 2

    arena.explore(lambda: poor(arena), judge, (pay_in,), (pay_in,), stops=False, preemptions=None)
    with pytest.raises(Refused, match="on from before update accounts"):
        arena.explore(lambda: poor(arena), judge, (pay_in,), (pay_in,), stops=True, preemptions=1)
    pay_in = "select bank.pay_in_under_lock(%(one)s)"
    plays = arena.explore(lambda: poor(arena), judge, (pay_in,), (pay_in,), stops=True, preemptions=2)
    assert plays > 4


def test_who_waits_for_another_is_passed_over_until_that_has_ended(arena: Arena) -> None:
    sessions = ("begin; select bank.pay_in_under_lock(1)", "commit"), ("select bank.pay_in_under_lock(1)",)
    plays = {play.order: play for play in explore(arena, *sessions)}
    assert plays[0, 1, 0].waited == {1}
    assert plays[0, 0, 1].waited == plays[1, 0, 0].waited == set()
    assert plays[0, 0, 1].ended_before(0, 1, 1)
    assert not plays[0, 1, 0].ended_before(0, 1, 1)


def test_two_that_wait_for_each_other_are_a_deadlock(arena: Arena) -> None:
    there = ("begin; select bank.pay_in_under_lock(%(one)s)", "select bank.pay_in_under_lock(%(other)s)", "commit")
    back = ("begin; select bank.pay_in_under_lock(%(other)s)", "select bank.pay_in_under_lock(%(one)s)", "commit")
    failed = [play for play in explore(arena, there, back, preemptions=1) if "40P01" in play.errors]
    assert failed
    assert all(sorted(map(str, play.errors)) == ["40P01", "None"] for play in failed)


def test_a_statement_that_fails_ends_its_session_and_is_told_with_its_sqlstate(arena: Arena) -> None:
    (first, _) = explore(arena, ("begin; select 1/0", "commit"), ("select 2",))
    assert first.errors == ["22012", None]
    assert first.rows == [[[]], [[(2,)]]]
    assert "division by zero" in "\n".join(first.story)


def test_an_order_that_was_refused_can_be_played_again(arena: Arena) -> None:
    pay_in = ("begin; select bank.pay_in_under_lock(1)", "commit")
    plays = explore(arena, pay_in, pay_in, stops=True, preemptions=1)
    for play in plays[::5]:
        again = arena.play(poor(arena), (pay_in, pay_in), play.order, stops=True)
        assert again.order == play.order
