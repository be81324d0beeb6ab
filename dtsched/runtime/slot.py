"""One place where handlers run, one after the other: a long-lived task, since a task for each job costs 3 to 7 µs.

Telling a handler to stop cancels this task, or for one in a thread sets its context's flag; one in a process is
killed. Its own CancelledError is told from ours by the attempt's stop reason. A handler that does not heed it is given
up on: its attempt ends, its slot stays taken.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import cast

from dtsched.answers import Outcome
from dtsched.context import Context
from dtsched.correlation import carry, carrying
from dtsched.errors import InvalidInput
from dtsched.runtime import outcomes
from dtsched.runtime.attempt import Attempt, StopReason
from dtsched.runtime.processes import HandlerProcess, ProcessDied
from dtsched.runtime.references import MARK, ReadResults, with_results
from dtsched.runtime.threads import HandlerThread, Raised
from dtsched.store import Claimed
from dtsched.tasks import TaskDefinition, TaskRegistry

_log = logging.getLogger("dtsched.slot")

GIVE_UP_SECONDS = 1.0
"""How long a handler may take to stop after it was told to."""

_YIELD_SECONDS = 0.005


class Slot:
    """`take` brings the next attempt or None when there is none; `on_end` is called once per attempt."""

    def __init__(
        self,
        name: str,
        registry: TaskRegistry,
        *,
        take: Callable[[], Attempt | None],
        sleep: Callable[[], Awaitable[None]],
        leave: Callable[[], None],
        make_context: Callable[[Claimed], Context],
        read_results: ReadResults,
        on_end: Callable[[Attempt, Outcome | None], None],
    ) -> None:
        self.name = name
        self.attempt: Attempt | None = None
        self._definition = registry.definition
        self._take = take
        self._sleep = sleep
        self._leave = leave
        self._make_context = make_context
        self._read_results = read_results
        self._on_end = on_end
        self._thread = HandlerThread(f"dtsched-{name}")
        self._process = HandlerProcess(registry)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._tells = False
        self._cancelling: Callable[[], int] = lambda: 0

    def start(self) -> None:
        self._tells = _log.isEnabledFor(logging.DEBUG)  # asked once: a job that does nothing takes 12 µs
        self._task = asyncio.create_task(self._work(), name=f"dtsched-{self.name}")
        self._cancelling = self._task.cancelling

    async def close(self, seconds: float) -> bool:
        """Whether the slot ended in that time; one whose handler does not heed its cancellation cannot."""
        self._closing = True
        self._thread.close()
        if self._task is None:
            return True
        self._task.cancel()
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        await self._process.close()
        return bool(done)

    def stop(self, attempt: Attempt, reason: StopReason) -> None:
        """Tells the handler of this attempt to stop, if it is still here. The first reason given is the one that
        counts."""
        if self.attempt is not attempt or attempt.ended or self._task is None:
            return
        if attempt.stop_reason is None:
            attempt.stop_reason = reason
            attempt.set_timer(asyncio.get_running_loop().call_later(GIVE_UP_SECONDS, self._give_up, attempt))
        elif reason != "shutdown":
            return  # each renewal names the cancelled anew
        if attempt.context is not None:
            attempt.context.cancel()
        match self._definition(attempt.claimed.task).executor:
            case "async":
                self._task.cancel()
            case "process":
                self._process.kill()
            case "thread":
                pass

    async def _work(self) -> None:
        """One after the other, 80,000 in a second: so there is one coroutine besides the handler for each, and few
        calls."""
        yielded_at = monotonic()
        while not self._closing:
            try:
                if (attempt := self._take()) is None:
                    carry(None)
                    await self._sleep()
                    yielded_at = monotonic()
                    continue
                self.attempt = attempt
                carry(attempt)
                if self._tells:
                    _log.debug("job %d (%s): attempt %d begins", *_names(attempt))
                try:
                    outcome = await self._outcome(attempt)
                finally:
                    self.attempt = None
                    if attempt.timer is not None:
                        attempt.set_timer(None)
                    self._leave()
                if self._cancelling():
                    await self._forget_cancellation()
                if not attempt.ended:
                    self._end(attempt, outcome)
                    outcome = None  # who sleeps keeps no result
                elif not self._closing:
                    _log.warning("job %d: its handler ended, after it was given up on", attempt.claimed.job_id)
                if monotonic() - yielded_at > _YIELD_SECONDS:
                    await asyncio.sleep(0)  # handlers that never wait would keep the claimer from its turn
                    yielded_at = monotonic()
            except asyncio.CancelledError:
                await self._forget_cancellation()

    async def _outcome(self, attempt: Attempt) -> Outcome | None:
        try:
            claimed = attempt.claimed
            definition = self._definition(claimed.task)
            if claimed.args.find(MARK) >= 0:  # "in" first takes the mark for a number, and drops an error for each job
                claimed = attempt.claimed = await with_results(claimed, self._read_results)
            attempt.rules = definition.rules
            if definition.executor == "process":
                return await self._in_process(attempt, definition)
            try:
                args, kwargs = definition.decode(claimed.args)
            except InvalidInput as error:  # the same args will never fit: no retries
                return outcomes.failed(attempt, "InvalidInput", str(error))
            if definition.takes_context:
                attempt.context = self._make_context(claimed)
                args = (attempt.context, *args)
            if claimed.timeout_seconds is not None or definition.timeout is not None:
                self._limit_time(attempt, definition)
            if definition.executor == "async":
                value = await cast("Awaitable[object]", definition.function(*args, **kwargs))
            else:
                value = await self._in_thread(partial(definition.function, *args, **kwargs))
            return outcomes.of_value(attempt, value, definition)
        except BaseException as error:  # SystemExit in a handler is its failure, not the worker's end
            return outcomes.of_raised(attempt, error)

    def _limit_time(self, attempt: Attempt, definition: TaskDefinition) -> None:
        timeout_seconds = attempt.claimed.timeout_seconds or definition.timeout
        if timeout_seconds is not None:
            attempt.timeout_seconds = timeout_seconds
            attempt.set_timer(asyncio.get_running_loop().call_later(timeout_seconds, self.stop, attempt, "timeout"))

    async def _in_thread(self, call: Callable[[], object]) -> object:
        value = await self._thread.run(call)
        if isinstance(value, Raised):
            raise value.error
        return value

    async def _in_process(self, attempt: Attempt, definition: TaskDefinition) -> Outcome | None:
        try:
            outcome = await self._call_process(attempt, definition)
        except ProcessDied as death:
            if attempt.stop_reason is None:
                return outcomes.of_death(attempt, str(death))
            return outcomes.of_stop(attempt)
        return outcomes.of_stop(attempt) if attempt.stop_reason == "timeout" else outcome

    async def _call_process(self, attempt: Attempt, definition: TaskDefinition) -> Outcome:
        await self._process.start()
        if attempt.stop_reason is not None:
            raise ProcessDied("it was told to stop before it began")
        self._limit_time(attempt, definition)
        context = self._make_context(attempt.claimed)
        return await self._process.call(attempt.claimed, context, max_result=definition.max_result)

    def _give_up(self, attempt: Attempt) -> None:
        if self.attempt is attempt and not attempt.ended:
            with carrying(attempt.log_fields()):
                _log.error(
                    "job %d: its handler does not stop (%s); slot %s stays taken until it ends",
                    attempt.claimed.job_id,
                    attempt.stop_reason,
                    self.name,
                )
                self._end(attempt, outcomes.of_stop(attempt))

    def _end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        attempt.ended = True
        if outcome is None or outcome.kind != "complete" or attempt.context is not None or self._tells:
            outcome = self._look_at(attempt, outcome)
        self._on_end(attempt, outcome)

    def _look_at(self, attempt: Attempt, outcome: Outcome | None) -> Outcome | None:
        """What comes of an outcome that is not the usual one, and what is to be said of it."""
        if outcome is not None and outcome.kind == "retry":
            outcome = outcomes.by_rules(outcome, attempt.rules)
        if attempt.context is not None and attempt.context.completing:
            outcome = outcomes.after_completion(outcome)
        if self._tells:
            end = "is handed back" if outcome is None else f"ends: {outcome.kind}"
            _log.debug("job %d (%s): attempt %d %s", *_names(attempt), end)
        if (
            outcome is not None
            and not outcome.completing
            and outcome.kind in ("retry", "fail")
            and outcome.error is not None
        ):
            job = attempt.claimed  # the message may hold what is in the args
            text = "job %d (%s): attempt %d of %d ended with %s, see dtsched.attempts"
            _log.warning(text, job.job_id, job.task, job.attempt, job.max_attempts, outcome.error.type)
        return outcome

    async def _forget_cancellation(self) -> None:
        """What was meant for one handler, or was its own doing, must not reach the next one."""
        while self._task is not None and self._task.cancelling():
            self._task.uncancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # a cancellation that no await has met yet is delivered at the next one


def _names(attempt: Attempt) -> tuple[int, str, int]:
    return attempt.claimed.job_id, attempt.claimed.task, attempt.claimed.attempt
