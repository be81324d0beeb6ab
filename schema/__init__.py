"""What PostgreSQL knows: the migrations and the SQL functions. Installed as `dtsched.schema`."""
