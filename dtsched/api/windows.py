"""`since` in a query: a time, or how long ago by the database's clock."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from dtsched.filters import moment
from dtsched.store import Store


def since(text: str) -> Callable[[Store], Awaitable[datetime]]:
    """Raises InvalidInput at once; the time is known when the store is asked."""
    given = moment("since", [text])

    async def known(store: Store) -> datetime:
        if isinstance(given, str):
            return datetime.fromisoformat(given)
        return await store.now() - timedelta(seconds=given["seconds_ago"])

    return known
