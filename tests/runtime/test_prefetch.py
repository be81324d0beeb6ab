"""Prefetch is bounded by time: jobs are fetched ahead for a moment of work, however long or short they are."""

from dtsched.runtime.prefetch import BATCH, MOST, MOST_BYTES, Prefetch


def work(prefetch: Prefetch, *, job_seconds: float, slots: int, jobs: int) -> None:
    """Runs jobs that all take as long, in as many slots, without a break."""
    prefetch.busy(0.0)
    for done in range(slots, jobs + 1, slots):
        prefetch.measure(slots, done / slots * job_seconds)


def test_nothing_is_fetched_ahead_before_anything_is_known() -> None:
    assert Prefetch().target == 0


def test_of_short_jobs_no_more_than_two_batches_wait() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=0.00001, slots=1, jobs=10_000)
    assert prefetch.target == MOST


def test_long_jobs_are_hardly_fetched_ahead() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=10.0, slots=10, jobs=100)
    assert prefetch.target == 0


def test_jobs_in_between_are_fetched_for_a_tenth_of_a_second() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=0.1, slots=20, jobs=400)
    assert prefetch.target == 20


def test_jobs_that_become_long_are_noticed_within_a_few() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=0.0001, slots=1, jobs=1000)
    for second in range(1, 12):
        prefetch.measure(1, 1.0 + second)
    assert prefetch.target <= 1


def test_after_an_idle_while_it_starts_anew() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=0.0001, slots=1, jobs=1000)
    prefetch.idle(1.0)
    prefetch.busy(1.5)
    assert prefetch.target > 900
    prefetch.idle(2.0)
    prefetch.busy(60.0)
    assert prefetch.target == 0


def test_of_large_args_no_more_are_fetched_ahead_than_fit() -> None:
    prefetch = Prefetch()
    work(prefetch, job_seconds=0.00001, slots=1, jobs=10_000)
    prefetch.fed(1000, 1000 * 100)
    assert prefetch.target == MOST
    prefetch.fed(4, 4 << 20)
    assert prefetch.target == MOST_BYTES >> 20
    for _ in range(20):
        prefetch.fed(16, 16 * 100)
    assert prefetch.target == MOST


def test_the_first_job_alone_says_little() -> None:
    prefetch = Prefetch()
    prefetch.busy(0.0)
    prefetch.measure(1, 0.00001)
    assert prefetch.target == 250
    prefetch.measure(9, 0.06)
    assert prefetch.target > 2500  # known by now, though half of it is still the first one's


def test_what_begins_within_a_moment_is_known_once_the_rate_is() -> None:
    prefetch = Prefetch()
    assert prefetch.within_a_moment == 0
    prefetch.busy(0.0)
    prefetch.measure(1, 0.001)
    assert prefetch.target == 100
    assert prefetch.within_a_moment == 0
    work(prefetch, job_seconds=0.001, slots=10, jobs=20_000)
    assert 180 <= prefetch.within_a_moment <= 220
    prefetch.hoarded()
    assert prefetch.within_a_moment == 0


def test_of_the_shortest_jobs_a_batch_begins_within_a_moment_and_of_long_ones_none() -> None:
    shortest, long = Prefetch(), Prefetch()
    work(shortest, job_seconds=0.000001, slots=1, jobs=10_000)
    assert shortest.within_a_moment == BATCH
    work(long, job_seconds=1.0, slots=10, jobs=100)
    assert long.within_a_moment == 0
