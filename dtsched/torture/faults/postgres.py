"""Group B: what PostgreSQL and its administrator do to a queue. storage.py and standby.py are of this group too."""

from collections.abc import Sequence

from dtsched.torture.faults.backends import KilledBackends, KilledListeners, NoConnectionsLeft, ShortTimeouts
from dtsched.torture.faults.base import Fault
from dtsched.torture.faults.conditions import CommitsThatDoNotWait, SerializableByDefault, StrangePlans
from dtsched.torture.faults.holders import DeadlockPressure, LockedRows, LockedTable, PinnedHorizon
from dtsched.torture.faults.notifications import NotifyStorm, SpoofedNotifications
from dtsched.torture.faults.outages import Crash, KilledServer, LongOutage, UnwillingServer
from dtsched.torture.faults.schemas import KilledMigration, SequencesNearTheirEnd

FAULTS: Sequence[type[Fault]] = (
    KilledBackends,
    KilledListeners,
    Crash,
    KilledServer,
    LongOutage,
    UnwillingServer,
    NotifyStorm,
    SpoofedNotifications,
    PinnedHorizon,
    LockedRows,
    LockedTable,
    ShortTimeouts,
    DeadlockPressure,
    SerializableByDefault,
    StrangePlans,
    NoConnectionsLeft,
    KilledMigration,
    CommitsThatDoNotWait,
    SequencesNearTheirEnd,
)
