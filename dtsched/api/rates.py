"""How often may ask who: a bucket of tokens for each key, or for each address where there is no key, in this process
alone. Nothing that a request says of itself decides whose bucket it is: X-Forwarded-For is not read.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from dtsched.api.callers import Caller, caller_of
from dtsched.api.documentation import operation_of
from dtsched.api.front_door import EXTRA_HEADERS
from dtsched.api.problems import RATE_LIMITED, Refused
from dtsched.api.requests import ApiRequest
from dtsched.settings import Rate

MOST_BUCKETS = 10_000
"""Whoever has not been heard of for the longest is forgotten, and begins with a full bucket again."""

FAILED_AUTHENTICATIONS = Rate(10, 60)
"""Wrong keys that an address may send."""

AnyConnection = ASGIConnection[Any, Any, Any, Any]


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """As many tokens as `rate` has requests, filled evenly over its seconds."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._a_second = rate.requests / rate.seconds
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def left(self, name: str) -> float:
        bucket = self._buckets.get(name)
        if bucket is None:
            return float(self.rate.requests)
        return min(self.rate.requests, bucket.tokens + (self._clock() - bucket.at) * self._a_second)

    def take(self, name: str) -> bool:
        """Whether there was one to take."""
        left = self.left(name)
        taken = left >= 1
        self._buckets[name] = _Bucket(left - taken, self._clock())
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return taken

    def seconds_until(self, tokens: float, name: str) -> int:
        """Until there are so many, at least 1."""
        return max(1, math.ceil((tokens - self.left(name)) / self._a_second))


class RateLimit:
    """A guard of all routes that ask for a scope; those that everybody may read cost nothing. To be run after the one
    that finds out who calls. None as `rate`: no limit."""

    def __init__(
        self,
        rate: Rate | None,
        *,
        caller_of: Callable[[ApiRequest], Caller] = caller_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = None if rate is None else Buckets(rate, clock)
        self._caller_of = caller_of

    async def __call__(self, connection: AnyConnection, handler: BaseRouteHandler) -> None:
        """Refused with RATE_LIMITED when the bucket is empty."""
        told = operation_of(handler.opt)
        if self._buckets is None or told is None or told.access.scope is None:
            return
        key = self._caller_of(cast("ApiRequest", connection)).name
        name = f"address {address_of(connection)}" if key is None else f"key {key}"
        taken = self._buckets.take(name)
        connection.scope["state"][EXTRA_HEADERS] = _headers(self._buckets, name)
        if not taken:
            whose = "from this address" if key is None else "with this key"
            rate = self._buckets.rate
            raise Refused(
                RATE_LIMITED,
                f"there were more than {rate.requests} requests in {rate.seconds} s {whose}",
                retry_after_seconds=self._buckets.seconds_until(1, name),
            )


class Guessers:
    """Counts wrong keys by address. A right key is never refused for what others guess."""

    def __init__(self, rate: Rate = FAILED_AUTHENTICATIONS, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets(rate, clock)

    def refuse(self, address: str) -> None:
        """Refused with RATE_LIMITED when too many wrong keys came from there. To be asked before a key that is not
        known to be right is looked up."""
        if self._buckets.left(address) < 1:
            rate = self._buckets.rate
            raise Refused(
                RATE_LIMITED,
                f"more than {rate.requests} wrong keys in {rate.seconds} s came from this address",
                retry_after_seconds=self._buckets.seconds_until(1, address),
            )

    def note_failed_authentication(self, address: str) -> None:
        self._buckets.take(address)


def address_of(connection: AnyConnection) -> str:
    """The other end of the connection itself. One host has a whole /64 of IPv6 to call from."""
    if connection.client is None:
        return "local"
    host = connection.client.host
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _headers(buckets: Buckets, name: str) -> list[tuple[bytes, bytes]]:
    """Of draft-ietf-httpapi-ratelimit-headers: the rate, then what is left of it and when it is all there again."""
    rate = buckets.rate
    full = buckets.seconds_until(rate.requests, name)
    return [
        (b"ratelimit-policy", f'"requests";q={rate.requests};w={rate.seconds}'.encode()),
        (b"ratelimit", f'"requests";r={int(buckets.left(name))};t={full}'.encode()),
    ]
