"""How a job names those it depends on, in Python."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast, get_args, runtime_checkable

from dtsched.checks import shown
from dtsched.errors import InvalidInput
from dtsched.jobs import OnFailure, ParentEdge


@runtime_checkable
class Dependable(Protocol):
    """A handle of a submitted job, or a node of a workflow that is submitted."""

    def as_parent(self) -> int | ParentEdge: ...


@dataclass(frozen=True)
class Parent:
    """A job to depend on, and what becomes of the child if that job fails or is cancelled: "cancel" cancels it, "run"
    lets it run all the same, "skip" ends it without running, and what depends on it goes on."""

    job: int | str | Dependable
    on_failure: OnFailure | None = None

    def __post_init__(self) -> None:
        if self.on_failure not in (None, *get_args(OnFailure)):
            raise InvalidInput(
                f"on_failure must be cancel, run or skip, not {shown(self.on_failure)}", field="depends_on"
            )

    def as_parent(self) -> ParentEdge:
        return self.said_of(edge_of(self.job))

    def said_of(self, edge: int | str | ParentEdge) -> ParentEdge:
        """The edge with this policy."""
        if isinstance(edge, ParentEdge):
            return ParentEdge(job=edge.job, entry=edge.entry, on_failure=self.on_failure)
        return ParentEdge(job=edge, on_failure=self.on_failure)


AnyParent: TypeAlias = int | str | ParentEdge | Dependable


def edge_of(parent: AnyParent) -> int | str | ParentEdge:
    if isinstance(parent, (int, str, ParentEdge)):
        return parent
    if isinstance(cast("object", parent), Dependable):
        return parent.as_parent()
    raise InvalidInput(
        f"depends_on takes handles, ids and keys of jobs, not {shown(cast('object', parent))}", field="depends_on"
    )


def edges_of(parents: Sequence[AnyParent]) -> list[int | str | ParentEdge]:
    """A key alone would be taken apart into its letters."""
    if isinstance(parents, str) or not isinstance(cast("object", parents), Iterable):
        raise InvalidInput(
            f"depends_on must be a list of handles, ids and keys of jobs, not {shown(parents)}", field="depends_on"
        )
    return [edge_of(parent) for parent in parents]
