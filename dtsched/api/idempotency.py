"""Idempotency-Key: a request that is sent again gets the answer of the first one, and nothing is done twice."""

import hashlib
import re
from typing import Annotated

from msgspec import Meta

from dtsched.api.callers import caller_of
from dtsched.api.front_door import header_lines
from dtsched.api.problems import MALFORMED, Refused
from dtsched.api.requests import ApiRequest
from dtsched.batches import Request

HEADER = "idempotency-key"

IdempotencyKey = Annotated[
    str,
    Meta(
        pattern="^[!-~]{1,255}$",
        description="A name for this request, new for each: sent again within a day, it gets the first answer.",
        examples=["7f9c24e8-3b12-4fef-91b5-23c5d1c5b8a1"],
    ),
]

_KEY = re.compile("[!-~]{1,255}")


def request_of(request: ApiRequest, body: bytes) -> Request | None:
    """None without the header. Two callers do not know of each other's keys."""
    given = header_lines(request.scope, HEADER)
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise Refused(MALFORMED, "the Idempotency-Key must be 1 to 255 visible ASCII characters, and one", field=HEADER)
    query = request.scope["query_string"]
    said = f"{request.scope['method']} {request.scope['path']}?".encode() + query + b"\n" + body
    return Request(caller_of(request).name or "", given[0], hashlib.sha256(said).digest())


def replay(replayed: bool) -> dict[str, str]:
    """The header that says so."""
    return {"idempotency-replayed": "true"} if replayed else {}
