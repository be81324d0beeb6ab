"""The tables of the first release (0001_tables.sql)."""

from dtsched.migrations import run_scripts

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("functions/now.sql", "versions/0001_*.sql")


def downgrade() -> None:
    raise RuntimeError("there is nothing before the first revision: `dtsched migrate down` drops the schema")
