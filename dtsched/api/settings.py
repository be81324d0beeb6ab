"""The exact shapes of settings of queues and of limits of limit keys, for the OpenAPI document alone. What they may be
is decided by dtsched.limits; tests hold both to the same cases.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from dtsched.api.shapes import Duration
from dtsched.checks import MAX_SECONDS
from dtsched.limits import HIGHEST_RATE, LONGEST_AGING, LONGEST_RETENTION, LOWEST_RATE, MOST_JOBS

Jobs: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_JOBS)]
Burst: TypeAlias = Annotated[int, Meta(ge=1, le=MOST_JOBS)]
RateText: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[0-9]+(\.[0-9]+)?(/[smhd])?$", description="jobs a second, or like 10/s, 100/m, 5000/h, 1/d"),
]
Rate: TypeAlias = Annotated[float, Meta(ge=LOWEST_RATE, le=HIGHEST_RATE)] | RateText
Seconds: TypeAlias = Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)] | Duration
Kept: TypeAlias = Annotated[float, Meta(ge=0, le=LONGEST_RETENTION)] | Literal["forever"] | Duration


class Breaker(Struct, forbid_unknown_fields=True):
    """After `failures` within that time nothing starts for the `cooldown`; then one job tries at a time."""

    failures: Annotated[int, Meta(ge=1, le=1000)]
    within: Seconds
    cooldown: Seconds


class RetentionSettings(Struct, forbid_unknown_fields=True):
    """How long what has ended is kept; null takes one away."""

    completed: Kept | None = None
    failed: Kept | None = None
    cancelled: Kept | None = None
    results: Kept | None = None


RetentionBody: TypeAlias = Annotated[
    RetentionSettings, Meta(extra_json_schema={"examples": [{"completed": "2d", "results": "12h"}]})
]


class QueueSettings(Struct, forbid_unknown_fields=True):
    """Each may be left out, which leaves it as it is; null takes it away."""

    limit: Annotated[Jobs | None, Meta(description="Jobs that run at once, over all workers.", examples=[5])] = None
    rate: Annotated[Rate | None, Meta(description="Jobs that start a second.", examples=[10, "100/m"])] = None
    burst: Annotated[
        Burst | None, Meta(description="Jobs that start at once after a quiet while; a second's worth.", examples=[20])
    ] = None
    key_limit: Annotated[
        Jobs | None, Meta(description="The same of each limit key that has none of its own: 1.", examples=[1])
    ] = None
    key_rate: Rate | None = None
    key_burst: Burst | None = None
    aging: Annotated[
        Annotated[float, Meta(ge=1, le=LONGEST_AGING)] | Duration | None,
        Meta(description="When a job goes before younger ones of a higher priority: 600 s.", examples=["10m"]),
    ] = None
    max_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None, Meta(description="Of jobs that do not say it.", examples=[3])
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | None,
        Meta(description="Of one attempt of jobs that do not say it.", examples=["2m"]),
    ] = None
    retention: RetentionSettings | None = None
    breaker: Breaker | None = None
    key_breaker: Annotated[Breaker | None, Meta(description="The same of each limit key.")] = None


QueueSettingsBody: TypeAlias = Annotated[
    QueueSettings, Meta(extra_json_schema={"examples": [{"limit": 5, "rate": "10/s", "burst": 20}]})
]


class KeyLimits(Struct, forbid_unknown_fields=True):
    """All three are set: what is left out, or null, is as the queue of a job says, and one at a time where that says
    nothing."""

    concurrency: Annotated[Jobs | None, Meta(description="Jobs that run at once; 0 holds them.", examples=[3])] = None
    rate: Annotated[Rate | None, Meta(description="Jobs that start a second.", examples=[10, "100/m"])] = None
    burst: Annotated[
        Burst | None, Meta(description="Jobs that start at once after a quiet while; a second's worth.", examples=[20])
    ] = None


KeyLimitsBody: TypeAlias = Annotated[
    KeyLimits, Meta(extra_json_schema={"examples": [{"concurrency": 3, "rate": "10/s", "burst": 20}]})
]
