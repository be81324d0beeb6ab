"""The app of a run, for workers that deliver each outcome at once, over the connection which others open only when
hundreds have gathered: so many never do at the rate of a run, and that way is to be under fire too."""

from dtsched.runtime import ledger
from dtsched.torture.app import app

__all__ = ["app"]

ledger.GATHERED = 1
