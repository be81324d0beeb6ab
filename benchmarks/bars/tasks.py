"""What the workers of the bars do."""

import os
import random

from dtsched import App, Retry

QUEUE = "bars"
MANY = {"text": "x" * 2000}
"""Args of 2 kB."""

app = App()


@app.task(queue=QUEUE)
async def noop() -> None: ...


@app.task(queue=QUEUE)
async def answer(text: str) -> dict[str, object]:
    """Returns a result; one attempt in a hundred is made again."""
    if random.random() < 0.01:
        raise Retry(after=0.0)
    return {"length": len(text), "process": os.getpid()}


@app.task(queue=QUEUE)
async def falter() -> None:
    if random.random() < 0.01:
        raise Retry(after=0.5)
