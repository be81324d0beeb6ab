-- What handlers have logged, a row a line. Only ever inserted and deleted.
create table dtsched.job_logs (
    job_id   bigint not null,
    line     integer not null constraint line_is_1_to_10000 check (line between 1 and 10000),
    attempt  integer not null,
    lease_id bigint not null,
    seq      integer,
    at       timestamptz not null,
    level    text not null constraint level_is_known check (level in ('debug', 'info', 'warning', 'error', 'critical')),
    logger   text,
    message  text not null,
    constraint job_logs_pkey primary key (job_id, line)
);
