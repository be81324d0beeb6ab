"""Puts the API together: the front door, the routes, and how errors leave."""

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import cast

from litestar import Litestar, Response
from litestar.di import Provide
from litestar.exceptions import MethodNotAllowedException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from dtsched.api.database import Database, Questions
from dtsched.api.front_door import FrontDoor, request_id_of
from dtsched.api.health import livez, readyz
from dtsched.api.jobs import cancel_job, get_job, get_result, list_jobs, submit_job
from dtsched.api.problems import INTERNAL, MEDIA_TYPE, UNREACHABLE, Problem, document, headers, refusal
from dtsched.api.requests import ApiRequest
from dtsched.client import Client
from dtsched.settings import Settings

_log = logging.getLogger("dtsched.api")


class Api(Litestar):
    """Litestar's own middleware does not see requests that no route takes; the front door has to."""

    front_door: FrontDoor

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope["type"] == "http":
            await self.front_door(scope, cast("Receive", receive), cast("Send", send))
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, *, hosts: Collection[str] = ()) -> Litestar:
    """`hosts` are the names, besides those of loopback, by which requests may call this server."""
    questions = Questions(Client(settings.require_dsn(), role="api"))

    @asynccontextmanager
    async def connected(_: Litestar) -> AsyncGenerator[None]:
        await questions.open()
        try:
            yield
        finally:
            await questions.close()

    def database() -> Database:
        return Database(questions)

    app = Api(
        route_handlers=[livez, readyz, submit_job, list_jobs, get_job, get_result, cancel_job],
        dependencies={"database": Provide(database, sync_to_thread=False)},
        lifespan=[connected],
        exception_handlers={Exception: _answer},
        openapi_config=OpenAPIConfig(
            title="dtsched",
            version=version("dtsched"),
            path="/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],  # no documentation page: they load scripts from a CDN
        ),
        logging_config=None,
    )
    app.front_door = FrontDoor(super(Api, app).__call__, hosts=hosts)
    return app


def _answer(request: ApiRequest, error: Exception) -> Response[Problem]:
    refused = refusal(error)
    allowed = (error.headers or {}) if isinstance(error, MethodNotAllowedException) else {}
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
