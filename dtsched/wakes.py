"""What a worker that sleeps is told when jobs have come: the queue, and which entry of `ready` if it is a single one.
Anybody in the database may say anything, so it is a hint that the database is asked about."""

import re
from typing import NamedTuple

_NAMED = re.compile("([^ ]+) ([0-9]{1,2}) ([0-9]{1,19}) ([0-9]{1,18})", re.ASCII)


class Entry(NamedTuple):
    """The columns of an entry of `ready` that are its key, but for the queue."""

    priority: int
    xid: int
    job_id: int


class Wake(NamedTuple):
    queue: str
    entry: Entry | None


def parse_wake(payload: str) -> Wake:
    """Of the channel dtsched_wake: a queue's name, or "queue priority xid job"."""
    named = _NAMED.fullmatch(payload)
    if named is None:
        return Wake(payload, None)
    return Wake(named[1], Entry(*map(int, named.groups()[1:])))
