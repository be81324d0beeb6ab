"""ETag, If-Match and If-None-Match (RFC 9110): a strong ETag names one version of what an address answers."""

import re
from typing import Annotated

from msgspec import Meta

from dtsched.api.problems import MALFORMED, Refused
from dtsched.api.requests import ApiRequest

# possessive, or a header of blanks would take long
_ONE = r'[ \t]*+(?:W/)?+"[!#-~\x80-\xff]*+"[ \t]*+'
_TAGS = re.compile(f"{_ONE}(?:,{_ONE})*+")
_TAG = re.compile(r'(W/)?"([^"]*)"')

_SAID = _ONE.replace("+", "")
"""JSON Schema has no possessive ones."""

IfMatch = Annotated[
    str,
    Meta(
        pattern=rf"^([ \t]*\*[ \t]*|{_SAID}(?:,{_SAID})*)$",
        description="Change it only if it still is this version: the ETag of an answer, or several; * is any.",
        examples=['"0123456789abcdef0123456789abcdef"'],
    ),
]
IfNoneMatch = Annotated[
    str,
    Meta(
        description="Answer 304, without a body, if it still is this version: the ETag of an answer, or several.",
        examples=['"0123456789abcdef0123456789abcdef"'],
    ),
]


def etag(version: str) -> dict[str, str]:
    return {"etag": f'"{version}"'}


def expected(request: ApiRequest) -> list[str] | None:
    """The versions of which one has to be there, None: any. A weak ETag is none that a change can be sure of."""
    given = _given(request, "if-match")
    if given is None or given.strip() == "*":
        return None
    if not _TAGS.fullmatch(given):
        raise Refused(MALFORMED, 'If-Match must be *, or ETags like "0123abcd" in double quotes', field="If-Match")
    return [version for weak, version in _TAG.findall(given) if not weak]


def is_known(request: ApiRequest, version: str) -> bool:
    """Whoever asks has this version already."""
    given = _given(request, "if-none-match") or ""
    return given.strip() == "*" or any(version == known for _, known in _TAG.findall(given))


def _given(request: ApiRequest, name: str) -> str | None:
    lines = request.headers.getall(name, [])
    return ",".join(lines) if lines else None
