"""The sessions of the tests of the SQL."""

from tests.sql.conftest import open_session, sessions

__all__ = ["open_session", "sessions"]
