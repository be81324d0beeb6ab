"""The tables of the first release (0001_tables.sql)."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    schema = Path(__file__).parent.parent
    config = op.get_context().config
    if config is None:
        raise RuntimeError("this migration runs inside dtsched.migrations only")
    run = config.attributes["run_script"]
    run((schema / "functions" / "now.sql").read_text())
    run(Path(__file__).with_name("0001_tables.sql").read_text())


def downgrade() -> None:
    raise RuntimeError("there is nothing before the first revision: `dtsched migrate down` drops the schema")
