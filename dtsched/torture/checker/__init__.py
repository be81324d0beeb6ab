"""What a run has to have kept: each invariant of the catalogue as a pure function of what was written down (run.py)
that returns a Finding. Which there are, says invariants.py; what they come to together, verdict.py beside this package.
"""
