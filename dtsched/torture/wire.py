"""The runner's end of the proxy: starts it, tells it what to do and hears what it has done."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from dtsched.torture.faults.base import Flapping
from dtsched.torture.ways import Direction

SUBMITS = frozenset(
    {"submit", "submit_many", "submit_alike", "submit_partly", "submit_gathered", "submit_once", "create_workflow"}
    | {"INSERT", "COMMIT"}
)
FINISHES = frozenset({"work", "finish", "complete", "finish_lease"})
WRITES = (
    SUBMITS
    | FINISHES
    | {"UPDATE", "DELETE", "MERGE", "COPY"}
    | {"claim", "promote", "claim_leases", "release", "reconcile", "register_worker", "deregister_worker", "renew"}
    | {"register_http_worker", "deregister_http_worker", "heartbeat", "report", "report_lease", "rescue", "expire"}
    | {"fire", "declare_schedules", "record_step", "start_sleep", "await_event", "emit", "deliver_events"}
    | {"cancel", "retry", "run_now", "reschedule", "edit", "delete"}
)
"""Of the functions of the schema those that change something, and the commands that do."""


class ProxyWire:
    """The Wire of faults/base.py. `dsn` leads through the proxy, to where the DSN of open_wire() leads."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, server: str) -> None:
        self._process = process
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.dsn = make_conninfo(server, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def to(self, dsn: str) -> None:
        given = conninfo_to_dict(dsn)
        await self._tell("to", host=given.get("host", "127.0.0.1"), port=int(given.get("port") or 5432))

    async def silence(
        self,
        role: str = "",
        *,
        new_ones_too: bool = False,
        direction: Direction = "both",
        pid: int | None = None,
        by: str = "",
    ) -> int:
        return await self._tell("silence", role=role, new_ones_too=new_ones_too, direction=direction, pid=pid, by=by)

    async def refuse(self, *, by: str = "") -> None:
        await self._tell("refuse", by=by)

    async def cut(self, role: str = "", *, pid: int | None = None, by: str = "") -> int:
        return await self._tell("cut", role=role, pid=pid, by=by)

    async def slow(
        self,
        seconds: float,
        *,
        piece_bytes: int | None = None,
        bytes_per_second: float | None = None,
        role: str = "",
        pid: int | None = None,
        by: str = "",
    ) -> None:
        pace = {"seconds": seconds, "piece_bytes": piece_bytes, "bytes_per_second": bytes_per_second}
        await self._tell("slow", **pace, role=role, pid=pid, by=by)

    async def cut_on_commit(
        self,
        share: float,
        role: str = "",
        *,
        calls: Collection[str] = WRITES,
        pid: int | None = None,
        seed: int = 0,
        by: str = "",
    ) -> None:
        await self._tell("cut_on_commit", share=share, role=role, calls=sorted(calls), pid=pid, seed=seed, by=by)

    async def flap(self, on: float, off: float, *, how: Flapping = "cut", by: str = "") -> None:
        await self._tell("flap", on=on, off=off, how=how, by=by)

    async def heal(self, *, by: str | None = None) -> dict[str, int]:
        return await self._tell("heal", by=by)

    async def figures(self) -> dict[str, Any]:
        return await self._tell("figures")

    async def _tell(self, act: str, **how: object) -> Any:
        assert self._process.stdin is not None
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": act, **how}).encode() + b"\n")
        try:
            return await self._answers[number]
        finally:
            del self._answers[number]

    async def listen(self) -> None:
        """Until the proxy ends: then nothing is answered any more."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told = json.loads(line)
            answer = self._answers[told["id"]]
            if answer.done():
                continue
            if "error" in told:
                answer.set_exception(RuntimeError(f"the proxy could not do that: {told['error']}"))
            else:
                answer.set_result(told["answer"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the proxy has ended"))


@asynccontextmanager
async def open_wire(dsn: str) -> AsyncGenerator[ProxyWire]:
    """A proxy before the server of this DSN."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "dtsched.torture.proxy"), stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    wire = ProxyWire(process, json.loads(await process.stdout.readline())["port"], dsn)
    listening = asyncio.create_task(wire.listen())
    try:
        await wire.to(dsn)
        yield wire
    finally:
        process.stdin.close()
        await process.wait()
        await listening
