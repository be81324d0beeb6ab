"""Walks through the jobs that fit a filter, page by page; the schema looks at a bounded number of jobs for a page."""

from collections.abc import AsyncGenerator

from dtsched.filters import Filter
from dtsched.overview import JobPage
from dtsched.store import LARGEST_ID, Store

PAGE = 200  # what the schema gives at once


async def pages(store: Store, wanted: Filter, *, before: int | None, limit: int) -> AsyncGenerator[JobPage]:
    """Until so many jobs are found or there are no more; pages may be empty before that."""
    before = None if before is None else min(before, LARGEST_ID)
    while True:
        page = await store.list_jobs(wanted, before=before, limit=min(limit, PAGE))
        yield page
        limit -= len(page.jobs)
        before = page.next
        if limit == 0 or before is None:
            return


async def fitting_ids(store: Store, wanted: Filter, *, limit: int) -> AsyncGenerator[list[int]]:
    """Downwards by id, so that none is met twice, whatever is done to it in between."""
    before: int | None = None
    while True:
        page = await store.find_jobs(wanted, before=before, limit=limit)
        if page.ids:
            yield page.ids
        if page.next is None:
            return
        before = page.next
