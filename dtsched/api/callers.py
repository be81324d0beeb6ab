"""Who sends a request, and what that one may."""

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from dtsched.api.requests import ApiRequest

Scope: TypeAlias = Literal["submit", "read", "read-args", "operate", "worker", "admin"]


class Caller(Struct, frozen=True):
    """`name` is that of the key, None without one. `queues` are those it is for, None: all."""

    name: str | None
    scopes: frozenset[Scope]
    queues: tuple[str, ...] | None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


ANYBODY = Caller(None, frozenset(get_args(Scope)), None)
"""Where there are no keys."""


def caller_of(_request: ApiRequest) -> Caller:
    return ANYBODY
