"""The built-in tasks as plain functions; tests/cli/test_worker.py runs them as jobs."""

import math
import random
import time

import pytest

from dtsched.errors import InvalidInput
from workers.builtin import LARGEST_FIBONACCI, PRIMALITY_BOUND, app, fibonacci, prime_factorization


def test_the_first_fibonacci_numbers() -> None:
    assert [fibonacci(n) for n in range(11)] == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55]


def test_the_largest_fibonacci_number_is_the_sum_of_the_two_before_and_can_be_read_as_text() -> None:
    largest = fibonacci(LARGEST_FIBONACCI)
    assert largest == fibonacci(LARGEST_FIBONACCI - 1) + fibonacci(LARGEST_FIBONACCI - 2)
    assert len(str(largest)) == 4180


def test_small_numbers_factorize_as_trial_division_does() -> None:
    for n in range(1, 5000):
        assert prime_factorization(n) == trial_division(n)


def test_random_numbers_factorize_as_trial_division_does() -> None:
    numbers = random.Random(7)
    for n in (numbers.randrange(1, 10**9) for _ in range(50)):
        assert prime_factorization(n) == trial_division(n)


@pytest.mark.parametrize(
    ("n", "factors"),
    [
        (1, []),
        (43**2, [43, 43]),
        (47**4 * 53, [47, 47, 47, 47, 53]),
        (2**61 - 1, [2**61 - 1]),
        ((2**31 - 1) ** 2, [2**31 - 1, 2**31 - 1]),
        (2**64 - 1, [3, 5, 17, 257, 641, 65537, 6700417]),
        (1099511627791 * 1099511627803, [1099511627791, 1099511627803]),
    ],
)
def test_powers_large_primes_and_products_of_large_primes(n: int, factors: list[int]) -> None:
    began = time.process_time()
    assert prime_factorization(n) == factors
    assert math.prod(factors) == n
    assert time.process_time() - began < 20


def test_a_number_that_cannot_be_factorized_surely_is_refused() -> None:
    with pytest.raises(InvalidInput, match="n must be below"):
        prime_factorization(PRIMALITY_BOUND)


def test_what_computes_runs_in_threads_and_what_waits_on_the_loop() -> None:
    executors = {name: definition.executor for name, definition in app.registry.items()}
    assert executors == {"echo": "async", "sleep": "async", "fibonacci": "thread", "prime_factorization": "thread"}


def trial_division(n: int) -> list[int]:
    factors: list[int] = []
    divisor = 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            factors.append(divisor)
            n //= divisor
        divisor += 1
    return [*factors, n] if n > 1 else factors
