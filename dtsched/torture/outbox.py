"""Tables of a user's own, beside those of dtsched: what is written into them commits together with a job (outbox) or
with the end of one (effects), or not at all."""

from typing import LiteralString

LAY: LiteralString = """
    select pg_advisory_xact_lock(hashtext('dtsched.torture'));
    create schema if not exists torture;
    create table if not exists torture.outbox (
        key text primary key,
        job_id bigint,
        at timestamptz not null default clock_timestamp()
    );
    create table if not exists torture.effects (
        key text not null,
        job_id bigint not null,
        lease_id bigint not null,
        at timestamptz not null default clock_timestamp()
    );
"""
"""One transaction, which may be repeated."""

TWIN: LiteralString = "insert into torture.outbox (key, job_id) values (%s, %s)"
"""In the transaction that submits the job: a row of each, or none of both."""

EFFECT: LiteralString = "insert into torture.effects (key, job_id, lease_id) values (%s, %s, %s)"
"""In the transaction that completes the job: one for each that has completed, and none for the others."""
