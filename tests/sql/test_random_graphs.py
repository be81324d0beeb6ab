"""Random graphs, with random ends, cancellations, retries and children added later, go as a model in Python says."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.sql.graphs import Model, Node, submit_many
from tests.sql.sessions import Worker

POLICIES = ("cancel", "cancel", "run", "skip")


class Play:
    """The same moves in the model and in the database; nodes are known by number in the one, by id in the other."""

    def __init__(self, worker: Worker, dice: random.Random) -> None:
        self.worker = worker
        self.dice = dice
        self.model = Model()
        self.ids: dict[int, int] = {}

    def submit(self, count: int) -> None:
        first = len(self.ids) + 1
        batch: list[dict[str, Any]] = []
        for number in range(first, first + count):
            chosen = self.dice.sample(range(1, number), min(self.dice.randrange(4), number - 1))
            parents = {parent: self.dice.choice(POLICIES) for parent in chosen}
            batch.append({"depends_on": [self._reference(parent, first, policy) for parent, policy in parents.items()]})
            self.model.nodes[number] = Node(parents)
        self.ids.update(zip(range(first, first + count), submit_many(self.worker, *batch), strict=True))
        self.model.settle()

    def step(self) -> None:
        running = [number for number, node in self.model.nodes.items() if node.state == "running"]
        match self.dice.randrange(8):
            case 0 | 1:
                claimed = sorted(self.ids[number] for number in self.model.claim())
                assert sorted(self.worker.drain()) == claimed
            case 2 | 3 if running:
                number = self.dice.choice(running)
                self.worker.finish(self.ids[number])
                self.model.end(number, "completed")
            case 4 if running:
                number = self.dice.choice(running)
                outcome = self.dice.choice(["fail", "cancel"])
                self.worker.finish_as(outcome, self.ids[number])
                self.model.end(number, {"fail": "failed", "cancel": "cancelled"}[outcome])
            case 5:
                number = self.dice.choice(list(self.ids))
                if self.model.cancel(number):
                    assert self.worker.value("select dtsched.cancel(%s)", self.ids[number]) == "cancelled"
            case 6:
                asked = self.dice.sample(list(self.ids), min(2, len(self.ids)))
                outcomes = self.worker.rows("select * from dtsched.retry(%s)", [self.ids[number] for number in asked])
                assert dict(outcomes) == {self.ids[n]: outcome for n, outcome in self.model.retry(asked).items()}
            case _:
                self.submit(self.dice.randrange(1, 3))

    def compare(self) -> None:
        found = dict(
            self.worker.rows("select id, case when skipped then 'skipped' else state end from dtsched.jobs order by id")
        )
        assert found == {self.ids[number]: node.state for number, node in self.model.nodes.items()}

    def _reference(self, parent: int, first: int, policy: str) -> dict[str, Any]:
        named = {"entry": parent - first + 1} if parent >= first else {"job": self.ids[parent]}
        return {**named, "on_failure": policy}


@pytest.mark.parametrize("seed", range(12))
def test_a_random_graph_goes_as_the_model_says(worker: Worker, seed: int) -> None:
    play = Play(worker, random.Random(seed))
    play.submit(12)
    for _ in range(60):
        play.step()
        play.compare()
    assert worker.rows("select * from dtsched.check()") == []
