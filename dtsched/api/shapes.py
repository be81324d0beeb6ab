"""The exact shapes of request bodies, as JSON Schema can say them: for the OpenAPI document alone. What a request may
be is decided by dtsched.jobs.check(), with sentences; tests hold both to the same cases.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from dtsched.api.bodies import MAX_BATCH_JOBS
from dtsched.api.requests import Name
from dtsched.jobs import MAX_SECONDS

_YEAR = "(19[7-9][0-9]|[2-9][0-9]{3})"
_TWO = "[0-9]{2}"

JobId: TypeAlias = Annotated[int, Meta(ge=1, lt=10**18)]
Tag: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00]{1,64}$")]
Instant: TypeAlias = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339, with a time zone, from 1970 to 9999",
        examples=["2030-01-31T09:00:00Z"],
        extra_json_schema={
            "pattern": f"^{_YEAR}-{_TWO}-{_TWO}[Tt]{_TWO}:{_TWO}:{_TWO}([.][0-9]+)?([Zz]|[+-]{_TWO}:{_TWO})$"
        },
    ),
]


def _text(longest: int) -> Meta:
    return Meta(pattern=rf"^[^\x00-\x1f\x7f]{{1,{longest}}}$")


Key: TypeAlias = Annotated[str, _text(255)]
CorrelationId: TypeAlias = Annotated[str, _text(128)]
Duration: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$",
        description="seconds, or like 500ms, 30s, 2m, 1h, 7d; at most 366 days",
    ),
]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]


class Backoff(Struct, forbid_unknown_fields=True):
    """The wait before the next attempt: `base` seconds, doubled, added up or kept, at most `cap`, plus or minus the
    share `jitter`."""

    kind: Literal["exponential", "linear", "fixed"]
    base: Seconds = 2.0
    cap: Seconds = 3600.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.25


class JobRequest(Struct, forbid_unknown_fields=True):
    """A job to be submitted. null leaves a field to its default, which the task may have set. `delay` and `run_at`
    exclude each other."""

    task: Annotated[Name, Meta(description="What is to be done: a name that workers declare.", examples=["echo"])]
    args: Annotated[
        dict[str, Any],
        Meta(
            description="The named arguments: at most 1 MiB of JSON; the whole job is nested at most 64 deep.",
            examples=[{"value": 1}],
        ),
    ] = {}
    queue: Annotated[Name | None, Meta(description="By default the queue `default`.", examples=["mail"])] = None
    priority: Annotated[
        Annotated[int, Meta(ge=1, le=10)] | None, Meta(description="10 goes first; by default 5.", examples=[5])
    ] = None
    run_at: Annotated[Instant | None, Meta(description="Not before this time.", examples=["2030-01-31T09:00:00Z"])] = (
        None
    )
    delay: Annotated[
        Seconds | Duration | None, Meta(description="Not before this much time has passed.", examples=["10m"])
    ] = None
    max_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(description="How often it is tried before it fails.", examples=[3]),
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | None,
        Meta(description="How long one attempt may take.", examples=[90]),
    ] = None
    key: Annotated[
        Key | None,
        Meta(
            description="At most one unfinished job has it: submitting a second one shows the first.",
            examples=["order-42"],
        ),
    ] = None
    limit_key: Annotated[
        Key | None,
        Meta(description="What a limit is to count: kept with the job, and not acted on yet.", examples=["smtp"]),
    ] = None
    depends_on: Annotated[
        Annotated[list[JobId | Key], Meta(max_length=100_000)] | None,
        Meta(
            description="Jobs that have to complete first: ids, or keys of the same batch, else of unfinished jobs.",
            examples=[[1, "order-42"]],
        ),
    ] = None
    tags: Annotated[
        Annotated[list[Tag], Meta(max_length=20)] | None,
        Meta(description="Words of one's own to find it by.", examples=[["nightly"]]),
    ] = None
    backoff: Annotated[Backoff | None, Meta(description="How far apart attempts are.")] = None
    deadline: Annotated[
        Instant | None,
        Meta(
            description="When it should be done by: kept with the job, and not acted on yet.",
            examples=["2030-02-01T09:00:00Z"],
        ),
    ] = None
    correlation_id: Annotated[
        CorrelationId | None,
        Meta(description="By which logs find it; by default the id of the request.", examples=["order-42"]),
    ] = None


_GIVEN = {"not": {"type": "null"}}

JobBody: TypeAlias = Annotated[
    JobRequest,
    Meta(
        extra_json_schema={
            "not": {"properties": {"delay": _GIVEN, "run_at": _GIVEN}, "required": ["delay", "run_at"]},
            "examples": [{"task": "echo", "args": {"value": 1}}],
        }
    ),
]


class Batch(Struct, forbid_unknown_fields=True):
    """All are submitted, or none. `depends_on` may name keys of other jobs of the batch, in any order."""

    jobs: Annotated[list[JobBody], Meta(min_length=1, max_length=MAX_BATCH_JOBS)]


BatchBody: TypeAlias = Batch | Annotated[list[JobBody], Meta(min_length=1, max_length=MAX_BATCH_JOBS)]


class NewTime(Struct, forbid_unknown_fields=True):
    """When a job is to run: exactly one of both."""

    run_at: Annotated[Instant | None, Meta(description="Not before this time.")] = None
    delay: Annotated[Seconds | Duration | None, Meta(description="Not before this much time has passed.")] = None


NewTimeBody: TypeAlias = Annotated[
    NewTime,
    Meta(
        extra_json_schema={
            "oneOf": [{"properties": {name: _GIVEN}, "required": [name]} for name in ("run_at", "delay")],
            "examples": [{"delay": "10m"}],
        }
    ),
]


class Changes(Struct, forbid_unknown_fields=True):
    """What is left out stays as it is. `args` takes the place of all args, `merge_args` goes over those there are; they
    exclude each other."""

    args: Annotated[dict[str, Any], Meta(description="All named arguments anew: at most 1 MiB.")] | UnsetType = UNSET
    merge_args: Annotated[dict[str, Any], Meta(description="Named arguments to set; the others stay.")] | UnsetType = (
        UNSET
    )
    queue: Name | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=1, le=10)] | UnsetType = UNSET
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    timeout: Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | UnsetType | None = UNSET
    tags: Annotated[list[Tag], Meta(max_length=20)] | UnsetType = UNSET
    limit_key: Key | UnsetType | None = UNSET
    deadline: Instant | UnsetType | None = UNSET


ChangesBody: TypeAlias = Annotated[
    Changes,
    Meta(
        extra_json_schema={
            "minProperties": 1,
            "not": {"required": ["args", "merge_args"]},
            "examples": [{"priority": 9}],
        }
    ),
]
