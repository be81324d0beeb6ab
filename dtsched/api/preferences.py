"""What a request prefers (RFC 7240): `Prefer: wait=30` has it answered when its job has ended, or after 30 seconds.

A preference that is malformed or unknown is passed over, as the RFC asks; of several, the first one counts.
"""

import re
from typing import Annotated

from msgspec import Meta

from dtsched.api.front_door import header_lines
from dtsched.api.requests import ApiRequest

LONGEST_WAIT_SECONDS = 60

Prefer = Annotated[
    str,
    Meta(
        description=f"wait=SECONDS: answer when the job has ended, or then; at most {LONGEST_WAIT_SECONDS}.",
        examples=["wait=30"],
    ),
]

PreferDrained = Annotated[
    str,
    Meta(
        description=f"wait=SECONDS: answer when none of its jobs runs, or then; at most {LONGEST_WAIT_SECONDS}.",
        examples=["wait=30"],
    ),
]

PreferOver = Annotated[
    str,
    Meta(
        description=f"wait=SECONDS: answer when the operation is over, or then; at most {LONGEST_WAIT_SECONDS}.",
        examples=["wait=30"],
    ),
]

# possessive, or a header of zeros or quotes would take long
_PREFERENCE = re.compile(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+"?+)++', re.DOTALL)
_WAIT = re.compile(r'\s*+wait\s*+=\s*+("?+)(?=[0-9])0*+(?P<seconds>[0-9]*+)\1\s*+(?:;.*+)?', re.IGNORECASE | re.DOTALL)


def wait_of(request: ApiRequest) -> int | None:
    """Seconds, or None."""
    given = ",".join(header_lines(request.scope, "prefer"))
    for preference in _PREFERENCE.findall(given):
        if found := _WAIT.fullmatch(preference):
            return min(int(found["seconds"][:3] or "0"), LONGEST_WAIT_SECONDS)
    return None


def applied(seconds: int | None) -> dict[str, str]:
    """The header that says so."""
    return {} if seconds is None else {"preference-applied": f"wait={seconds}"}


async def disconnected(request: ApiRequest) -> None:
    """Returns when whoever sent the request does not wait for the answer any more. Its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
