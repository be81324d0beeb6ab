"""What makes it cost less: a file for each theme (0005_*.sql), in the order of their names."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    config = op.get_context().config
    if config is None:
        raise RuntimeError("this migration runs inside dtsched.migrations only")
    for path in sorted(Path(__file__).parent.glob("0005_*.sql")):
        config.attributes["run_script"](path.read_text())


def downgrade() -> None:
    raise RuntimeError("revisions are not taken back one by one: `dtsched migrate down` drops the schema")
