"""Which leases a limit counts (0006_seats.sql)."""

from dtsched.migrations import run_scripts

revision = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0006_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
