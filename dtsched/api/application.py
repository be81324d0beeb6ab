"""Puts the API together: the front door, the routes, and how errors leave."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import cast

from litestar import Litestar, MediaType, Response
from litestar.di import Provide
from litestar.exceptions import MethodNotAllowedException
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from dtsched.api.actions import cancel_job, delete_job, edit_job, reschedule_job, retry_job, run_job_now
from dtsched.api.audit import list_audit
from dtsched.api.authority import Authority
from dtsched.api.background import maintained
from dtsched.api.by_ids import act_on_jobs, list_ids
from dtsched.api.by_key import get_job_by_key
from dtsched.api.clock import get_now
from dtsched.api.database import Database, Questions, database_of, has_database, reader_of, set_database
from dtsched.api.errors import list_errors
from dtsched.api.events import emit_event, get_steps
from dtsched.api.front_door import FrontDoor, method_of, request_id_of
from dtsched.api.gathering import Gatherer
from dtsched.api.health import livez, readyz
from dtsched.api.http_workers import (
    claim_jobs,
    deregister_worker,
    finish_job,
    heartbeat,
    register_worker,
    report_progress,
)
from dtsched.api.jobs import get_attempts, get_job, get_result, get_why
from dtsched.api.limits import delete_limit, get_limit, list_limits, set_limit
from dtsched.api.lists import list_jobs
from dtsched.api.logs import get_logs
from dtsched.api.metrics import Figures, get_metrics
from dtsched.api.openapi import describe
from dtsched.api.operations import cancel_operation, create_operation, get_operation, list_operations
from dtsched.api.pages import Pages, get_docs, get_openapi, get_root, get_style
from dtsched.api.polls import Polls
from dtsched.api.problem_pages import get_problem, get_problems
from dtsched.api.problems import INTERNAL, MEDIA_TYPE, UNREACHABLE, Problem, document, headers, refusal
from dtsched.api.process_figures import ProcessFigures
from dtsched.api.queues import (
    drain_queue,
    get_drained,
    get_queue,
    get_stats,
    list_queues,
    pause_queue,
    resume_queue,
    set_queue,
)
from dtsched.api.rates import FAILED_AUTHENTICATIONS, RateLimit
from dtsched.api.recording import record_of
from dtsched.api.requests import ApiRequest
from dtsched.api.retention import get_past_retention, get_retention, prune, set_retention
from dtsched.api.schedules import (
    delete_schedule,
    get_next_times,
    get_schedule,
    list_schedules,
    patch_schedule,
    pause_schedule,
    put_schedule,
    resume_schedule,
    run_schedule,
)
from dtsched.api.submission import submit_batch, submit_job
from dtsched.api.tasks import get_task, list_tasks
from dtsched.api.ticks import get_ticks
from dtsched.api.traffic import Traffic
from dtsched.api.watch import Watching, watch_everything, watch_job, watch_queue
from dtsched.api.workers import get_worker, list_workers
from dtsched.api.workflows import cancel_workflow, create_workflow, get_workflow, list_workflows, retry_workflow
from dtsched.client import Client
from dtsched.maintenance.chores import Nudge
from dtsched.settings import Rate, Settings, parse_rate

_log = logging.getLogger("dtsched.api")

HANDLERS = [
    submit_job,
    submit_batch,
    list_jobs,
    get_job_by_key,
    get_job,
    get_result,
    get_attempts,
    get_logs,
    get_why,
    watch_job,
    get_steps,
    cancel_job,
    retry_job,
    run_job_now,
    reschedule_job,
    edit_job,
    delete_job,
    act_on_jobs,
    list_ids,
    list_errors,
    create_operation,
    list_operations,
    get_operation,
    cancel_operation,
    emit_event,
    watch_everything,
    list_queues,
    get_queue,
    watch_queue,
    pause_queue,
    resume_queue,
    drain_queue,
    get_drained,
    set_queue,
    list_limits,
    get_limit,
    set_limit,
    delete_limit,
    get_retention,
    set_retention,
    get_past_retention,
    prune,
    create_workflow,
    list_workflows,
    get_workflow,
    cancel_workflow,
    retry_workflow,
    list_schedules,
    get_schedule,
    put_schedule,
    patch_schedule,
    delete_schedule,
    run_schedule,
    pause_schedule,
    resume_schedule,
    get_next_times,
    get_ticks,
    list_workers,
    list_tasks,
    get_task,
    get_worker,
    register_worker,
    heartbeat,
    claim_jobs,
    finish_job,
    report_progress,
    deregister_worker,
    get_stats,
    get_now,
    list_audit,
    livez,
    readyz,
    get_metrics,
    get_openapi,
    get_docs,
    get_style,
    get_problems,
    get_problem,
    get_root,
]
"""In the order in which the documentation shows them, within their tags."""

PAGES = Pages(lambda: describe(HANDLERS))


class Api(Litestar):
    """Litestar's own middleware does not see requests that no route takes; the front door has to."""

    front_door: FrontDoor
    stopping: asyncio.Event

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope["type"] == "http":
            await self.front_door(scope, cast("Receive", receive), cast("Send", send))
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    hosts: Collection[str] = (),
    keyless: bool = True,
    wrong_keys: Rate = FAILED_AUTHENTICATIONS,
) -> Api:
    """`hosts` are the names, besides those of loopback, by which requests may call this server. `keyless` lets in who
    has no key, as long as none was ever made; `wrong_keys` is how many an address may send."""
    dsn = settings.require_dsn()
    questions = Questions(Client(dsn, role="api"), Gatherer(dsn), reader=reader_of(dsn))
    polls = Polls(questions, poll_seconds=settings.poll)
    watching = Watching(questions)
    traffic = Traffic()
    figures = Figures(questions, ProcessFigures(traffic, questions, watching).samples)
    nudge = Nudge()

    @asynccontextmanager
    async def connected(_: Litestar) -> AsyncGenerator[None]:
        await questions.open()
        stopping = asyncio.create_task(_stop(questions, watching), name="dtsched-stopping")
        try:
            async with maintained(settings) as everywhere:
                nudge.heard_by(everywhere.hasten)
                yield
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, watching.close(), polls.close(), return_exceptions=True)
            await questions.close()

    authority = Authority(questions, keyless=keyless, wrong_keys=wrong_keys)
    rate_limit = RateLimit(parse_rate(settings.api_rate))

    async def admit(request: ApiRequest) -> None:
        """Of all routes: none may have a before_request of its own."""
        handler = request.scope["route_handler"]
        await authority.guard(request, handler)
        await rate_limit(request, handler)
        if not has_database(request):
            set_database(request, Database(questions))

    def database(request: ApiRequest) -> Database:
        found = database_of(request.scope).recorded(record_of(request))
        return found.reading() if request.method == "GET" else found

    app = Api(
        route_handlers=HANDLERS,
        dependencies={
            "database": Provide(database, sync_to_thread=False),
            "figures": Provide(lambda: figures, sync_to_thread=False),
            "polls": Provide(lambda: polls, sync_to_thread=False),
            "lease_seconds": Provide(lambda: settings.lease, sync_to_thread=False),
            "watching": Provide(lambda: watching, sync_to_thread=False),
            "pages": Provide(lambda: PAGES, sync_to_thread=False),
            "nudge": Provide(lambda: nudge, sync_to_thread=False),
        },
        before_request=admit,  # not as guards: for each of them the framework makes a copy of the route
        lifespan=[connected],
        exception_handlers={Exception: _answer},
        openapi_config=None,  # the framework cannot know what the handlers read themselves; its pages load from a CDN
        logging_config=None,
    )
    app.stopping = questions.stopping
    app.front_door = FrontDoor(super(Api, app).__call__, traffic, hosts=hosts)
    return app


