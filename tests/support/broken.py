"""Functions that are broken on purpose, the way somebody might break them, to see that a test notices."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

from tests.sql.sessions import Session

FUNCTIONS = Path(__file__).parents[2] / "schema" / "functions"


@dataclass(frozen=True)
class Broken:
    """`was` occurs in the function once at least, and is replaced wherever it does."""

    name: str
    function: str
    was: str
    is_now: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def text(self) -> str:
        return (FUNCTIONS / f"{self.function}.sql").read_text()

    @contextmanager
    def laid(self, session: Session) -> Generator[None]:
        assert self.was in self.text
        session.run(cast(LiteralString, self.text.replace(self.was, self.is_now)))
        try:
            yield
        finally:
            session.run(cast(LiteralString, self.text))
