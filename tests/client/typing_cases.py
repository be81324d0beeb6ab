"""What a type checker says about the client: pyright runs over this file, nothing imports it. Each ignore names the
rule that has to complain about a wrong call: pyright is told to report an ignore that nothing needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_type

import psycopg

from dtsched import App, Context, JobHandle, Options, Refusal, Retry

app = App()


@dataclass
class Address:
    street: str


@app.task
async def send(to: str, subject: str = "", *, copies: int = 1) -> int:
    return copies


@app.task(queue="mail", retry=Retry(5, backoff="exponential"), timeout="2m")
async def with_context(ctx: Context, address: Address) -> list[str]:
    return [address.street]


@app.task
def plain(at: datetime) -> str | None:
    return None


@app.task(priority=9)
def plain_with_context(ctx: Context) -> None: ...


@app.task(executor="process")
def in_a_process(ctx: Context, size: int) -> bytes:
    return bytes(size)


async def charge(amount: int, currency: str = "EUR") -> Address:
    return Address(currency)


def count(*, start: int = 0) -> int:
    return start


async def steps(ctx: Context, connection: psycopg.AsyncConnection, synchronous: psycopg.Connection) -> None:
    assert_type(await ctx.step("charge", charge, 5), Address)
    assert_type(await ctx.step("charge:1", charge, 5, "USD", connection=connection), Address)
    assert_type(await ctx.step("count", count), int)
    assert_type(ctx.step_sync("count", count, connection=synchronous), int)
    assert_type((await ctx.emit("paid:42", {"amount": 5})).woken, int)
    await ctx.step("c", charge, "5")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]: an int


async def right_calls(connection: psycopg.AsyncConnection, synchronous: psycopg.Connection, at: datetime) -> None:
    assert_type(await send.submit("a", "b", copies=2), JobHandle[int])
    assert_type(await (await send.submit("a")).result(timeout=30), int)
    assert_type(await with_context.submit(Address("b")), JobHandle[list[str]])
    assert_type(await plain.submit(at), JobHandle[str | None])
    assert_type(plain.submit_sync(at=at).result_sync(), str | None)
    assert_type(plain_with_context.submit_sync(), JobHandle[None])
    assert_type(in_a_process.submit_sync(5), JobHandle[bytes])
    assert_type(await send.options(delay="10m", key="order-42", at=at).on(connection).submit("a"), JobHandle[int])
    assert_type(send.on(synchronous).submit_sync("a"), JobHandle[int])
    parent = await send.submit("a")
    assert_type(await plain.options(depends_on=[parent, 5]).submit(at), JobHandle[str | None])
    assert_type(await send.submit_many([{"to": "a"}, ({"to": "b"}, Options(priority=9))]), list[JobHandle[int]])
    assert_type(await send.submit_many([{"to": "a"}], partial=True), list[JobHandle[int] | Refusal])
    assert_type(await app.submit("send", {"to": "a"}, queue="mail"), JobHandle[Any])


async def wrong_calls(synchronous: psycopg.Connection, at: datetime) -> None:
    await send.submit()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]: an argument is missing
    await send.submit("a", "b", 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]: copies is keyword-only
    await send.submit("a", copy=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]: there is no argument copy
    await send.submit(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: to is a str
    await with_context.submit("b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: an Address is wanted
    await with_context.submit(Context, Address("b"))  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]: the context is passed by the worker
    plain.submit_sync("2030-01-31")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: a datetime is wanted
    send.options(prioritty=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]: there is no such option
    send.options(priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: priority is an int
    send.options(depends_on=[at])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]: parents are handles or ids
    await app.submit("send", [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: args go by name
    await app.submit("send", {}, delya=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]: there is no such option
    send.on("postgresql://")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: a connection is wanted
    code: str = await (await send.submit("a")).result()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]: the result is an int
    print(code)
    app.task(executor="fork")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]: async, thread or process
    app.task(priority="high")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]: priority is an int
    Retry(5, backoff="hopeful")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]: there is no such backoff
