"""What becomes of a graph of jobs, told by a model in plain Python that knows nothing of the SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from tests.sql.sessions import Session

Edges = dict[int, str]
"""From the parent's number to the policy of the edge."""


def submit_many(session: Session, *jobs: dict[str, Any]) -> list[int]:
    return session.column("select id from dtsched.submit_many(%s)", Jsonb([{"task": "echo", **job} for job in jobs]))


@dataclass
class Node:
    parents: Edges
    state: str = "blocked"
    because: bool = False  # cancelled because of a parent
    done: set[int] = field(default_factory=set[int])  # parents that count as completed, once and for all


class Model:
    """Nodes by number. `settle` says what follows from the parents; the calls are those of the SQL."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}

    def add(self, number: int, parents: Edges) -> None:
        self.nodes[number] = Node(parents)
        self.settle()

    def claim(self) -> list[int]:
        ready = [number for number, node in self.nodes.items() if node.state == "ready"]
        for number in ready:
            self.nodes[number].state = "running"
        return ready

    def end(self, number: int, state: str) -> None:
        self.nodes[number].state = state
        self.settle()

    def cancel(self, number: int) -> bool:
        if self.nodes[number].state not in ("blocked", "ready"):
            return False
        self.end(number, "cancelled")
        return True

    def retry(self, numbers: list[int]) -> dict[int, str]:
        asked = [number for number in numbers if self.nodes[number].state in ("failed", "cancelled", "skipped")]
        family = set(asked)
        while more := {
            child
            for child, node in self.nodes.items()
            if child not in family and node.because
            and any(self._is_failed(parent) and parent in family and policy == "cancel"
                    for parent, policy in node.parents.items())
        }:  # fmt: skip
            family |= more
        while refused := {
            child
            for child in family
            if any(self._is_failed(parent) and parent not in family and policy != "run"
                   for parent, policy in self.nodes[child].parents.items())
        }:  # fmt: skip
            family -= refused
        outcomes = {number: self._outcome(number, family) for number in numbers}
        for number in family:
            node = self.nodes[number]
            node.state, node.because, node.done = "blocked", False, set()
        self.settle()
        return outcomes

    def settle(self) -> None:
        while any(self._settle(number) for number, node in self.nodes.items() if node.state == "blocked"):
            pass

    def _settle(self, number: int) -> bool:
        node = self.nodes[number]
        failed = {
            policy for parent, policy in node.parents.items() if self._is_failed(parent) and parent not in node.done
        }
        node.done |= {
            parent
            for parent, policy in node.parents.items()
            if self.nodes[parent].state in ("completed", "skipped") or (self._is_failed(parent) and policy == "run")
        }
        if "cancel" in failed:
            node.state, node.because = "cancelled", True
        elif "skip" in failed:
            node.state = "skipped"
        elif node.done >= set(node.parents):
            node.state = "ready"
        return node.state != "blocked"

    def _is_failed(self, number: int) -> bool:
        return self.nodes[number].state in ("failed", "cancelled")

    def _outcome(self, number: int, retried: set[int]) -> str:
        match self.nodes[number].state:
            case "completed":
                return "finished"
            case "failed" | "cancelled" | "skipped":
                return "retried" if number in retried else "parents"
            case _:
                return "unfinished"
