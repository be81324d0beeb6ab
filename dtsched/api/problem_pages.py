"""GET /problems/NAME: where the `type` of every problem leads, for people, and for programs that ask for JSON."""

from html import escape

import msgspec
from litestar import MediaType, Response, get
from litestar.params import FromPath
from msgspec import Struct

from dtsched.api.documentation import JSON, Answer, documented
from dtsched.api.explanations import EXPLANATIONS, Explanation
from dtsched.api.page import marked
from dtsched.api.pages import PAGE_HEADERS
from dtsched.api.problems import Kind, kinds
from dtsched.api.requests import ApiRequest
from dtsched.checks import shown
from dtsched.errors import NotFound

_HTML = "text/html"
_NOTHING = Explanation("", "")


class ProblemKind(Struct, frozen=True):
    """What all problems of one `type` have in common. `again` says whether to send the request again."""

    type: str
    title: str
    status: int
    meaning: str
    remedy: str
    hint: str
    again: str


class ProblemKinds(Struct, frozen=True):
    """By name."""

    problems: list[ProblemKind]


@get(
    "/problems",
    summary="Read what can go wrong",
    opt=documented("server", None, {200: Answer(str, media_type=_HTML, also=[(JSON, ProblemKinds)])}),
    sync_to_thread=False,
)
def get_problems(request: ApiRequest) -> Response[str] | Response[bytes]:
    """A page for people; `Accept: application/json` gets the same as JSON."""
    told = [_told(kind) for kind in kinds()]
    if _wants_json(request):
        return _json(ProblemKinds(told))
    rows = "".join(
        f'<dt><a href="{_up(request)}{escape(one.type[1:])}"><code>{escape(one.type)}</code></a> {one.status}</dt>'
        f"<dd>{escape(one.title)}</dd>"
        for one in told
    )
    return _page(request, "Problems", f"<p>What an answer that says no may have as its type.</p><dl>{rows}</dl>")


@get(
    "/problems/{problem:str}",
    summary="Read what a problem means",
    opt=documented("server", None, {200: Answer(str, media_type=_HTML, also=[(JSON, ProblemKind)])}),
    sync_to_thread=False,
)
def get_problem(request: ApiRequest, problem: FromPath[str]) -> Response[str] | Response[bytes]:
    """Where the `type` of a problem leads: what it means, what to do, and whether to send the request again. A page for
    people; `Accept: application/json` gets the same as JSON."""
    kind = next((kind for kind in kinds() if kind.name == problem), None)
    if kind is None:
        raise NotFound(f"there is no problem {shown(problem)}: GET /problems lists them")
    told = _told(kind)
    if _wants_json(request):
        return _json(told)
    facts = [
        ("Type", f"<code>{escape(told.type)}</code>"),
        ("Status", str(told.status)),
        ("What it means", marked(told.meaning)),
        ("What to do", marked(f"{told.remedy} {told.hint}")),
        ("Send it again?", marked(told.again)),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{said}</dd>" for name, said in facts)
    back = f'<p><a href="{_up(request)}problems">All problems</a></p>'
    return _page(request, told.title, f'<dl class="wide">{rows}</dl>{back}')


def _told(kind: Kind) -> ProblemKind:
    said = EXPLANATIONS.get(kind.name, _NOTHING)
    return ProblemKind(kind.type, kind.title, int(kind.status), said.meaning, said.remedy, kind.hint, said.again)


def _wants_json(request: ApiRequest) -> bool:
    """The first of the two that is named; of wishes that are weighed the weights are not looked at."""
    wished = (part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(","))
    return next(filter(None, map(_is_json, wished)), "html") == "json"


def _is_json(media_type: str) -> str | None:
    if media_type == JSON or media_type.endswith("+json"):
        return "json"
    return "html" if media_type == _HTML else None


def _json(value: ProblemKind | ProblemKinds) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type=MediaType.JSON)


def _page(request: ApiRequest, title: str, content: str) -> Response[str]:
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - dtsched API</title>
<link rel="stylesheet" href="{_up(request)}docs/style.css">
</head>
<body class="plain">
<main>
<h1>{escape(title)}</h1>
{content}
</main>
</body>
</html>
"""
    return Response(text, media_type=MediaType.HTML, headers=PAGE_HEADERS)


def _up(request: ApiRequest) -> str:
    """From the page to the root of the server: its addresses are relative, so that it may be served below another."""
    return "../" * (request.scope["raw_path"].partition(b"?")[0].count(b"/") - 1)
