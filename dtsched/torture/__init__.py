"""`dtsched torture`: real processes on a server of their own, faults by a plan, and a verdict from what all of them
wrote down. Nothing outside of this package and its command imports it.

    DIR/plan.json            what is to happen, written before anything does
    DIR/history/*.ndjson     what happened: one file a process, written by nobody else (history.py)
    DIR/state/*.ndjson       the tables at the end, a row a line (state.py)
    DIR/lives/*              a file for each time that a submitter was started, so that none uses a name twice
    DIR/logs/*.log           what the processes said
    DIR/verdict.json         what the checker made of all that; DIR/junit.xml: the same for a CI
"""
