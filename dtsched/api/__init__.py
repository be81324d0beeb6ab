"""The REST API. Thin: each route is one question to the client, in the words of the SQL functions."""

from dtsched.api.application import create_app
from dtsched.api.server import serve

__all__ = ["create_app", "serve"]
