"""Reads rows of the tables into structs, for what no function of the schema answers: verdicts and measurements."""

from collections.abc import Sequence
from typing import LiteralString, TypeVar

import msgspec

from dtsched.connections import Connection, translated

S = TypeVar("S", bound=msgspec.Struct)


async def read(connection: Connection, kind: type[S], query: LiteralString, values: Sequence[object] = ()) -> list[S]:
    """Rows by the names of their columns. jsonb arrives undecoded, for a field of type bytes.

    Without values a percent sign is one; psycopg takes it for a placeholder as soon as there are any.
    """
    with translated():
        cursor = await connection.execute(query, values or None)
        rows = await cursor.fetchall()
    names = [column.name for column in cursor.description or ()]
    return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows]


async def read_one(connection: Connection, kind: type[S], query: LiteralString, values: Sequence[object] = ()) -> S:
    (row,) = await read(connection, kind, query, values)
    return row


async def read_ids(connection: Connection, query: LiteralString, values: Sequence[object] = ()) -> list[int]:
    with translated():
        cursor = await connection.execute(query, values or None)
        return [row[0] for row in await cursor.fetchall()]
