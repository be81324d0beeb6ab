"""Jobs that differ by their args alone, as those of most large batches do: told as one job and a list of args."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import msgspec

from dtsched.jobs import NewJob, check_all, joined


class Alike(Sequence[NewJob]):
    """`job` is one that check() has passed, without args, a key or parents. `parts` are JSON arrays of the args of some
    jobs each, which have been checked too, and which together are those of `count` jobs. Whoever looks at one of them
    sees a job like any other."""

    def __init__(self, job: NewJob, parts: Sequence[bytes], count: int) -> None:
        self.job = job
        self.parts = parts
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> NewJob: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NewJob]: ...
    def __getitem__(self, index: int | slice) -> NewJob | Sequence[NewJob]:
        if isinstance(index, slice):
            chosen = self._each[index]
            return Alike(self.job, [msgspec.json.encode(chosen)], len(chosen))
        args: dict[str, Any] = msgspec.json.decode(self._each[index])
        return msgspec.structs.replace(self.job, args=args)

    def of(self, job: NewJob) -> "Alike":
        """The same args under another job."""
        return Alike(job, self.parts, self._count)

    def encode(self) -> tuple[str, str]:
        """The job and the array of args that dtsched.submit_alike() takes."""
        job = msgspec.to_builtins(self.job)
        job.pop("args", None)
        return msgspec.json.encode(job).decode(), joined([part[1:-1] for part in self.parts]).decode()

    @cached_property
    def _each(self) -> list[msgspec.Raw]:
        return [args for part in self.parts for args in msgspec.json.decode(part, type=list[msgspec.Raw])]


def check_batch(jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    """check_all(), of those that have not been checked."""
    return jobs if isinstance(jobs, Alike) else check_all(jobs)


def can_be_alike(job: NewJob) -> bool:
    """Whether it has nothing that each job has for itself."""
    return job.key is job.key_for is job.on_conflict is job.depends_on is job.on_parent_failure is None
