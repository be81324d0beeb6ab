"""From what was written down to what it says of the invariants. Nothing here talks to a database."""
