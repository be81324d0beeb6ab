"""The edges of a job's states, as schema/README.md has them in its table; a test holds both together. None is a job
that is not there, before or after."""

EDGES: frozenset[tuple[str | None, str | None]] = frozenset({
    (None, "ready"), (None, "scheduled"), (None, "blocked"),
    ("blocked", "ready"), ("blocked", "scheduled"), ("blocked", "cancelled"), ("blocked", "failed"),
    ("scheduled", "ready"), ("scheduled", "cancelled"), ("scheduled", "failed"),
    ("ready", "running"), ("ready", "scheduled"), ("ready", "cancelled"), ("ready", "failed"),
    ("running", "completed"), ("running", "failed"), ("running", "cancelled"), ("running", "ready"),
    ("running", "scheduled"),
    ("failed", "ready"), ("failed", "scheduled"), ("failed", "blocked"),
    ("cancelled", "ready"), ("cancelled", "scheduled"), ("cancelled", "blocked"),
    ("completed", None), ("failed", None), ("cancelled", None),
})  # fmt: skip
