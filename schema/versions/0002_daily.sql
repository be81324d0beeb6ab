-- What lists, counts and metrics read, so that none of them has to look at the finished jobs.

-- What ends while it is counted here would be missing.
lock table dtsched.jobs in share row exclusive mode;

-- What happened, counted in the transaction in which it happened: one row for each group that a statement ends, never a
-- counter that two would have to share. roll_up() adds the rows of past minutes up into stats_1m.
create table dtsched.tallies (
    minute       timestamptz not null default date_trunc('minute', dtsched.now()),
    queue        text not null,
    task         text not null,
    event        text not null constraint event_is_known check (event in (
                     'complete', 'fail', 'cancel', 'retry', 'snooze', 'crash', 'unfail', 'uncancel', 'uncomplete')),
    wait_bucket  smallint not null default 0,
    run_bucket   smallint not null default 0,
    jobs         bigint not null,
    wait_seconds double precision not null default 0,
    run_seconds  double precision not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

create table dtsched.stats_1m (
    minute       timestamptz not null,
    queue        text not null,
    task         text not null,
    event        text not null,
    wait_bucket  smallint not null,
    run_bucket   smallint not null,
    jobs         bigint not null,
    wait_seconds double precision not null,
    run_seconds  double precision not null,
    constraint stats_1m_pkey primary key (minute, queue, task, event, wait_bucket, run_bucket)
);

-- Failed and cancelled jobs are found here: jobs has no index on its state.
create table dtsched.unsuccessful (
    state  text not null,
    job_id bigint not null,
    constraint unsuccessful_pkey primary key (state, job_id)
);

alter table dtsched.scheduled add column queue text;
alter table dtsched.blocked add column queue text;
update dtsched.scheduled entry set queue = job.queue from dtsched.jobs job where job.id = entry.job_id;
update dtsched.blocked waiting set queue = job.queue from dtsched.jobs job where job.id = waiting.job_id;

insert into dtsched.unsuccessful (state, job_id)
select job.state, job.id from dtsched.jobs job where job.state in ('failed', 'cancelled');
insert into dtsched.tallies (minute, queue, task, event, jobs)
select '-infinity', job.queue, job.task,
    case job.state when 'completed' then 'complete' when 'failed' then 'fail' else 'cancel' end, count(*)
from dtsched.jobs job
where job.state in ('completed', 'failed', 'cancelled')
group by job.queue, job.task, job.state;

drop function if exists dtsched.list_jobs(text, text, text, bigint, integer);
