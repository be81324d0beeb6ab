"""Runs the migrations on the connection that dtsched.migrations hands over, in its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table="alembic_version",
    version_table_schema="dtsched",
    transactional_ddl=True,
)
context.run_migrations()
