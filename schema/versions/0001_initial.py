"""The tables of the first release (0001_tables.sql)."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    schema = Path(__file__).parent.parent
    run = op.get_context().config.attributes["run_script"]  # type: ignore[union-attr]  # set by env.py
    run((schema / "functions" / "now.sql").read_text())
    run(Path(__file__).with_name("0001_tables.sql").read_text())


def downgrade() -> None:
    # the schema itself stays, with alembic's own table in it, until dtsched.migrations drops it
    op.execute("drop schema dtsched cascade")
    op.execute("create schema dtsched")
