"""Puts the results of parents where a job's args refer to them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from dtsched.jobs import reference_of
from dtsched.store import Claimed

ReadResults: TypeAlias = Callable[[int, Sequence[int]], Awaitable[dict[int, bytes | None]]]

MARK = b'"$parent"'
"""Almost never in args, and told from the bytes. It may be a mistake, which costs a question."""
_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def with_results(claimed: Claimed, read_results: ReadResults) -> Claimed:
    """null for a parent that did not complete. A job without such a parent keeps its args as they are."""
    args = _read(claimed.args)
    places = {name: place for name, raw in args.items() if (place := _place(raw)) is not None}
    if not places:
        return claimed
    results = await read_results(claimed.job_id, sorted(set(places.values())))
    filled = {
        name: msgspec.Raw(results[places[name]] or b"null") if places.get(name) in results else raw
        for name, raw in args.items()
    }
    return replace(claimed, args=msgspec.json.encode(filled))


def _place(raw: msgspec.Raw) -> int | None:
    return reference_of(msgspec.json.decode(raw)) if MARK in bytes(raw) else None
