"""The exact shapes of schedules in request bodies, as dtsched.api.shapes has them of jobs: for the OpenAPI
document alone. What a request may be is decided by dtsched.schedules and dtsched.cron."""

from typing import Annotated, Any, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from dtsched.api.requests import Name
from dtsched.api.shapes import Backoff, Duration, Key, Tag
from dtsched.checks import MAX_SECONDS
from dtsched.schedules import Catchup, Overlap

Spec: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        description="Cron with five fields, or six with seconds first; @daily and the like; or `every 10m`.",
        examples=["0 9 * * mon-fri"],
    ),
]
Zone: TypeAlias = Annotated[
    str | None,
    Meta(
        description="The time zone of the fields: a name of the IANA database. By default UTC.",
        examples=["Europe/Berlin"],
    ),
]
Args: TypeAlias = Annotated[
    dict[str, Any] | None, Meta(description="The named arguments: at most 1 MiB of JSON.", examples=[{"value": 1}])
]
Task: TypeAlias = Annotated[
    Name, Meta(description="What is to be done: a name that workers declare.", examples=["echo"])
]
Priority: TypeAlias = Annotated[
    Annotated[int, Meta(ge=1, le=10)] | None, Meta(description="10 goes first; by default 5.", examples=[5])
]
Attempts: TypeAlias = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | None,
    Meta(description="How often each is tried before it fails.", examples=[3]),
]
Timeout: TypeAlias = Annotated[
    Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | None,
    Meta(description="How long one attempt may take.", examples=[90]),
]
Tolerance: TypeAlias = Annotated[
    Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | Duration | None,
    Meta(
        description="A tick that is late by no more runs whatever `catchup` says; by default a minute.", examples=["1m"]
    ),
]
MadeUp: TypeAlias = Annotated[
    Catchup | None,
    Meta(description="Of the ticks that an outage made late, none, the latest (by default) or all are made up for."),
]
MadeUpLimit: TypeAlias = Annotated[
    Annotated[int, Meta(ge=1, le=1000)] | None,
    Meta(description="How many at most, the newest ones, with `all`; by default 100.", examples=[24]),
]
Overlapping: TypeAlias = Annotated[
    Overlap | None,
    Meta(description="While a job of it is unfinished: allow another (by default), skip the tick, or cancel that job."),
]
Tags: TypeAlias = Annotated[Annotated[list[Tag], Meta(max_length=20)] | None, Meta(examples=[["nightly"]])]


class ScheduleRequest(Struct, forbid_unknown_fields=True):
    """A schedule. null leaves a field to its default."""

    spec: Spec
    task: Task
    args: Args = None
    tz: Zone = None
    queue: Name | None = None
    priority: Priority = None
    max_attempts: Attempts = None
    timeout: Timeout = None
    limit_key: Key | None = None
    tags: Tags = None
    backoff: Backoff | None = None
    catchup: MadeUp = None
    catchup_limit: MadeUpLimit = None
    overlap: Overlapping = None
    tolerance: Tolerance = None


class ScheduleChange(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is missing stays as it is; null is the default."""

    spec: Spec | UnsetType = UNSET
    task: Task | UnsetType = UNSET
    args: Args = None
    tz: Zone = None
    queue: Name | None = None
    priority: Priority = None
    max_attempts: Attempts = None
    timeout: Timeout = None
    limit_key: Key | None = None
    tags: Tags = None
    backoff: Backoff | None = None
    catchup: MadeUp = None
    catchup_limit: MadeUpLimit = None
    overlap: Overlapping = None
    tolerance: Tolerance = None
