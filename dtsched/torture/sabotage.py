"""Tasks that do harm to the worker that runs them, on purpose and at one moment that was asked for; each only in its
first attempt where that says so, so that its job comes right in the end."""

from dtsched import App

app = App()
"""For a stage that has these tasks and no others."""
