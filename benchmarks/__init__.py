"""Measurements that say what a change costs: each of its own program, run by hand."""
