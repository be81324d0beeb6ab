"""When a queue is polled, when a worker goes hungry and when it sleeps. Decisions only; waking itself is in
test_waking.py."""

from dtsched.runtime.hunger import Hunger, Wish
from dtsched.wakes import Entry

POLL_SECONDS = 10.0


def starving(hunger: Hunger) -> Wish:
    """The wish after the third empty poll."""
    wishes = [hunger.claimed(10, 0, 0.0, settled=False) for _ in range(3)]
    assert wishes[:2] == [Wish.NOTHING, Wish.NOTHING]
    return wishes[2]


def asleep() -> Hunger:
    hunger = Hunger(POLL_SECONDS)
    starving(hunger)
    hunger.went_hungry(42, 0.0)
    hunger.claimed(10, 0, 0.0, settled=True)
    return hunger


ENTRY = Entry(5, 700, 1)


def test_a_sleeper_told_of_one_entry_is_content_with_that() -> None:
    hunger = asleep()
    hunger.wake(ENTRY)
    assert hunger.claiming(1.0) == ENTRY
    assert hunger.claiming(2.0) is None


def test_whoever_hears_of_more_than_one_thing_looks_at_everything() -> None:
    for second in (None, Entry(5, 701, 2)):
        hunger = asleep()
        hunger.wake(ENTRY)
        hunger.wake(second)
        assert hunger.claiming(1.0) is None
    hunger = asleep()
    hunger.wake()
    hunger.wake(ENTRY)
    assert hunger.claiming(1.0) is None


def test_whoever_does_not_sleep_looks_at_everything() -> None:
    hunger = Hunger(POLL_SECONDS)
    hunger.wake(ENTRY)
    assert hunger.claiming(0.0) is None
    starving(hunger)
    hunger.went_hungry(42, 0.0)
    hunger.wake(ENTRY)
    assert hunger.claiming(0.0) is None


def test_a_steady_stream_of_single_entries_keeps_nobody_from_looking_at_everything() -> None:
    hunger = asleep()
    content: list[bool] = []
    for number in range(6):  # each told before the look that would come after the claim before
        at = 1.0 + 0.015 * number
        hunger.wake(Entry(5, 700 + number, number))
        content.append(hunger.claiming(at) is not None)
        hunger.claimed(10, 1, at, settled=True)
        assert hunger.next_poll > at + 0.015
    assert content == [True, False, True, False, True, False]


def test_what_is_heard_during_a_claim_is_for_the_next() -> None:
    hunger = asleep()
    hunger.claiming(1.0)
    hunger.wake(ENTRY)
    hunger.claimed(10, 0, 1.0, settled=True)
    assert hunger.next_poll == 0.0
    assert hunger.claiming(1.1) == ENTRY


def test_three_empty_polls_make_hungry() -> None:
    assert starving(Hunger(POLL_SECONDS)) is Wish.GO_HUNGRY


def test_a_claim_that_came_back_short_is_no_reason_to_be_hungry() -> None:
    hunger = Hunger(POLL_SECONDS)
    for _ in range(10):
        assert hunger.claimed(10, 0, 0.0, settled=False) is Wish.NOTHING
        assert hunger.claimed(10, 1, 0.0, settled=False) is Wish.NOTHING


def test_it_polls_at_doubling_pauses_until_settled() -> None:
    hunger = Hunger(POLL_SECONDS)
    starving(hunger)
    hunger.went_hungry(42, 0.0)
    assert hunger.unsettled == 42
    pauses: list[float] = []
    for _ in range(9):
        hunger.claimed(10, 0, 0.0, settled=False)
        pauses.append(hunger.next_poll)
    assert pauses == [0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.25, 0.25]


