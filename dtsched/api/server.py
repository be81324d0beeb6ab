"""Serves the API with uvicorn, on loopback only as long as there are no API keys."""

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from dtsched.api.application import create_app
from dtsched.api.front_door import ANY_ADDRESS
from dtsched.errors import InvalidInput
from dtsched.settings import Settings

GRACE_SECONDS = 1
"""What requests under way are given after SIGTERM."""

_log = logging.getLogger("dtsched.api")


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Until SIGTERM or Ctrl-C. Port 0 is any. Raises InvalidInput for an address that it may not, or cannot, have."""
    listening = listen(host, port, allow_anybody=settings.allow_no_key)
    with listening:
        address, bound_port = listening.getsockname()[:2]
        app = create_app(settings, hosts=_names_of(host, address))
        shown = f"[{address}]" if ":" in address else address
        _log.info("listening on http://%s:%d", shown, bound_port)
        config = uvicorn.Config(
            app,
            log_config=None,  # logging is set up by whoever calls
            log_level="warning",
            access_log=False,  # the front door writes a line, with the id of the request
            server_header=False,
            proxy_headers=False,  # nobody in front of us is trusted to say who is asking
            ws="none",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        with _termination_is_success():
            _Server(config, app.stopping).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Lets go of those who wait for a job before it asks whether all requests are answered."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


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
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InvalidInput(f"there is no address {host!r} to listen on: {error}", field="host") from error
    if not allow_anybody and not ipaddress.ip_address(address[0]).is_loopback:
        raise InvalidInput(
            f"refused to listen on {host}: without API keys everybody who reaches it could run jobs; "
            "listen on 127.0.0.1, or set DTSCHED_ALLOW_NO_KEY=1 to serve beyond this machine all the same",
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
    return listening


def _names_of(host: str, address: str) -> set[str]:
    """The names by which this server may be called, besides those of loopback, which are always allowed."""
    if ipaddress.ip_address(address).is_unspecified:
        return {ANY_ADDRESS, socket.gethostname()}
    return {host, address}
