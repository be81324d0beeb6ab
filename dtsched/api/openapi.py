"""The OpenAPI 3.1 document, made of what the routes declare beside their handlers (dtsched.api.documentation).

The framework would derive it from the handlers' signatures, which say nothing of what is decided here: bodies and
queries are read by the handlers themselves, and errors leave as our problem documents. msgspec makes the schemas out of
the same structs that the answers are made of.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import groupby
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from dtsched.api.documentation import OF_THE_DATABASE, Answer, Operation, operation_of
from dtsched.api.problems import (
    CONNECTIONS,
    FORBIDDEN,
    HEAD_TOO_LARGE,
    INTERNAL,
    INVALID,
    MALFORMED,
    MEDIA,
    MEDIA_TYPE,
    NOT_FOUND,
    QUEUE_FORBIDDEN,
    RATE_LIMITED,
    SCOPE_MISSING,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    Kind,
    Problem,
    Refused,
    document,
)

Document = dict[str, Any]

ABOUT = """\
Submit jobs to PostgreSQL and see what becomes of them.

Every answer that says no is a problem document of RFC 9457: look at its `type`, which never changes and is the address
of a page that explains it, and at its `hint`. Where the server limits the rate of requests, answers carry RateLimit and
RateLimit-Policy.
An address refuses the methods it does not have with 405 and an Allow header; what is read by GET may be read by HEAD.
A request may bring an X-Request-Id of its own, under which the log of the server has it."""

TAGS = {
    "jobs": "What is to be done, and what became of it.",
    "operations": "What is done to many jobs at once.",
    "events": "What jobs wait for.",
    "queues": "Where jobs wait, in figures, and what holds them back.",
    "workflows": "Jobs that belong together, and how far they are.",
    "schedules": "What is submitted at fixed times.",
    "workers": "Who runs them.",
    "server": "This server itself.",
}

HEADERS: dict[str, tuple[str, Any]] = {
    "ETag": (
        "The version of it, for If-Match and If-None-Match.",
        Annotated[str, Meta(pattern='^"[0-9a-f]{32}"$', examples=['"0123456789abcdef0123456789abcdef"'])],
    ),
    "Idempotency-Replayed": (
        "This is the answer that the first request with the Idempotency-Key was given.",
        Literal["true"],
    ),
    "Link": ("The address of the next page, as rel=next.", str),
    "Location": ("Where to find it.", str),
    "Preference-Applied": ("What was heeded of the request's Prefer.", str),
    "RateLimit": (
        'How many requests are left, and in how many seconds all are: "requests";r=99;t=1. Only with a rate.',
        str,
    ),
    "RateLimit-Policy": ('How many requests may be sent in how many seconds: "requests";q=100;w=1.', str),
    "Retry-After": ("Ask again after this many seconds.", Annotated[int, Meta(ge=1)]),
    "WWW-Authenticate": ("How to say who one is.", Annotated[str, Meta(pattern="^Bearer ")]),
    "X-Request-Id": (
        "The id of the request: its own, or one made for it.",
        Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]{1,128}$")],
    ),
}

PARAMETERS: dict[str, tuple[str, Any]] = {
    "worker_id": ("The id of a worker.", Annotated[UUID, Meta(examples=["0f0e0d0c-0b0a-4909-8807-060504030201"])]),
    "lease_id": ("The id of a lease.", Annotated[int, Meta(ge=1, le=2**63 - 1, examples=[1])]),
    "job_id": ("The id of a job.", Annotated[int, Meta(ge=1, le=2**63 - 1, examples=[1])]),
    "operation_id": ("The id of an operation.", Annotated[int, Meta(ge=1, le=2**63 - 1, examples=[1])]),
    "workflow_id": ("The id of a workflow.", Annotated[int, Meta(ge=1, le=2**63 - 1, examples=[1])]),
    "job_key": (
        "The key of a job, percent-encoded.",
        Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}$", examples=["order-42"])],
    ),
    "key": (
        "A limit key, percent-encoded.",
        Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,255}$", examples=["tenant-7"])],
    ),
    "problem": (
        "The name of a problem: the last part of its type.",
        Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]{1,128}$", examples=["not-found"])],
    ),
    "name": (
        "The name of a queue or a schedule.",
        Annotated[str, Meta(pattern="^[A-Za-z0-9._:-]{1,128}$", examples=["default"])],
    ),
}
"""Those in addresses."""

SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "dts_<id>_<secret>",
    "description": "A key that `dtsched key create` has made. As long as none was ever made, everybody on the server's "
    "own machine may do everything. What stands beside it is the scope that is needed; admin includes all of them, "
    "operate and read-args include read.",
}

_SOMETIMES = {"Idempotency-Replayed", "Link", "Preference-Applied", "RateLimit", "RateLimit-Policy"}
_OF_ALL = (MALFORMED, FORBIDDEN, TOO_SLOW, HEAD_TOO_LARGE, INTERNAL, CONNECTIONS)
_OF_BODIES = (TOO_LARGE, MEDIA, INVALID)


_CONVERTER = re.compile(r":[a-z]+}")


class Route(NamedTuple):
    path: str
    method: str
    handler: HTTPRouteHandler
    told: Operation


def describe(handlers: Iterable[HTTPRouteHandler]) -> Document:
    """ValueError for a handler that has no documentation."""
    tags = list(TAGS)
    routes = sorted(map(_route, handlers), key=lambda route: tags.index(route.told.tag))
    return _Description().document(routes)


def _route(handler: HTTPRouteHandler) -> Route:
    told = operation_of(handler.opt or {})
    if told is None:
        raise ValueError(f"{handler.fn.__name__} has no documentation: give it opt=documented(…)")
    (path,), (method,) = handler.paths, handler.http_methods
    return Route(_CONVERTER.sub("}", path), method, handler, told)


class _Description:
    """Collects the components while the paths are written."""

    def __init__(self) -> None:
        self._schemas: Document = {}
        self._responses: Document = {}

    def document(self, routes: Iterable[Route]) -> Document:
        paths = self._paths(routes)
        headers = {name: self._header(name) for name in HEADERS}
        self._schema(Problem)
        return {
            "openapi": "3.1.0",
            "info": {"title": "dtsched", "version": version("dtsched"), "description": ABOUT},
            "tags": [{"name": name, "description": said} for name, said in TAGS.items()],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "responses": dict(sorted(self._responses.items())),
                "headers": headers,
                "securitySchemes": {"key": SECURITY},
            },
        }

    def _paths(self, routes: Iterable[Route]) -> Document:
        paths: Document = {}
        for route in routes:
            paths.setdefault(route.path, {})[route.method.lower()] = self._operation(route)
        return paths

    def _operation(self, route: Route) -> Document:
        told = route.told
        described: Document = {
            "tags": [told.tag],
            "operationId": route.handler.fn.__name__,
            "summary": route.handler.summary,
            "description": inspect.getdoc(route.handler.fn),
            "parameters": [*self._in_path(route.path), *self._in_query(told.query), *self._in_headers(told.headers)],
            "requestBody": self._request_body(told.body),
            "security": [{"key": [told.access.scope]}] if told.access.scope else [],
            "responses": {
                **{str(status): self._response(status, answer) for status, answer in told.answers.items()},
                **self._problems(route),
            },
        }
        return {name: value for name, value in described.items() if value}

    def _in_path(self, path: str) -> Iterator[Document]:
        for part in path.split("/"):
            if part.startswith("{"):
                name = part.strip("{}")
                said, kind = PARAMETERS[name]
                yield self._parameter(name, "path", {"description": said, **self._schema(kind)}, required=True)

    def _in_query(self, query: type[Struct] | None) -> Iterator[Document]:
        for field in msgspec.structs.fields(query) if query else ():
            yield self._parameter(
                field.encode_name, "query", self._schema(field.type), required=field.required, default=field.default
            )

    def _in_headers(self, headers: Mapping[str, Any]) -> Iterator[Document]:
        for name, kind in headers.items():
            yield self._parameter(name, "header", self._schema(kind), required=False)

    def _parameter(
        self, name: str, place: str, schema: Document, *, required: bool, default: object = None
    ) -> Document:
        schema = _without_null(schema)
        described = {"name": name, "in": place, "required": required}
        if said := schema.pop("description", None):
            described["description"] = said
        if default is not None and default is not msgspec.NODEFAULT:
            schema["default"] = default
        return {**described, "schema": schema}

    def _request_body(self, bodies: Mapping[str, Any]) -> Document | None:
        content = {media_type: {"schema": self._schema(kind)} for media_type, kind in bodies.items()}
        return {"required": True, "content": content} if content else None

    def _response(self, status: int, answer: Answer) -> Document:
        described: Document = {
            "description": _meaning(status, answer.body),
            "headers": {name: _reference("headers", name) for name in (*answer.headers, "X-Request-Id")},
        }
        if answer.body is not None:
            bodies = ((answer.media_type, answer.body), *answer.also)
            described["content"] = {media_type: {"schema": self._schema(body)} for media_type, body in bodies}
        return described

    def _problems(self, route: Route) -> Document:
        kinds = sorted(set(_kinds(route)), key=lambda kind: (kind.status, kind.name))
        return {
            str(int(status)): self._problem(list(these))
            for status, these in groupby(kinds, key=lambda kind: kind.status)
        }

    def _problem(self, kinds: Sequence[Kind]) -> Document:
        """Those of one status, in one response that routes share."""
        name = "-or-".join(kind.name for kind in kinds)
        retry = ["Retry-After"] if kinds[0].retry_after_seconds else []
        challenge = ["WWW-Authenticate"] if UNAUTHORIZED in kinds else []
        retry += ["RateLimit", "RateLimit-Policy"] if kinds[0] is RATE_LIMITED else []
        types = [kind.type for kind in kinds]
        narrowed = {"properties": {"type": {"enum": types}, "status": {"const": int(kinds[0].status)}}}
        examples = {kind.name: {"value": document(Refused(kind, f"{kind.title}."), "a1b2c3")} for kind in kinds}
        self._responses[name] = {
            "description": "; ".join(kind.title for kind in kinds),
            "headers": {name: _reference("headers", name) for name in (*retry, *challenge, "X-Request-Id")},
            "content": {
                MEDIA_TYPE: {
                    "schema": {"allOf": [_reference("schemas", "Problem"), narrowed]},
                    "examples": msgspec.to_builtins(examples),
                }
            },
        }
        return _reference("responses", name)

    def _header(self, name: str) -> Document:
        said, kind = HEADERS[name]
        return {"description": said, "required": name not in _SOMETIMES, "schema": self._schema(kind)}

    def _schema(self, kind: Any) -> Document:
        if get_origin(kind) in (Union, UnionType):  # of structs without tags, which msgspec does not decode
            return {"anyOf": [self._schema(option) for option in get_args(kind)]}
        (schema,), components = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
        self._schemas |= components
        return schema


def _kinds(route: Route) -> Iterator[Kind]:
    """All that the route may refuse a request with."""
    told = route.told
    yield from (*_OF_ALL, *told.problems)
    if told.access.scope is not None:
        yield from (UNAUTHORIZED, SCOPE_MISSING, QUEUE_FORBIDDEN, RATE_LIMITED, *OF_THE_DATABASE)
    if "{" in route.path:
        yield NOT_FOUND
    if told.body:
        yield from _OF_BODIES
    if "database" in inspect.signature(route.handler.fn).parameters:
        yield from OF_THE_DATABASE


def _without_null(schema: Document) -> Document:
    """What stands in an address or a header is left out, but never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if not options:
        return {**schema}
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _meaning(status: int, body: Any) -> str:
    match status:
        case 201:
            return "Made."
        case 202:
            return "Not yet."
        case 204:
            return "Done."
        case 304:
            return "It still is that version."
        case _:
            return "Done." if body is None else "Here it is."


def _reference(kind: str, name: str) -> Document:
    return {"$ref": f"#/components/{kind}/{name}"}
