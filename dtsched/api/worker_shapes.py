"""What workers over HTTP send and are told: exact in the OpenAPI document, and as the handlers read it."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from dtsched.api.requests import Name
from dtsched.api.shapes import Duration, Seconds
from dtsched.checks import MAX_SECONDS
from dtsched.jobs import JobState

LONGEST_POLL_SECONDS = 30
MOST_QUEUES = 100
MOST_TASKS = 1_000
MOST_SLOTS = 10_000
MOST_LEASES = 10_000
MOST_LINES = 1_000
MAX_LABELS_BYTES = 8 * 1024

LeaseId: TypeAlias = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Secret: TypeAlias = Annotated[str, Meta(description="Of the lease, as its claim told it.", examples=["5f1c…"])]
Kind: TypeAlias = Literal["complete", "retry", "fail", "snooze", "cancel"]
Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]


class NewWorker(Struct, forbid_unknown_fields=True):
    """A worker, as it comes: it says what it can do, and is told who it is."""

    name: Annotated[
        str, Meta(description="Shown to people; several may have it.", pattern=r"^[^\x00-\x1f\x7f]{1,255}$")
    ]
    queues: Annotated[list[Name], Meta(min_length=1, max_length=MOST_QUEUES, examples=[["mail"]])] = field(
        default_factory=lambda: ["default"]
    )
    tasks: (
        Annotated[
            list[Name],
            Meta(description="The tasks that it knows; null: any.", max_length=MOST_TASKS, examples=[["send"]]),
        ]
        | None
    ) = None
    slots: Annotated[int, Meta(description="How many jobs it runs at once.", ge=1, le=MOST_SLOTS)] = 1
    labels: Annotated[
        dict[str, Any], Meta(description=f"Shown with the worker: at most {MAX_LABELS_BYTES} bytes of JSON.")
    ] = {}


class GivenWorker(Struct, forbid_unknown_fields=True):
    name: str
    queues: list[str] = field(default_factory=lambda: ["default"])
    tasks: list[str] | None = None
    slots: int = 1
    labels: dict[str, Any] = {}


class RegisteredWorker(Struct, frozen=True):
    """`lease_seconds`: a worker that is not heard of for so long is lost, and its jobs run elsewhere. A heartbeat every
    fifth of it is enough."""

    id: UUID
    lease_seconds: float


class SystemInfo(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Shares are percentages; what is left out is not known."""

    cpu_usage: float | None = None
    memory_usage: float | None = None
    disk_usage: float | None = None
    load_1m: float | None = None
    process_cpu: float | None = None
    process_rss_bytes: float | None = None


class Heartbeat(Struct, forbid_unknown_fields=True):
    """`leases` are all that the worker holds: one that it does not name, and whose job started over `lease_seconds`
    ago, is taken back. null: it does not say, and nothing is compared."""

    system_info: SystemInfo | None = None
    leases: Annotated[list[LeaseId], Meta(max_length=MOST_LEASES)] | None = None


class HeartbeatAnswer(Struct, frozen=True):
    """Leases whose handlers are to stop (finish them as `cancel`), leases that were named and are somebody else's by
    now (drop them), and whether the worker is to claim nothing more."""

    cancelled: list[int]
    lost: list[int]
    draining: bool


class ClaimRequest(Struct, forbid_unknown_fields=True):
    """`wait`: with nothing to do, the answer comes when there is something, or after so long."""

    limit: Annotated[int, Meta(description="At most as many as slots are free.", ge=1, le=MOST_SLOTS)] = 1
    wait: (
        Annotated[float, Meta(ge=0, le=LONGEST_POLL_SECONDS, description="seconds", examples=[30])] | Duration | None
    ) = None


class GivenClaim(Struct, forbid_unknown_fields=True):
    limit: int = 1
    wait: float | str | None = None


class ClaimedJob(Struct, frozen=True):
    """A job and the lease on it. Its handler is to end by `deadline`, `timeout_seconds` after its start, if there is
    one. `secret` is told here and never again."""

    id: int
    lease_id: int
    secret: str
    queue: str
    task: str
    args: Any
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    deadline: datetime | None
    correlation_id: str | None


class ClaimedJobs(Struct, frozen=True):
    """None, when there is nothing to do or no slot free."""

    jobs: list[ClaimedJob]


class ErrorDetails(Struct, forbid_unknown_fields=True):
    """`type` groups errors of one kind; "timeout" is an attempt that took longer than it may."""

    type: str = "Error"
    message: str = ""
    traceback: str | None = None


class FinishRequest(Struct, forbid_unknown_fields=True):
    """`result` is of complete. `error` says why, of the others. `delay` is the wait of a retry (null: as the job's
    backoff says) and of a snooze, which has to have one."""

    secret: Secret
    outcome: Kind
    result: Annotated[Any, Meta(description="At most 1 MiB of JSON, nested at most 63 deep.")] = None
    error: str | ErrorDetails | None = None
    delay: Seconds | Duration | None = None


class GivenFinish(Struct, forbid_unknown_fields=True):
    secret: str
    outcome: Kind
    result: Any = None
    error: str | ErrorDetails | None = None
    delay: float | str | None = None


class Finished(Struct, frozen=True):
    """The job's state by this: a job that was cancelled while it ran ends so, whatever its outcome."""

    state: JobState


class Progress(Struct, forbid_unknown_fields=True, omit_defaults=True):
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    message: Annotated[str, Meta(description="Cut to 500 characters.")] | None = None


class GivenProgress(Struct, forbid_unknown_fields=True, omit_defaults=True):
    percent: float | None = None
    message: str | None = None


class Line(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`ago`: seconds since it was written. `seq` counts the lines of the attempt: sent twice, it is kept once."""

    message: str
    level: Level | UnsetType = UNSET
    logger: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    ago: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] | UnsetType = UNSET
    seq: Annotated[int, Meta(ge=1, lt=10**9)] | UnsetType = UNSET


class ProgressRequest(Struct, forbid_unknown_fields=True):
    """A number is a percentage, a string a message."""

    secret: Secret
    progress: Progress | Annotated[float, Meta(ge=0, le=100)] | str | None = None
    log: Annotated[list[str | Line], Meta(max_length=MOST_LINES)] = []


class GivenReport(Struct, forbid_unknown_fields=True):
    secret: str
    progress: GivenProgress | float | str | None = None
    log: list[str | Line] = []


class ProgressAnswer(Struct, frozen=True):
    """Whether somebody asked for the job's cancellation: its handler is to stop."""

    cancelled: bool
