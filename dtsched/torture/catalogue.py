"""Every fault that can be injected, by its number."""

from collections.abc import Mapping, Sequence

from dtsched.errors import InvalidInput
from dtsched.torture.faults import clock, network, pool, postgres, processes, semantics, standby, storage
from dtsched.torture.faults.base import Fault

GROUPS = (processes, postgres, storage, standby, network, pool, clock, semantics)

CATALOGUE: Mapping[str, type[Fault]] = {
    fault.number: fault
    for fault in sorted((fault for group in GROUPS for fault in group.FAULTS), key=lambda one: one.number)
}


def chosen(numbers: str) -> Sequence[type[Fault]]:
    """Those of "F01,F05", or "all"."""
    if numbers == "all":
        return [*CATALOGUE.values()]
    wanted = [number.strip().upper() for number in numbers.split(",")]
    if unknown := [number for number in wanted if number not in CATALOGUE]:
        raise InvalidInput(
            f"there is no fault {', '.join(unknown)}: these can be injected: {', '.join(CATALOGUE)}", field="faults"
        )
    return [CATALOGUE[number] for number in dict.fromkeys(wanted)]