def test_an_empty_claim_is_trusted_only_when_its_xid_was_settled_before() -> None:
    hunger = Hunger(POLL_SECONDS)
    starving(hunger)
    hunger.went_hungry(42, 0.0)
    hunger.claimed(10, 1, 0.0, settled=True)
    assert hunger.unsettled == 42
    hunger.claimed(10, 0, 0.0, settled=True)
    assert hunger.unsettled is None
    assert 0.9 * POLL_SECONDS <= hunger.next_poll <= POLL_SECONDS


def test_a_sleeper_that_was_woken_polls_at_once_and_sleeps_again_if_others_were_quicker() -> None:
    hunger = asleep()
    hunger.wake()
    assert hunger.next_poll == 0.0
    hunger.claiming(0.0)
    hunger.claimed(10, 0, 1.0, settled=False)
    assert hunger.next_poll > 1.0 + 0.9 * POLL_SECONDS - 0.001


def test_a_wake_up_during_a_claim_is_not_forgotten() -> None:
    hunger = asleep()
    hunger.claiming(0.0)
    hunger.wake()
    hunger.claimed(10, 0, 1.0, settled=False)
    assert hunger.next_poll == 0.0


def test_a_backlog_makes_it_let_go_but_a_single_job_does_not() -> None:
    hunger = asleep()
    assert hunger.claimed(10, 1, 0.0, settled=False) is Wish.NOTHING
    assert hunger.claimed(10, 0, 0.0, settled=False) is Wish.NOTHING
    assert hunger.claimed(10, 10, 0.0, settled=False) is Wish.NOTHING
    assert hunger.claimed(10, 10, 0.0, settled=False) is Wish.LET_GO


def test_claims_that_always_bring_something_make_it_let_go() -> None:
    hunger = asleep()
    wishes = [hunger.claimed(10, 1, 0.0, settled=False) for _ in range(4)]
    assert wishes == [Wish.NOTHING] * 3 + [Wish.LET_GO]


def test_a_worker_whose_slots_stay_taken_lets_go() -> None:
    hunger = asleep()
    assert hunger.no_room(1.0) is Wish.NOTHING
    assert hunger.no_room(1.24) is Wish.NOTHING
    assert hunger.no_room(1.25) is Wish.LET_GO


def test_without_a_listener_there_is_only_the_slow_poll() -> None:
    hunger = Hunger(POLL_SECONDS)
    starving(hunger)
    hunger.went_hungry(None, 0.0)
    assert hunger.next_poll >= 0.9 * POLL_SECONDS
    assert hunger.claimed(10, 0, 9.0, settled=False) is Wish.GO_HUNGRY


def test_a_sleeper_whose_claim_came_back_short_looks_once_more_in_a_moment() -> None:
    hunger = asleep()
    hunger.claimed(10, 3, 1.0, settled=False, at_once=10)
    assert hunger.next_poll == 1.02
    hunger.claimed(10, 0, 1.1, settled=False, at_once=10)
    assert hunger.next_poll > 1.1 + 0.9 * POLL_SECONDS - 0.001


def test_a_sleeper_whose_slots_are_all_taken_has_not_seen_all_there_is() -> None:
    hunger = asleep()
    hunger.claimed(10, 5, 1.0, settled=False, at_once=5)
    assert hunger.next_poll == 1.0


def test_who_does_not_sleep_claims_again_at_once() -> None:
    hunger = Hunger(POLL_SECONDS)
    hunger.claimed(10, 3, 1.0, settled=False, at_once=10)
    assert hunger.next_poll == 1.0


def test_single_jobs_now_and_then_are_no_backlog_but_a_stream_of_them_is() -> None:
    def took(begun_at: float, seconds: float) -> Wish:
        hunger.claiming(begun_at)
        return hunger.claimed(10, 1, begun_at + seconds, settled=False)

    hunger = asleep()
    assert {took(float(n), 0.5) for n in range(10)} == {Wish.NOTHING}
    wishes = [took(20 + n, 0.995) for n in range(4)]
    assert wishes == [Wish.NOTHING, Wish.NOTHING, Wish.NOTHING, Wish.LET_GO]
    assert hunger.next_poll == 23.995
