"""What a run is going to do, drawn from its seed before it begins: the seed fixes the plan, not what the operating
system makes of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Struct

Mode = Literal["single", "storm"]


class Window(Struct, frozen=True, kw_only=True):
    """One injection: when, in seconds since the run began, and for how long. `seed` is the fault's own dice."""

    fault: str
    at: float
    lasts: float
    seed: int


class Plan(Struct, frozen=True, kw_only=True):
    """`left_out` says of each fault that was asked for and is not in `windows`, why."""

    seed: int
    minutes: float
    mode: Mode
    workers: int
    apis: int
    lease_seconds: float
    baseline_seconds: float
    windows: list[Window]
    left_out: dict[str, str]

    def save(self, folder: Path) -> None:
        (folder / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @staticmethod
    def load(folder: Path) -> "Plan":
        return msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)


def dice(seed: int, stream: str) -> Random:
    """Streams of one seed know nothing of each other: more draws from one change none of the others."""
    return Random(f"{seed}/{stream}")


class Planned(Protocol):
    """What the plan has to know of a fault; see faults/base.py."""

    number: ClassVar[str]
    lasts: ClassVar[tuple[float, float]]
    heavy: ClassVar[bool]
    takes: ClassVar[float]
    strikes: ClassVar[int]


QUIET_SECONDS = 10.0  # at the end of the storm: what struck last is seen to recover
RECOVERY_SECONDS = 12.0  # after one that strikes all: until the rate is back, and can be seen to be
PAUSE_SECONDS = 5.0  # between two when they come one by one
HEAVY_SHARE = 0.6  # of the storm, when there are lighter ones too
AT_A_TIME = 4.0  # light ones, on average
GAP_SECONDS = 40.0  # between heavy ones, on average, where there are light ones too: some of these last


def baseline_of(minutes: float) -> float:
    """Seconds without any fault, at the beginning: what recovery is measured against."""
    return max(10.0, 0.15 * 60 * minutes)


def draw(
    faults: Sequence[type[Planned]], *, seed: int, minutes: float, mode: Mode
) -> tuple[list[Window], dict[str, str]]:
    """The windows, by time; and of each fault that found no place, why. A fault is planned with all of its strikes or
    not at all: with half of them its verdict would be inconclusive."""
    random = dice(seed, "faults")
    begin, end = baseline_of(minutes), 60 * minutes - QUIET_SECONDS
    waiting = random.sample(list(faults), len(faults))
    alone = [fault for fault in waiting if fault.heavy or mode == "single"]
    together = [fault for fault in waiting if fault not in alone]
    room = max(0.0, end - begin)
    chosen, too_long = _that_fit(alone, room * (HEAVY_SHARE if together else 1.0), _seconds_alone)
    strikes = [_strike(fault, random) for fault in chosen for _ in range(fault.strikes)]
    random.shuffle(strikes)
    free = room - sum(strike.seconds for strike in strikes)
    cuts = [random.uniform(0, free) for _ in strikes]
    if together:  # several after one another, so that there is room for light ones between them
        places = cuts[: max(1, round(free / GAP_SECONDS))]
        cuts = [random.choice(places) for _ in strikes]
    windows, gaps = _one_by_one(strikes, begin, free, sorted(cuts), random)
    scattered, too_many = _that_fit(together, free * AT_A_TIME, _seconds_together)
    windows += [_scattered(fault, gaps, random) for fault in scattered for _ in range(fault.strikes)]
    why = f"no room for all of its strikes in {minutes:g} {'minute' if minutes == 1 else 'minutes'}"
    return sorted(windows, key=lambda window: window.at), {fault.number: why for fault in too_long + too_many}


class _Strike(NamedTuple):
    fault: type[Planned]
    lasts: float
    seconds: float
    """With what it takes besides, and the time that it has for itself afterwards."""


class _Gap(NamedTuple):
    begin: float
    end: float


def _seconds_alone(fault: type[Planned]) -> float:
    return fault.strikes * (fault.lasts[1] + fault.takes + _afterwards(fault))


def _seconds_together(fault: type[Planned]) -> float:
    return fault.strikes * (fault.lasts[1] + fault.takes)


def _afterwards(fault: type[Planned]) -> float:
    return RECOVERY_SECONDS if fault.heavy else PAUSE_SECONDS


def _strike(fault: type[Planned], random: Random) -> _Strike:
    lasts = random.uniform(*fault.lasts)
    return _Strike(fault, lasts, lasts + fault.takes + _afterwards(fault))


def _that_fit(
    faults: Sequence[type[Planned]], room: float, size: Callable[[type[Planned]], float]
) -> tuple[list[type[Planned]], list[type[Planned]]]:
    """The first that fit, in their order, and the others: a small one may find a place behind a large one."""
    fit: list[type[Planned]] = []
    for fault in faults:
        if size(fault) <= room:
            fit.append(fault)
            room -= size(fault)
    return fit, [fault for fault in faults if fault not in fit]


def _one_by_one(
    strikes: Sequence[_Strike], begin: float, free: float, cuts: Sequence[float], random: Random
) -> tuple[list[Window], list[_Gap]]:
    """In this order, and what lies between them: the free time, cut there."""
    windows: list[Window] = []
    gaps: list[_Gap] = []
    spent = 0.0
    for strike, cut in zip(strikes, cuts, strict=True):
        gaps.append(_Gap(begin, begin := begin + cut - spent))
        spent = cut
        windows.append(_window(strike.fault, begin, strike.lasts, random))
        begin += strike.seconds
    return windows, [*gaps, _Gap(begin, begin + free - spent)]


def _scattered(fault: type[Planned], gaps: Sequence[_Gap], random: Random) -> Window:
    """Anywhere in the gaps, over before the gap is; in the longest if it is too long for all."""
    lasts = random.uniform(*fault.lasts)
    seconds = lasts + fault.takes
    fitting = [gap for gap in gaps if gap.end - gap.begin > seconds] or [max(gaps, key=_length)]
    gap = random.choices(fitting, [_length(gap) for gap in fitting])[0]
    latest = max(gap.begin, gap.end - seconds)
    return _window(fault, random.uniform(gap.begin, latest), min(lasts, _length(gap)), random)


def _length(gap: _Gap) -> float:
    return gap.end - gap.begin


def _window(fault: type[Planned], at: float, lasts: float, random: Random) -> Window:
    return Window(fault=fault.number, at=round(at, 3), lasts=round(lasts, 3), seed=random.getrandbits(32))
