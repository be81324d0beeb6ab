"""Counts of what has ended, failed jobs that can be found, and whose queue it is that waits (0002_daily.sql)."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    config = op.get_context().config
    if config is None:
        raise RuntimeError("this migration runs inside dtsched.migrations only")
    config.attributes["run_script"](Path(__file__).with_name("0002_daily.sql").read_text())


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
