"""Where the type of a problem leads: a page of the API's own for every kind there is."""

from __future__ import annotations

from html import unescape
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from dtsched.api.application import HANDLERS
from dtsched.api.explanations import EXPLANATIONS
from dtsched.api.openapi import describe
from dtsched.api.problems import Kind, kinds
from tests.api.conftest import Api
from tests.api.problems import problem


def test_every_kind_of_problem_is_explained_and_nothing_else_is() -> None:
    assert {kind.name for kind in kinds()} == set(EXPLANATIONS)
    assert all(said.meaning and said.remedy and said.again for said in EXPLANATIONS.values())


def test_every_problem_of_the_document_is_among_the_kinds() -> None:
    responses = describe(HANDLERS)["components"]["responses"].values()
    schemas = [response["content"]["application/problem+json"]["schema"] for response in responses]
    types = {name for schema in schemas for name in schema["allOf"][1]["properties"]["type"]["enum"]}
    assert types <= {kind.type for kind in kinds()}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
async def test_the_type_of_a_problem_leads_to_a_page_that_explains_it(empty_api: Api, kind: Kind) -> None:
    page = await empty_api.get(kind.type)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert kind.type in page.text
    assert kind.title in unescape(page.text)
    assert "<script" not in page.text

    told = (await empty_api.get(kind.type, headers={"accept": "application/json"})).json()
    assert (told["type"], told["status"], told["hint"]) == (kind.type, kind.status, kind.hint)
    assert told["meaning"] == EXPLANATIONS[kind.name].meaning


async def test_what_a_refusal_says_can_be_looked_up(empty_api: Api) -> None:
    refused = problem(await empty_api.get("/v1/jobs/x"), 404)
    told = (await empty_api.get(refused["type"], headers={"accept": "application/json"})).json()
    assert (told["type"], told["title"], told["status"]) == (refused["type"], refused["title"], refused["status"])


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json", True),
        ("application/problem+json, text/html", True),
        ("text/html, application/json", False),
        ("Application/JSON;q=0.9", True),
    ],
)
async def test_whoever_asks_for_json_gets_json(empty_api: Api, accept: str, is_json: bool) -> None:
    for path in ("/problems", "/problems/not-found"):
        answer = await empty_api.get(path, headers={"accept": accept})
        assert answer.headers["content-type"].startswith("application/json" if is_json else "text/html")


@pytest.mark.parametrize("path", ["/problems", "/problems/", "/problems/busy", "/problems/busy/"])
async def test_the_addresses_in_a_page_lead_on_wherever_it_is_served(empty_api: Api, path: str) -> None:
    page = await empty_api.get(path)
    assert page.status_code == 200
    for address in _Addresses.of(page.text):
        assert not address.startswith("/")
        assert (await empty_api.get(urljoin(path, address))).status_code == 200


@pytest.mark.parametrize("name", ["nosuch", "%00", "..%2fdocs", "<script>", "a" * 1000, "NOT-FOUND"])
async def test_a_problem_that_there_is_not_is_one_itself(empty_api: Api, name: str) -> None:
    assert problem(await empty_api.get(f"/problems/{name}"), 404)["type"] == "/problems/not-found"


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        return parser.found
