"""Does nothing, quickly: what `dtsched bench` measures is the queue."""

from dtsched import App

app = App()


@app.task(queue="bench")
async def noop() -> None: ...
