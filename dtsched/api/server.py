"""Serves the API with uvicorn, on loopback only as long as there is no API key."""

import asyncio
import ctypes
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from litestar import Litestar

from dtsched.api.application import create_app
from dtsched.api.front_door import ANY_ADDRESS
from dtsched.api.protocol import IDLE_SECONDS, Connection, connections_of, most_connections
from dtsched.client import Client
from dtsched.connections import is_outage
from dtsched.errors import DtschedError, InvalidInput
from dtsched.settings import Settings

GRACE_SECONDS = 1
"""What requests under way are given after SIGTERM."""

_ASK_SECONDS = 3.0
_TICKS_A_LOOK = 3  # there are ten a second
_CONNECTIONS_A_TICK = 700  # to look at, or thousands that wait take a tenth of the time by being there

_NEW_OBJECTS_A_LOOK = 10_000

_M_ARENA_MAX = -8  # of malloc.h
_M_TRIM_THRESHOLD = -1
UNTAKEN_MS = 30_000
"""A caller that takes nothing of its answer for so long is hung up on."""

_log = logging.getLogger("dtsched.api")


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Until SIGTERM or Ctrl-C. Port 0 is any. Raises InvalidInput for an address that it may not, or cannot, have."""
    listening = listen(host, port, allow_anybody=settings.allow_no_key or asks_for_keys(host, port, settings))
    with listening:
        address, bound_port = listening.getsockname()[:2]
        keyless = settings.allow_no_key or ipaddress.ip_address(address).is_loopback
        app = create_app(settings, hosts=_names_of(host, address), keyless=keyless)
        shown = f"[{address}]" if ":" in address else address
        _log.info("listening on http://%s:%d", shown, bound_port)
        _keep_one_heap()
        spare_what_stays()
        with _termination_is_success():
            _Server(configuration(app), app.stopping).run(sockets=[listening])


def configuration(app: Litestar, **others: Any) -> uvicorn.Config:
    """How the API is served, whatever the app."""
    return uvicorn.Config(
        app,
        log_config=None,  # logging is set up by whoever calls
        log_level="warning",
        access_log=False,  # the front door writes a line, with the id of the request
        server_header=False,
        proxy_headers=False,  # nobody in front of us is trusted to say who is asking
        ws="none",
        http=_connection(),
        timeout_keep_alive=int(IDLE_SECONDS),
        timeout_graceful_shutdown=GRACE_SECONDS,
        **others,
    )


class _Server(uvicorn.Server):
    """Ends connections that take too long, and lets go of those who wait for a job before it asks whether all requests
    are answered."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def on_tick(self, counter: int) -> bool:
        every = max(_TICKS_A_LOOK, len(self.server_state.connections) // _CONNECTIONS_A_TICK)
        if counter % every == 0:
            now = asyncio.get_running_loop().time()
            for connection in connections_of(self.server_state):
                connection.look_at_the_clock(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        gc.disable()  # with thousands who wait, looking through all there is takes a second of the end
        self._stopping.set()
        await super().shutdown(sockets)


def spare_what_stays() -> None:
    """To be called when all is made that lasts as long as the server, a hundred thousand objects: the collector does
    not look at them any more, for 20 to 40 ms each time, in which nobody is answered. Nor does it look so often: what
    64 requests under way have made is more than the 700 objects after which it would, and none of it is garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_A_LOOK, *gc.get_threshold()[1:])


def _keep_one_heap() -> None:
    """With glibc, threads have heaps of their own, and a heap keeps several times what the largest body took: here
    threads only read a large body now and then, and what they needed is given back."""
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, 1024 * 1024)


def _connection() -> type[Connection]:
    class Limited(Connection):
        most_connections = most_connections()

    return Limited


@contextmanager
def _termination_is_success() -> Generator[None]:
    """uvicorn ends in order on SIGTERM, and then sends it again to whoever handled it before."""
    before = signal.signal(signal.SIGTERM, _nothing)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _nothing(_signal: int, _frame: FrameType | None) -> None: ...


def listen(host: str, port: int, *, allow_anybody: bool) -> socket.socket:
    family, address = _resolved(host, port)
    if not allow_anybody and not ipaddress.ip_address(address[0]).is_loopback:
        raise InvalidInput(
            f"refused to listen on {host}: there is no API key, so everybody who reaches it could run jobs; make one "
            "with `dtsched key create NAME --scope submit --scope read-args`, or listen on 127.0.0.1, or set "
            "DTSCHED_ALLOW_NO_KEY=1 to serve beyond this machine all the same",
            field="host",
        )
    try:
        listening = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another --port", field="port"
        ) from error
    # asyncio sets it only on what it bound itself, and accepted sockets inherit it; without it an answer takes 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # who takes nothing for so long, and keeps what was sent to him in memory
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
    return listening


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"there is no address {host!r} to listen on: {error}", field="host") from error
    return family, (str(address[0]), int(address[1]))


def asks_for_keys(host: str, port: int, settings: Settings) -> bool:
    """Whether everybody beyond this machine needs a key: because there are some, or because that cannot be told now,
    and then they need one too. Of loopback it is not asked."""
    if ipaddress.ip_address(_resolved(host, port)[1][0]).is_loopback:
        return False
    try:
        return asyncio.run(_has_keys(settings.require_dsn()))
    except Exception as error:
        if not isinstance(error, (DtschedError, TimeoutError)) and not is_outage(error):
            raise
        _log.warning("whether there are API keys cannot be told now: nobody is let in without one (%s)", error)
        return True


async def _has_keys(dsn: str) -> bool:
    async with asyncio.timeout(_ASK_SECONDS), Client(dsn, role="api", pool_size=1) as client:
        permit = await client.ask(lambda store: store.authorize(None, "read", keyless=True))
    return permit.verdict != "ok"


def _names_of(host: str, address: str) -> set[str]:
    """The names by which this server may be called, besides those of loopback, which are always allowed."""
    if ipaddress.ip_address(address).is_unspecified:
        return {ANY_ADDRESS, socket.gethostname()}
    return {host, address}
