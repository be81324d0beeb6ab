-- What bounds an attempt and a job in time, and what tasks say of themselves.

-- What the code of a task declares: queue, priority, max_attempts, timeout (seconds), backoff, max_crashes, executor, …
alter table dtsched.tasks add column settings jsonb not null default '{}';
alter table dtsched.tasks add column changed_at timestamptz;
create index tasks_timeout_idx on dtsched.tasks (name) where settings ? 'timeout';

-- The jobs that have a deadline: jobs itself has no index that would find them. An entry whose job has ended is dropped by
-- expire(), which finds it when the deadline has passed.
create table dtsched.deadlines (
    deadline timestamptz not null,
    job_id   bigint not null,
    constraint deadlines_pkey primary key (deadline, job_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

insert into dtsched.deadlines (deadline, job_id)
select job.deadline, job.id
from dtsched.jobs job
where job.deadline is not null and job.state in ('blocked', 'scheduled', 'ready', 'running');

create index leases_deadline_idx on dtsched.leases (deadline) where deadline is not null;

drop function if exists dtsched.register_worker(uuid, text, text[], text[], integer, interval, jsonb);
drop function if exists dtsched.submit(text, jsonb, text, integer, timestamptz, interval, text, integer, interval, text,
    bigint[], text[], jsonb, timestamptz, text);
