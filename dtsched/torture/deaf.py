"""The app of a run, for workers that have a bug: a listener that has lost its connection opens no other one. See
mutants.py; nothing else imports this."""

import asyncio

from dtsched.listener import Listener
from dtsched.torture.app import app

__all__ = ["app"]

_LOOK_SECONDS = 0.02

_listen = Listener.run


async def listen_once(self: Listener) -> None:
    listening = asyncio.create_task(_listen(self), name="torture-listening-once")
    try:
        while self.generation == 0 or (self.connected and self.generation == 1):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    await asyncio.Event().wait()


Listener.run = listen_once
