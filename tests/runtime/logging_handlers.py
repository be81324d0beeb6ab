"""Tasks that log, fail and submit, for workers that run as processes and whose log is read."""

import logging

from dtsched import App, Cancel, Context, Retry

app = App()
_log = logging.getLogger("shop")


@app.task
async def say(text: str) -> str:
    _log.info("said")
    return text


@app.task
def say_in_thread(text: str) -> str:
    _log.info("said in a thread")
    return text


@app.task
async def submit_another(text: str) -> int:
    async with app:
        return (await say.submit(text)).id


@app.task
def submit_another_in_thread(text: str) -> int:
    return say_in_thread.submit_sync(text).id


@app.task
async def fail(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        raise ValueError(text) from error


@app.task(retry=Retry(1))
def fail_in_thread(text: str) -> None:
    raise RuntimeError(text)


@app.task
async def return_what_is_no_json(text: str) -> object:
    return {text: object()}


@app.task
async def give_up(ctx: Context, text: str) -> Cancel:
    return Cancel(text)


@app.task
async def take_a_number(n: int) -> int:
    return n
