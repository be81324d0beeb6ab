"""All that is checked, in the order of the catalogue."""

from collections.abc import Callable, Sequence

from dtsched.torture.checker import cancels, leases, liveness, order, outcomes, seen, submissions, ticks
from dtsched.torture.checker.findings import Finding
from dtsched.torture.checker.run import Run

Check = Callable[[Run], Finding]

INVARIANTS: Sequence[Check] = (
    submissions.no_loss,
    submissions.no_invention,
    outcomes.single_outcome,
    outcomes.fencing,
    leases.exclusion,
    outcomes.starts,
    outcomes.edges,
    order.unique,
    leases.limits,
    order.parents,
    order.first_come,
    order.not_early,
    ticks.ticks,
    cancels.cancels,
    submissions.twins,
    submissions.unchanged,
    submissions.allowed,
    liveness.drained,
    liveness.restart_rate,
    liveness.orphans,
    liveness.pick_up,
    liveness.idle_load,
    liveness.ages,
    ticks.lateness,
    liveness.exits,
    seen.seen,
)
"""S1 to S17, L1 to L8, and what faults saw themselves."""
