"""What the server shows of itself: the OpenAPI document, and the page made of it."""

from collections.abc import Callable
from functools import cached_property
from importlib.resources import files
from typing import Any

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from dtsched.api.documentation import Answer, documented
from dtsched.api.openapi import Document
from dtsched.api.page import render
from dtsched.api.requests import ApiRequest

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_HEADERS = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}


class Pages:
    """Written when they are first asked for: the document costs as much time as the rest of a server's start."""

    def __init__(self, describe: Callable[[], Document]) -> None:
        self._describe = describe

    @cached_property
    def _document(self) -> Document:
        return self._describe()

    @cached_property
    def openapi(self) -> bytes:
        return msgspec.json.encode(self._document)

    @cached_property
    def docs(self) -> str:
        return render(self._document)


class OpenApi(Struct):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, str]
    paths: dict[str, Any]


@get(
    "/",
    summary="Go to the page",
    opt=documented("server", None, {307: Answer(None, ["Location"])}),
    sync_to_thread=False,
)
def get_root() -> Response[bytes]:
    return _elsewhere("docs")


@get(
    "/docs",
    summary="Read this page",
    opt=documented("server", None, {200: Answer(str, media_type="text/html"), 307: Answer(None, ["Location"])}),
    sync_to_thread=False,
)
def get_docs(request: ApiRequest, pages: NamedDependency[Pages]) -> Response[str] | Response[bytes]:
    """The addresses in it are relative, so it can be served below any other: /docs/ leads here."""
    if request.scope["raw_path"].endswith(b"/"):
        return _elsewhere("../docs")
    return Response(pages.docs, media_type=MediaType.HTML, headers=PAGE_HEADERS)


@get(
    "/docs/style.css",
    summary="How the page looks",
    opt=documented("server", None, {200: Answer(str, media_type="text/css")}),
    sync_to_thread=False,
)
def get_style() -> Response[bytes]:
    return Response(files("dtsched.api").joinpath("static/docs.css").read_bytes(), media_type="text/css")


@get(
    "/openapi.json",
    summary="Get the description of this API",
    opt=documented("server", None, {200: OpenApi}),
    sync_to_thread=False,
)
def get_openapi(pages: NamedDependency[Pages]) -> Response[bytes]:
    """Also what `dtsched openapi` prints."""
    return Response(pages.openapi, media_type=MediaType.JSON)


def _elsewhere(relative: str) -> Response[bytes]:
    return Response(b"", status_code=307, media_type=MediaType.TEXT, headers={"location": relative})
