"""Workflows in Python: nodes are added, some take the results of others, and all is submitted at once."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from dtsched.app import JobHandle, Task
from dtsched.errors import InvalidInput
from dtsched.jobs import NewJob, ParentEdge, Submitted
from dtsched.overview import WorkflowRecord
from dtsched.parents import AnyParent, Parent, edge_of

if TYPE_CHECKING:
    from dtsched.app import App

R = TypeVar("R")

_POLL_SECONDS = 0.05
_SLOWEST_POLL_SECONDS = 2.0


class Node(Generic[R]):
    """A job of a workflow. As an argument of another node it stands for its result."""

    def __init__(self, task: Task[..., R], batch: "_Batch", entry: int) -> None:
        self._task = task
        self._batch = batch
        self._entry = entry

    @property
    def handle(self) -> JobHandle[R]:
        """InvalidInput until the workflow is submitted."""
        if self._batch.submitted is None:
            raise InvalidInput("this node is not submitted yet: leave the block of its workflow first")
        return self._task.handle_of(self._batch.submitted[self._entry - 1])

    @property
    def id(self) -> int:
        return self.handle.id

    async def result(self, timeout: float | None = None) -> R:
        """As JobHandle.result()."""
        return await self.handle.result(timeout)

    def as_parent(self) -> int:
        return self.id

    def edge_in(self, batch: "_Batch") -> int | ParentEdge:
        return ParentEdge(entry=self._entry) if batch is self._batch else self.id


class Workflow:
    """Made by app.workflow(name). What is added inside `async with` is submitted when the block ends without an error,
    all or none; entering the same workflow again adds more jobs to it."""

    def __init__(self, app: "App", name: str) -> None:
        self.name = name
        self._app = app
        self._id: int | None = None
        self._batch: _Batch | None = None

    @property
    def id(self) -> int:
        """InvalidInput until it is submitted."""
        if self._id is None:
            raise InvalidInput(f"the workflow {self.name} is not submitted yet: leave its block first")
        return self._id

    async def __aenter__(self) -> Self:
        self._batch = _Batch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        batch, self._batch = self._batch, None
        if kind is None and batch is not None:
            self._id, batch.submitted = await self._app.client.submit_workflow(self._id or self.name, batch.jobs)

    def add(self, task: Task[..., R], /, *args: Any, **kwargs: Any) -> Node[R]:
        """A job of the task. A node among the arguments, or a handle, is depended on, and its result is that argument:
        null, if it may fail (see Parent) and did. Options go with task.options(…), whose depends_on takes nodes too."""
        if self._batch is None:
            raise InvalidInput(f"add to the workflow {self.name} inside its `async with` block")
        return self._batch.add(task, args, kwargs)

    async def record(self) -> WorkflowRecord:
        return await self._app.client.workflow(self.id)

    async def state(self) -> str:
        """running, completed, failed or cancelled."""
        return (await self.record()).state

    async def wait(self, timeout: float | None = None) -> WorkflowRecord:
        """The workflow once all its jobs have ended, however. TimeoutError after `timeout` seconds."""
        pause = _POLL_SECONDS
        try:
            async with asyncio.timeout(timeout):
                while (found := await self.record()).state == "running":
                    await asyncio.sleep(pause)
                    pause = min(_SLOWEST_POLL_SECONDS, pause * 1.5)
                return found
        except TimeoutError as error:
            raise TimeoutError(f"workflow {self.id} is still running after {timeout:g} s") from error

    async def cancel(self) -> dict[int, str]:
        """What came of each unfinished job, as Client.cancel() says it."""
        return await self._app.client.cancel_workflow(self.id)

    async def retry(self) -> dict[int, str]:
        """Its failed and cancelled jobs run again; what came of each, as dtsched.retry() says it."""
        return await self._app.client.retry_workflow(self.id)


class _Batch:
    """What one block adds; `submitted` goes with `jobs` once it is."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self.submitted: Sequence[Submitted] | None = None

    def add(self, task: Task[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node[R]:
        edges = [self._edge(parent) for parent in task.parents]
        job = task.new_job(
            [self._argument(value, edges) for value in args],
            {name: self._argument(value, edges) for name, value in kwargs.items()},
            depends_on=edges,
        )
        self.jobs.append(job)
        return Node(task, self, len(self.jobs))

    def _argument(self, value: object, edges: list[int | str | ParentEdge]) -> object:
        """The value; for a node a reference to its place among the edges, where it is put unless it is there."""
        if not isinstance(value, (Node, JobHandle)):
            return value
        wanted = _named(self._edge(cast("Node[Any] | JobHandle[Any]", value)))
        places = [place for place, edge in enumerate(edges, start=1) if _named(edge) == wanted]
        if not places:
            edges.append(wanted)
        return {"$parent": places[0] if places else len(edges)}

    def _edge(self, parent: AnyParent) -> int | str | ParentEdge:
        if isinstance(parent, Parent):
            return parent.said_of(self._edge(parent.job))
        if isinstance(parent, Node):
            return cast("Node[Any]", parent).edge_in(self)
        return edge_of(parent)


def _named(edge: int | str | ParentEdge) -> ParentEdge:
    """The parent alone, without its policy."""
    return ParentEdge(job=edge.job, entry=edge.entry) if isinstance(edge, ParentEdge) else ParentEdge(job=edge)
