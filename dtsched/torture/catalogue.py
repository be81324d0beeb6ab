"""Every fault that can be injected, by its number."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import isabstract

from dtsched.errors import InvalidInput
from dtsched.torture import faults
from dtsched.torture.faults import clock, network, pool, postgres, processes, semantics
from dtsched.torture.faults.base import Fault

GROUPS = (clock, network, pool, postgres, processes, semantics)


def _found(kind: type[Fault]) -> Iterator[type[Fault]]:
    for one in kind.__subclasses__():
        yield from _found(one)
        if not isabstract(one) and hasattr(one, "number") and one.__module__.startswith(f"{faults.__name__}."):
            yield one


CATALOGUE: Mapping[str, type[Fault]] = {
    fault.number: fault for fault in sorted(_found(Fault), key=lambda one: one.number)
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
