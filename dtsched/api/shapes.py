"""The exact shapes of request bodies, as JSON Schema can say them: for the OpenAPI document alone. What a request may
be is decided by dtsched.jobs.check(), with sentences; tests hold both to the same cases.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from dtsched.api.bodies import MAX_BATCH_JOBS
from dtsched.api.requests import Name
from dtsched.checks import MAX_SECONDS
from dtsched.jobs import OnConflict

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


OnFailure: TypeAlias = Literal["cancel", "run", "skip"]


class ParentRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A job to depend on, by its id or key, or as the `entry`-th job of the same batch, from 1; and what becomes
    of this one if that one fails or is cancelled."""

    job: JobId | Key | None = None
    entry: Annotated[int, Meta(ge=1, lt=10**9)] | None = None
    on_failure: OnFailure | None = None


_GIVEN = {"not": {"type": "null"}}

Parent: TypeAlias = Annotated[
    JobId | Key | ParentRequest,
    Meta(
        extra_json_schema={
            "oneOf": [
                {"type": ["integer", "string"]},
                *({"type": "object", "properties": {name: _GIVEN}, "required": [name]} for name in ("job", "entry")),
            ]
        }
    ),
]


class JobRequest(Struct, forbid_unknown_fields=True):
    """A job to be submitted. null leaves a field to its default, which the task may have set. `delay` and `run_at`
    exclude each other, as do `expires_in` and `deadline`."""

    task: Annotated[Name, Meta(description="What is to be done: a name that workers declare.", examples=["echo"])]
    args: Annotated[
        dict[str, Any],
        Meta(
            description="The named arguments: at most 1 MiB of JSON; the whole job is nested at most 64 deep.",
            examples=[{"value": 1}],
        ),
    ] = {}
    queue: Annotated[
        Name | None, Meta(description="By default what the task declares, or `default`.", examples=["mail"])
    ] = None
    priority: Annotated[
        Annotated[int, Meta(ge=1, le=10)] | None,
        Meta(description="10 goes first; by default what the task declares, or 5.", examples=[5]),
    ] = None
    run_at: Annotated[Instant | None, Meta(description="Not before this time.", examples=["2030-01-31T09:00:00Z"])] = (
        None
    )
    delay: Annotated[
        Seconds | Duration | None, Meta(description="Not before this much time has passed.", examples=["10m"])
    ] = None
    max_attempts: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="How often it is tried before it fails; by default what the task declares, or its queue, or 5.",
            examples=[3],
        ),
    ] = None
    timeout: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | None,
        Meta(
            description="How long one attempt may take; by default what the task declares, or its queue.", examples=[90]
        ),
    ] = None
    key: Annotated[
        Key | None,
        Meta(
            description="At most one job has it, for as long as `key_for` says; `on_conflict` is about that one.",
            examples=["order-42"],
        ),
    ] = None
    key_for: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Literal["unfinished", "kept"] | Duration | None,
        Meta(
            description="How long the key is held: by default while the job is unfinished; for a time from the "
            "submission on, at least; or for as long as the job is kept.",
            examples=["10m"],
        ),
    ] = None
    on_conflict: Annotated[
        OnConflict | None,
        Meta(
            description="What becomes of the job that holds the key. By default it is kept. `replace` gives one that "
            "waits the values of this one, `reject` refuses this one, and `supersede` cancels the other one.",
            examples=["replace"],
        ),
    ] = None
    limit_key: Annotated[
        Key | None,
        Meta(description="Jobs of one limit key share its limits: by default one at a time.", examples=["smtp"]),
    ] = None
    depends_on: Annotated[
        Annotated[list[Parent], Meta(max_length=100_000)] | None,
        Meta(
            description="Jobs that have to complete first: ids, or keys of the same batch, else of unfinished jobs.",
            examples=[[1, "order-42", {"entry": 1, "on_failure": "run"}]],
        ),
    ] = None
    on_parent_failure: Annotated[
        OnFailure | None,
        Meta(description="What becomes of it if one of `depends_on` fails or is cancelled; by default cancel."),
    ] = None
    workflow: Annotated[JobId | None, Meta(description="The id of the workflow it belongs to.", examples=[1])] = None
    tags: Annotated[
        Annotated[list[Tag], Meta(max_length=20)] | None,
        Meta(description="Words of one's own to find it by.", examples=[["nightly"]]),
    ] = None
    backoff: Annotated[Backoff | None, Meta(description="How far apart attempts are.")] = None
    deadline: Annotated[
        Instant | None,
        Meta(
            description="When its time is over: no attempt begins after it, one that runs is ended, and the job fails.",
            examples=["2030-02-01T09:00:00Z"],
        ),
    ] = None
    expires_in: Annotated[
        Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | Duration | None,
        Meta(description="The deadline, from now.", examples=["1h"]),
    ] = None
    correlation_id: Annotated[
        CorrelationId | None,
        Meta(description="By which logs find it; by default the id of the request.", examples=["order-42"]),
    ] = None


_REPLACES_NO_PARENTS = {
    "not": {
        "properties": {"on_conflict": {"const": "replace"}, "depends_on": {"type": "array", "minItems": 1}},
        "required": ["on_conflict", "depends_on"],
    }
}


def _needs_a_key(field: str) -> dict[str, Any]:
    return {
        "if": {"properties": {field: _GIVEN}, "required": [field]},
        "then": {"properties": {"key": _GIVEN}, "required": ["key"]},
    }


JobBody: TypeAlias = Annotated[
    JobRequest,
    Meta(
        extra_json_schema={
            "allOf": [
                *(
                    {"not": {"properties": {one: _GIVEN, other: _GIVEN}, "required": [one, other]}}
                    for one, other in (("delay", "run_at"), ("expires_in", "deadline"))
                ),
                *map(_needs_a_key, ("key_for", "on_conflict")),
                _REPLACES_NO_PARENTS,
            ],
            "examples": [{"task": "echo", "args": {"value": 1}}],
        }
    ),
]


class Batch(Struct, forbid_unknown_fields=True):
    """All are submitted, or none. `depends_on` may name keys of other jobs of the batch, in any order."""

    jobs: Annotated[list[JobBody], Meta(min_length=1, max_length=MAX_BATCH_JOBS)]
    partial: Annotated[bool, Meta(description="Submit those that can be, though others are refused.")] = False


BatchBody: TypeAlias = Batch | Annotated[list[JobBody], Meta(min_length=1, max_length=MAX_BATCH_JOBS)]


JobLine: TypeAlias = Annotated[
    str, Meta(description="A job like that of POST /v1/jobs on each line.", examples=['{"task": "echo"}\n'])
]


class NewWorkflow(Struct, forbid_unknown_fields=True):
    """A workflow to be made, alone or together with its jobs."""

    name: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,128}$", examples=["etl"])]
    jobs: (
        Annotated[
            list[JobBody],
            Meta(min_length=1, max_length=MAX_BATCH_JOBS, description="As of a batch; `workflow` is this one."),
        ]
        | UnsetType
    ) = UNSET


WorkflowBody: TypeAlias = NewWorkflow


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
