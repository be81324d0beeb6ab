"""Counts of what has ended, failed jobs that can be found, and whose queue it is that waits (0002_daily.sql)."""

from dtsched.migrations import run_scripts

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0002_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
