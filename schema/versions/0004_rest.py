"""What serves other systems over HTTP: a file for each theme (0004_*.sql), in the order of their names."""

from dtsched.migrations import run_scripts

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0004_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
