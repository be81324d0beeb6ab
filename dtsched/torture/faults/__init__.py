"""The catalogue of faults that can be injected, by group."""
