"""What jobs can do beyond running once: a file for each theme (0003_*.sql), in the order of their names."""

from dtsched.migrations import run_scripts

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_scripts("versions/0003_*.sql")


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
