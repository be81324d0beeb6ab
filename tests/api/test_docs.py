"""The page at /docs: made by the server, with nothing from elsewhere, and whole under a strict policy."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from dtsched.api.application import HANDLERS
from dtsched.api.openapi import describe
from dtsched.api.page import render
from tests.api.conftest import Api

VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcset", "data")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


async def test_the_page_loads_nothing_from_elsewhere_and_all_it_names_is_there(empty_api: Api) -> None:
    answer = await empty_api.get("/docs")
    page = Page(answer.text)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.tags.isdisjoint({"script", "style", "base", "img", "iframe", "form", "object", "embed"})
    assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
    style = (await empty_api.get("/docs/style.css")).text
    assert "url(" not in style + answer.text
    assert "@import" not in style
    addresses = {url for url in page.urls if not url.startswith("#")}
    assert addresses == {"docs/style.css", "openapi.json"}
    for address in addresses:
        found = await empty_api.get(urljoin("/docs", address))
        assert found.status_code == 200


async def test_what_the_page_names_inside_itself_is_there_once(empty_api: Api) -> None:
    page = Page((await empty_api.get("/docs")).text)
    assert len(page.ids) == len(set(page.ids))
    assert {url[1:] for url in page.urls if url.startswith("#")} <= set(page.ids)
    assert {
        operation["operationId"] for path in describe(HANDLERS)["paths"].values() for operation in path.values()
    } <= {*page.ids}


async def test_the_policy_allows_the_style_sheet_and_nothing_else(empty_api: Api) -> None:
    policy = dict(
        part.strip().split(" ", 1)
        for part in (await empty_api.get("/docs")).headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'", "style-src": "'self'", "base-uri": "'none'", "form-action": "'none'",
        "frame-ancestors": "'none'",
    }  # fmt: skip
    style = await empty_api.get("/docs/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert style.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("prefix", ["http://host/", "http://host/queue/"])
async def test_below_any_prefix_the_addresses_stay_below_it(empty_api: Api, prefix: str) -> None:
    answer = await empty_api.get("/", follow_redirects=False)
    assert answer.status_code == 307
    docs = urljoin(prefix, answer.headers["location"])
    assert docs == f"{prefix}docs"
    for url in Page((await empty_api.get("/docs")).text).urls:
        assert not urlsplit(url).netloc
        assert urljoin(docs, url).startswith(prefix)


async def test_with_a_slash_at_its_end_the_page_is_sent_for_without_it(empty_api: Api) -> None:
    answer = await empty_api.get("/docs/", follow_redirects=False)
    assert (answer.status_code, urljoin("/queue/docs/", answer.headers["location"])) == (307, "/queue/docs")


def test_what_descriptions_hold_cannot_become_markup() -> None:
    nasty = "<script>alert(1)</script>\"'&"
    document = describe(HANDLERS)
    document["info"]["description"] = nasty
    operation = document["paths"]["/v1/jobs"]["post"]
    operation |= {"summary": nasty, "description": f"`{nasty}`"}
    document["components"]["schemas"]["Job"]["properties"]["id"] = {
        "type": "string",
        "pattern": nasty,
        "default": nasty,
    }
    assert Page(render(document)).tags.isdisjoint({"script"})


def test_each_operation_shows_a_command_that_can_be_pasted() -> None:
    shown = re.findall("<pre>(.*?)</pre>", render(describe(HANDLERS)), re.DOTALL)
    assert len(shown) == sum(len(methods) for methods in describe(HANDLERS)["paths"].values())
    assert any(
        command.startswith("curl -X POST &quot;$DTSCHED_URL/v1/jobs&quot;")
        and "&quot;task&quot;: &quot;echo&quot;" in command
        for command in shown
    )
    assert not [command for command in shown if "{" in command.split("$DTSCHED_URL")[1].split("&quot;")[0]]
