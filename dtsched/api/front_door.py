"""What every request passes before it is routed: who may call from where, and the id by which the log knows it.

A page in somebody's browser can reach a server on loopback. Two things give it away: the Host header, when a name was
rebound to 127.0.0.1 (a name that is not ours is refused), and the Origin and Sec-Fetch-Site headers of a write.
"""

import ipaddress
import logging
import random
import re
import time
from collections.abc import Collection
from functools import lru_cache
from typing import cast

import msgspec
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from dtsched.api.problems import FORBIDDEN, MEDIA_TYPE, Refused, document
from dtsched.api.traffic import Traffic
from dtsched.correlation import carrying

REQUEST_ID = "x-request-id"
EXTRA_HEADERS = "headers"
"""In the state of a request: headers that its answer gets, whatever it is."""

BODY_IS_THERE = "dtsched.body_is_there"
"""Among the extensions of a scope: all of the body has arrived, so nobody need look at the clock."""

ANY_ADDRESS = "*"
"""Among the hosts: every IP address, but no other names. An address cannot be rebound."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# HEAD: the server leaves out the body, and knows itself what it was. OPTIONS: the framework's own answer to it names
# the methods of the first handler of an address alone; to a method that no address has, it names them all.
_INSIDE = {"HEAD": "GET", "OPTIONS": "TRACE"}
_GOOD_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_GIVEN = "headers_given"  # in the state of a request, where none came twice
_PREFLIGHT = "access-control-request-method"
MARKS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
"""Headers of every answer."""

_log = logging.getLogger("dtsched.api")


class FrontDoor:
    def __init__(self, inside: ASGIApp, traffic: Traffic, *, hosts: Collection[str]) -> None:
        self._inside = inside
        self._traffic = traffic
        self._hosts = frozenset(host.lower() for host in hosts)
        self._is_ours = lru_cache(maxsize=128)(self._look_up)

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        lines = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        given = dict(lines)
        request_id = _request_id(given)
        scope["state"] = {
            "request_id": request_id,
            "method": scope["method"],
            _GIVEN: given if len(given) == len(lines) else None,
        }
        started = time.perf_counter()
        status = 0
        inner = scope

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                route = cast("dict[str, object]", inner).get("path_template") or "none"
                self._traffic.count(scope["method"], str(route), status, time.perf_counter() - started)
                more = cast("list[tuple[bytes, bytes]]", scope["state"].get(EXTRA_HEADERS, []))
                marked = [*message["headers"], *MARKS, *more, (REQUEST_ID.encode(), request_id.encode())]
                message = {**message, "headers": marked}
            await send(message)

        self._traffic.began()
        with carrying({"correlation_id": request_id}):
            try:
                refused = self._refuse(scope["method"], given)
                if refused is None:
                    inner = cast("HTTPScope", {**scope, "method": _INSIDE.get(scope["method"], scope["method"])})
                    await self._inside(inner, receive, send_marked)
                else:
                    await _send_problem(refused, request_id, send_marked)
            finally:
                self._traffic.ended()
            took_ms = (time.perf_counter() - started) * 1000
            _log.info("%s %s %d in %.1f ms", scope["method"], scope["path"], status, took_ms)

    def _refuse(self, method: str, given: dict[str, str]) -> Refused | None:
        host = given.get("host", "")
        if not self._is_ours(host):
            return Refused(FORBIDDEN, f"the Host {host[:100]!r} is not one of this server's")
        if _PREFLIGHT in given:
            return Refused(FORBIDDEN, "pages of other origins are not let in here")
        if method in _READS:
            return None
        origin = given.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            return Refused(FORBIDDEN, f"a page from the Origin {origin[:100]!r} may not change anything here")
        if given.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Refused(FORBIDDEN, "a page from another site may not change anything here")
        return None

    def _look_up(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]")
        if name == "localhost" or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or ANY_ADDRESS in self._hosts


def header_lines(scope: Scope, name: str) -> list[str]:
    """The values of a header, in the order in which they came; `name` in lower case. The framework's own way takes a
    twentieth of a submission."""
    given: dict[str, str] | None = scope["state"].get(_GIVEN)
    if given is not None:
        return [given[name]] if name in given else []
    wanted = name.encode("latin-1")
    return [value.decode("latin-1") for found, value in scope["headers"] if found.lower() == wanted]


def header(scope: Scope, name: str, default: str = "") -> str:
    """The first value of a header."""
    lines = header_lines(scope, name)
    return lines[0] if lines else default


def method_of(scope: Scope) -> str:
    """As it was sent: inside, HEAD and OPTIONS go by other names."""
    return str(scope["state"]["method"])


def request_id_of(scope: Scope) -> str:
    return str(scope["state"]["request_id"])


def _request_id(given: dict[str, str]) -> str:
    wished = given.get(REQUEST_ID, "")
    # unlike others, but no secret: uuid4() would ask the kernel
    return wished if _GOOD_REQUEST_ID.fullmatch(wished) else f"{random.getrandbits(128):032x}"


async def _send_problem(refused: Refused, request_id: str, send: Send) -> None:
    body = msgspec.json.encode(document(refused, request_id))
    head = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(refused.kind.status), "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
