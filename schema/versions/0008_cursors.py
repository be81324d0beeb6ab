"""Where sessions that begin to claim go on (0008_cursors.sql)."""

from dtsched.migrations import run_scripts

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0008_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
