"""An app with schedules, for workers that run as processes."""

from __future__ import annotations

from dtsched import App

app = App()

EVERY_SECOND = [f"second-{number}" for number in range(4)]


@app.task
async def note() -> None: ...


for name in EVERY_SECOND:
    app.schedule("* * * * * *", name=name, catchup="all")(note)
