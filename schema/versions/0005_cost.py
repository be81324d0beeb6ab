"""What makes it cost less: a file for each theme (0005_*.sql), in the order of their names."""

from dtsched.migrations import run_scripts

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0005_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
