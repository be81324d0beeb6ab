"""How many jobs to hold beyond the free slots: as many as a moment's work, so that short jobs come in batches and
long ones are left to other workers. Pure: told what happened and when, it answers with a number."""

BATCH = 4000
"""Jobs in one claim at most: a call and its commit cost as much as some hundred jobs. As a rule it is the moment that
bounds a claim, not this."""

MOST = 2 * BATCH
"""Jobs that wait here at most: while a claim is under way the slots have the one before."""

MOST_BYTES = 16 * 1024 * 1024
"""Of args that wait here, about: so many jobs are fetched ahead as had that many in the claims before."""

MOMENT_SECONDS = 0.02
"""A job that begins within this time begins at once, as far as limits and breakers are concerned."""

_HORIZON_SECONDS = 0.1
_UNSURE = 250  # wait at most while the rate is a guess from the first job that ended
_WINDOW_SECONDS = 0.05
_FORGET_SECONDS = 1.0


class Prefetch:
    """Of one queue. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rate = 0.0  # jobs ended per second of work
        self._sure = False
        self._worked_seconds = 0.0
        self._ended = 0
        self._busy_since: float | None = None
        self._idle_since = 0.0
        self._job_bytes = 1.0

    def busy(self, now: float) -> None:
        """There are jobs here. A rate learnt before an idle while says nothing about what comes now."""
        if self._busy_since is None:
            if now - self._idle_since > _FORGET_SECONDS:
                self._rate, self._sure = 0.0, False
            self._busy_since = now

    def fed(self, jobs: int, size: int) -> None:
        """A claim has brought so many, whose args have so many bytes. That they have grown is believed at once."""
        brought = size / jobs
        self._job_bytes = max(1.0, brought, (self._job_bytes + brought) / 2)

    def idle(self, now: float) -> None:
        if self._busy_since is not None:
            self._worked_seconds += now - self._busy_since
            self._busy_since = None
            self._idle_since = now

    def measure(self, ended: int, now: float) -> None:
        """So many jobs have ended since the last call."""
        self._ended += ended
        if self._busy_since is not None:
            self._worked_seconds += now - self._busy_since
            self._busy_since = now
        measured = self._worked_seconds >= _WINDOW_SECONDS or self._ended >= BATCH
        if measured or (self._rate == 0.0 and self._ended):
            self._sure = self._sure or measured
            rate = self._ended / max(self._worked_seconds, 1e-6)
            self._rate = rate if self._rate == 0.0 else (self._rate + rate) / 2
            self._ended, self._worked_seconds = 0, 0.0

    def hoarded(self) -> None:
        """Jobs had to be given back because no slot came free for them."""
        self._rate, self._ended, self._worked_seconds = 0.0, 0, 0.0
        self._sure = False

    @property
    def within_a_moment(self) -> int:
        """How many jobs the slots are known to get through in one. As one claim may bring all of them, no more than
        that."""
        return min(BATCH, int(self._rate * MOMENT_SECONDS)) if self._sure else 0

    @property
    def target(self) -> int:
        most = min(MOST if self._sure else _UNSURE, int(MOST_BYTES / self._job_bytes))
        return min(most, int(self._rate * _HORIZON_SECONDS))
