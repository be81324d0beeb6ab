"""Built-in tasks: `dtsched worker -A dtsched.workers.builtin:app`."""

import asyncio
import math
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

from msgspec import Meta

from dtsched import App
from dtsched.errors import InvalidInput

# Python reads integers of at most 4,300 digits from text, and so do most JSON readers; fibonacci(20_000) has 4,180.
LARGEST_FIBONACCI = 20_000
# Below this bound the bases in WITNESSES prove primality (Sorenson and Webster, 2015).
PRIMALITY_BOUND = 3_317_044_064_679_887_385_961_981
WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)

app = App()


@app.task
async def echo(value: Any) -> Any:
    return value


@app.task
async def sleep(seconds: Annotated[float, Meta(ge=0, le=86_400)]) -> None:
    await asyncio.sleep(seconds)


@app.task
def fibonacci(n: Annotated[int, Meta(ge=0, le=LARGEST_FIBONACCI)]) -> int:
    """The nth Fibonacci number, fibonacci(0) = 0."""
    a, b = 0, 1
    for bit in bin(n)[2:]:  # doubling: F(2k) = F(k)(2F(k+1) - F(k)), F(2k+1) = F(k)² + F(k+1)²
        a, b = a * (2 * b - a), a * a + b * b
        if bit == "1":
            a, b = b, a + b
    return a


@app.task
def prime_factorization(n: Annotated[int, Meta(ge=1)]) -> list[int]:
    """The prime factors of n, ascending, with multiplicity; none for 1."""
    if n >= PRIMALITY_BOUND:
        raise InvalidInput(f"n must be below {PRIMALITY_BOUND}, not {n}", field="n")
    factors: list[int] = []
    for prime in WITNESSES:
        while n % prime == 0:
            factors.append(prime)
            n //= prime
    return sorted(factors + large_factors(n))


def large_factors(n: int) -> list[int]:
    if n == 1:
        return []
    if is_prime(n):
        return [n]
    divisor = find_divisor(n)
    return large_factors(divisor) + large_factors(n // divisor)


def is_prime(n: int) -> bool:
    """Miller-Rabin, exact below PRIMALITY_BOUND; n is odd and greater than every witness."""
    halvings = ((n - 1) & (1 - n)).bit_length() - 1
    odd_part = (n - 1) >> halvings
    for witness in WITNESSES:
        power = pow(witness, odd_part, n)
        if power in (1, n - 1):
            continue
        for _ in range(halvings - 1):
            power = power * power % n
            if power == n - 1:
                break
        else:
            return False
    return True


def find_divisor(n: int) -> int:
    """A proper divisor of the odd composite n, by Pollard's rho with other increments until one gives it."""
    return next(divisor for increment in range(1, n) if (divisor := rho(n, increment)) != n)


def rho(n: int, increment: int) -> int:
    """A divisor of n over 1, perhaps n itself. One gcd for a batch of differences: gcds would be most of the work."""
    differences = rho_differences(n, increment)
    while True:
        batch = list(islice(differences, 128))
        product = 1
        for difference in batch:
            product = product * difference % n
        if math.gcd(product, n) > 1:
            return next(divisor for difference in batch if (divisor := math.gcd(difference, n)) > 1)


def rho_differences(n: int, increment: int) -> Iterator[int]:
    slow = fast = 2
    while True:
        slow = (slow * slow + increment) % n
        fast = (fast * fast + increment) % n
        fast = (fast * fast + increment) % n
        yield slow - fast
