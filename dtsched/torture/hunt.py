"""Proves the checker: plants each mutant in a run of its own and sees whether the invariant that it breaks notices it.

    python -m dtsched.torture.hunt              all of them, some fifteen minutes
    python -m dtsched.torture.hunt M1 M9        those
    python -m dtsched.torture.hunt --sane M1    the same run without the bug: nothing is to be noticed

Exit 0 only where all were caught by what was to catch them. What a run wrote down stays where it was not.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from msgspec import structs

from dtsched.errors import InvalidInput
from dtsched.torture.behaviour import behaviour
from dtsched.torture.catalogue import CATALOGUE
from dtsched.torture.digests import digest
from dtsched.torture.faults.base import Fault
from dtsched.torture.mutants import MUTANTS, Mutant
from dtsched.torture.run import Order, carry_out
from dtsched.torture.verdict import Verdict, check

SANE = "--sane"


def main(arguments: Sequence[str]) -> int:
    numbers = [argument for argument in arguments if argument != SANE]
    if unknown := [number for number in numbers if number not in MUTANTS]:
        raise InvalidInput(f"there is no mutant {', '.join(unknown)}: there are {', '.join(MUTANTS)}", field="mutants")
    hunted = [MUTANTS[number] for number in numbers or MUTANTS]
    sane = SANE in arguments
    right = 0
    for place, mutant in enumerate(hunted, 1):
        faults = " and ".join(mutant.faults)
        print(f"{place} of {len(hunted)}  {mutant.number}  {60 * mutant.minutes:.0f} s of {faults}", flush=True)
        right += spare(without_bug(mutant)) if sane else hunt(mutant)
    print(f"controls {right}/{len(hunted)} clean" if sane else f"mutants {right}/{len(hunted)} caught")
    return 0 if right == len(hunted) else 1


def hunt(mutant: Mutant) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{mutant.number}-"))
    began = monotonic()
    verdict = judged(mutant, folder)
    caught = is_caught(mutant, verdict)
    took = f"{monotonic() - began:.0f} s"
    print(f"    {'caught by' if caught else 'MISSED; noticed by'} {told(verdict)}; {took}: {mutant.title}", flush=True)
    if caught:
        shutil.rmtree(folder)
    else:
        wanted = " or ".join(f"{name} ({words})" for name, words in mutant.caught_by.items())
        print(f"    to be caught by {wanted}; all of it is in {folder}", flush=True)
    return caught


def spare(sound: Mutant) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{sound.number}-sane-"))
    began = monotonic()
    verdict = judged(sound, folder)
    clean = not noticed(verdict)
    where = "" if clean else f"; all of it is in {folder}"
    print(f"    without its bug: noticed by {told(verdict)}; {monotonic() - began:.0f} s{where}", flush=True)
    if clean:
        shutil.rmtree(folder)
    return clean


def judged(mutant: Mutant, folder: Path) -> Verdict:
    asyncio.run(carry_out(order(mutant, folder), lambda what, done, of: None))
    verdict = check(folder, behaviour=behaviour, digest=digest)
    verdict.save(folder)
    for fault, why in verdict.left_out.items():
        print(f"    {fault} was left out: {why}", flush=True)
    return verdict


def order(mutant: Mutant, folder: Path) -> Order:
    return Order(
        seed=mutant.seed,
        minutes=mutant.minutes,
        mode="storm",
        faults=faults(mutant),
        workers=3,
        apis=2,
        folder=folder,
        mutant=mutant,
    )


def faults(mutant: Mutant) -> list[type[Fault]]:
    """Those of the catalogue, but for what the mutant wants otherwise."""
    chosen = [(CATALOGUE[number], otherwise) for number, otherwise in mutant.faults.items()]
    return [type(fault.__name__, (fault,), dict(otherwise)) for fault, otherwise in chosen]


def without_bug(mutant: Mutant) -> Mutant:
    return structs.replace(mutant, changes=(), statements=(), poll_seconds=None, app=None)


def is_caught(mutant: Mutant, verdict: Verdict) -> bool:
    """By an invariant that it breaks, for the reason that it gives it."""
    return any(
        finding.name in mutant.caught_by and mutant.caught_by[finding.name] in violation.what
        for finding in verdict.invariants
        for violation in finding.violations
    )


def noticed(verdict: Verdict) -> dict[str, int]:
    return {finding.name: finding.violated for finding in verdict.invariants if finding.violated}


def told(verdict: Verdict) -> str:
    return ", ".join(f"{name} ({count})" for name, count in noticed(verdict).items()) or "nothing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
