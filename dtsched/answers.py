"""How an attempt ended, and what a handler may raise or return to say so."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from dtsched.checks import check_seconds, shown
from dtsched.errors import InvalidInput
from dtsched.settings import Duration, parse_duration


class ErrorInfo(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt did not succeed."""

    type: str
    message: str
    traceback: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt ended. `result` is encoded JSON, `delay` seconds (None: the job's backoff decides), `lineage` the
    classes of what its handler raised. A snooze with `wait` lasts as long as the sleep or the wait for an event of that
    name. `completing`: the handler has completed it in a transaction of its own, and that this outcome is refused says
    that it was committed."""

    lease_id: int
    kind: Literal["complete", "retry", "fail", "snooze", "cancel"]
    result: bytes | None = None
    delay: float | None = None
    error: ErrorInfo | None = None
    wait: str | None = None
    lineage: tuple[str, ...] = ()
    completing: bool = False


class RetryRules(msgspec.Struct, frozen=True):
    """Which errors are retried and when, by the names of their classes: what a handler raises in a process of its own
    is known by name alone."""

    on: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    delays: dict[str, float] = {}

    def allow(self, lineage: Sequence[str]) -> bool:
        """The class nearest to the error decides."""
        for name in lineage:
            if name in self.never:
                return False
            if name in self.on:
                return True
        return not self.on

    def delay(self, lineage: Sequence[str]) -> float | None:
        return next((self.delays[name] for name in lineage if name in self.delays), None)


Errors: TypeAlias = type[BaseException] | Sequence[type[BaseException]]


class Retry(Exception):
    """As a task's policy, Retry(5, backoff="exponential"): how often and how far apart an attempt is repeated; the wait
    is `base` seconds, doubled, added up or kept, at most `cap`, plus or minus the share `jitter`. With `on`, only
    errors of these classes are retried; those of `never` are not; an attempt that runs into its timeout counts as a
    TimeoutError; `delays` are waits for errors of some classes. Raised or returned by a handler, Retry(after="30s"):
    this attempt failed, repeat it then; used up attempts fail the job all the same."""

    def __init__(
        self,
        max_attempts: int | None = None,
        *,
        after: Duration | None = None,
        backoff: Literal["exponential", "linear", "fixed"] = "exponential",
        base: Duration = 2.0,
        cap: Duration = 3600.0,
        jitter: float = 0.25,
        on: Errors = (),
        never: Errors = (),
        delays: Mapping[type[BaseException], Duration] | None = None,
    ) -> None:
        super().__init__("the handler asked for another attempt")
        self.max_attempts = max_attempts
        self.after = None if after is None else parse_duration(after, field="after")
        if backoff not in ("exponential", "linear", "fixed"):
            raise InvalidInput(f"backoff must be exponential, linear or fixed, not {backoff!r}", field="backoff")
        if not 0 <= jitter <= 1:
            raise InvalidInput(f"jitter must be a share from 0 to 1, not {jitter!r}", field="jitter")
        self.policy: dict[str, Any] = {
            "kind": backoff,
            "base": parse_duration(base, field="base"),
            "cap": parse_duration(cap, field="cap"),
            "jitter": jitter,
        }
        self.rules = RetryRules(
            on=_class_names("on", on),
            never=_class_names("never", never),
            delays={
                name: check_seconds("delays", delay, positive=False) or 0.0
                for name, delay in zip(_class_names("delays", list(delays or ())), (delays or {}).values(), strict=True)
            },
        )


class Snooze(Exception):
    """Raised or returned by a handler: run this job again after `delay`; it does not cost an attempt."""

    def __init__(self, delay: Duration) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay = parse_duration(delay, field="delay")


class Cancel(Exception):
    """Raised or returned by a handler: this job is not to be done any more."""

    def __init__(self, reason: str = "cancelled by its handler") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Fail(Exception):
    """Raised or returned by a handler: this job has failed, whatever attempts it has left."""

    def __init__(self, reason: str = "failed by its handler") -> None:
        super().__init__(reason)
        self.reason = str(reason)


def class_name(kind: type[BaseException]) -> str:
    """As dtsched.attempts has it in error_type."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def lineage_of(kind: type[BaseException]) -> tuple[str, ...]:
    """Its own name, and those of the classes it is derived from, nearest first."""
    return tuple(class_name(each) for each in kind.__mro__)


def _class_names(field: str, kinds: object) -> tuple[str, ...]:
    classes = [kinds] if isinstance(kinds, type | str) else list(cast("Sequence[object]", kinds))
    for kind in classes:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise InvalidInput(f"{field} must be classes of exceptions, not {shown(cast('object', kind))}", field=field)
    return tuple(class_name(kind) for kind in cast("list[type[BaseException]]", classes))
