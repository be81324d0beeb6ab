"""Proves the checker: plants each mutant in a run of its own and sees whether an invariant notices it.

    python -m dtsched.torture.hunt              all of them, some twenty minutes
    python -m dtsched.torture.hunt M1 M9        those

Exit 0 only where all were caught by what was to catch them. What a run wrote down stays where it was not.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from dtsched.errors import InvalidInput
from dtsched.torture.behaviour import behaviour
from dtsched.torture.catalogue import chosen
from dtsched.torture.digests import digest
from dtsched.torture.mutants import MUTANTS, Mutant
from dtsched.torture.run import Order, carry_out
from dtsched.torture.verdict import Verdict, check

MINUTES = 1.0
SEED = 42


def main(numbers: list[str]) -> int:
    if unknown := [number for number in numbers if number not in MUTANTS]:
        raise InvalidInput(f"there is no mutant {', '.join(unknown)}: there are {', '.join(MUTANTS)}", field="mutants")
    hunted = [MUTANTS[number] for number in numbers or MUTANTS]
    caught = [hunt(mutant) for mutant in hunted]
    print(f"mutants {sum(caught)}/{len(caught)} caught")
    return 0 if all(caught) else 1


def hunt(mutant: Mutant) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{mutant.number}-"))
    asyncio.run(carry_out(order(mutant, folder), lambda what, done, of: None))
    verdict = check(folder, behaviour=behaviour, digest=digest)
    verdict.save(folder)
    catchers = caught_by(verdict)
    caught = bool(set(catchers) & set(mutant.caught_by))
    told = ", ".join(f"{name} ({count})" for name, count in catchers.items()) or "nothing"
    print(f"{mutant.number}  {mutant.title}: {'caught by' if caught else 'MISSED; noticed by'} {told}", flush=True)
    if caught:
        shutil.rmtree(folder)
    else:
        print(f"    to be caught by {' or '.join(mutant.caught_by)}; all of it is in {folder}", flush=True)
    return caught


def order(mutant: Mutant, folder: Path) -> Order:
    return Order(
        seed=SEED,
        minutes=MINUTES,
        mode="storm",
        faults=chosen(",".join(mutant.faults)),
        workers=3,
        apis=2,
        folder=folder,
        mutant=mutant,
    )


def caught_by(verdict: Verdict) -> dict[str, int]:
    return {finding.name: finding.violated for finding in verdict.invariants if finding.violated}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