async def _stop(questions: Questions, watching: Watching) -> None:
    """Lets go of all who wait and watch as soon as the server is told to end."""
    await questions.stopping.wait()
    watching.streams.stop()
    questions.let_go()


def _answer(request: ApiRequest, error: Exception) -> Response[Problem] | Response[None]:
    allowed = _allowed(error)
    if allowed and method_of(request.scope) == "OPTIONS":
        return Response(None, status_code=204, media_type=MediaType.TEXT, headers=allowed)
    refused = refusal(error)
    request_id = request_id_of(request.scope)
    if refused.kind is INTERNAL:
        _log.error("request %s failed", request_id, exc_info=error)
    elif refused.kind is UNREACHABLE:
        _log.warning("request %s: %s", request_id, error)
    return Response(
        document(refused, request_id),
        status_code=refused.kind.status,
        media_type=MEDIA_TYPE,
        headers={**allowed, **headers(refused)},
    )


def _allowed(error: Exception) -> dict[str, str]:
    """The Allow header; where there is GET there is HEAD."""
    if not isinstance(error, MethodNotAllowedException):
        return {}
    named = {name.strip() for name in (error.headers or {}).get("allow", "").split(",")}
    return {"allow": ", ".join(sorted(named | {"HEAD"} if "GET" in named else named))}
