"""Jobs that differ by their args alone, as those of most large batches do: told as one job and a list of args."""

from collections.abc import Sequence
from typing import Any, overload

import msgspec

from dtsched.jobs import NewJob, check_all, joined


class Alike(Sequence[NewJob]):
    """`job` is one that check() has passed, without args, a key or parents; `args` are those of each, as JSON, and
    checked too. Whoever looks at one of them sees a job like any other."""

    def __init__(self, job: NewJob, args: Sequence[bytes]) -> None:
        self.job = job
        self.args = args

    def __len__(self) -> int:
        return len(self.args)

    @overload
    def __getitem__(self, index: int) -> NewJob: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[NewJob]: ...
    def __getitem__(self, index: int | slice) -> NewJob | Sequence[NewJob]:
        if isinstance(index, slice):
            return Alike(self.job, self.args[index])
        args: dict[str, Any] = msgspec.json.decode(self.args[index])
        return msgspec.structs.replace(self.job, args=args)

    def encode(self) -> tuple[str, str]:
        """The job and the array of args that dtsched.submit_alike() takes."""
        job = msgspec.to_builtins(self.job)
        job.pop("args", None)
        return msgspec.json.encode(job).decode(), joined(self.args).decode()


def check_batch(jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    """check_all(), of those that have not been checked."""
    return jobs if isinstance(jobs, Alike) else check_all(jobs)


def can_be_alike(job: NewJob) -> bool:
    """Whether it has nothing that each job has for itself."""
    return job.key is job.key_for is job.on_conflict is job.depends_on is job.on_parent_failure is None
