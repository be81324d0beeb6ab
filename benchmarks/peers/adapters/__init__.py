"""One program per system, run inside its own environment: it sets up, submits and works, and answers in JSON."""
