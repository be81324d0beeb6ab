"""What every refusal of the API has in common."""

from __future__ import annotations

from typing import Any

from httpx import Response


def problem(answer: Response, status: int) -> dict[str, Any]:
    """The problem document; its form is checked here for all tests."""
    document = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(document) - {"errors"} == {"type", "title", "status", "detail", "instance", "hint"}
    assert document["status"] == status
    assert document["instance"] == answer.headers["x-request-id"]
    return document
