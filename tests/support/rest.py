"""A server of the REST API in a thread of this process: started in a tenth of the time that a process takes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator

import uvicorn

from dtsched.api import create_app
from dtsched.api.server import listen
from dtsched.settings import Settings


@contextlib.contextmanager
def serving(dsn: str) -> Generator[str]:
    """Its URL."""
    with listen("127.0.0.1", 0, allow_anybody=False) as listening:
        app = create_app(Settings(dsn=dsn))
        config = uvicorn.Config(
            app, log_config=None, access_log=False, proxy_headers=False, ws="none", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve(sockets=[listening])

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="test-api")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            if loops:
                loops[0].call_soon_threadsafe(app.stopping.set)
            server.should_exit = True
            thread.join()
