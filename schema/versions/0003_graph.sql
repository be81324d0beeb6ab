-- Dependencies with a policy for each edge, what is brought back by a retry, and workflows.

-- No domains for the new columns of jobs: a column of a domain rewrites the table. place_new_job() guards them instead.
-- parent_policies goes with depends_on, element by element; null is the job's on_parent_failure, and null there is cancel.
alter table dtsched.jobs
    add column on_parent_failure text,
    add column parent_policies text[],
    add column skipped boolean;

-- A job that was cancelled because a parent did not complete: to retry that parent brings it back. The child's rows go when
-- it is brought back or deleted.
create table dtsched.cancelled_by (
    parent_id bigint not null,
    child_id  bigint not null,
    constraint cancelled_by_pkey primary key (parent_id, child_id)
);
create index cancelled_by_child_idx on dtsched.cancelled_by (child_id);

create sequence dtsched.workflow_id_seq as bigint;
create table dtsched.workflows (
    id           bigint not null default nextval('dtsched.workflow_id_seq') constraint workflows_pkey primary key,
    name         text not null constraint name_has_1_to_128_characters check (char_length(name) between 1 and 128),
    created_at   timestamptz not null default dtsched.now(),
    cancelled_at timestamptz
);
-- workflow_id never changes, so updates stay HOT.
create index jobs_workflow_idx on dtsched.jobs (workflow_id, id) where workflow_id is not null;

drop function if exists dtsched.submit(text, jsonb, text, integer, timestamptz, interval, text, integer, interval, text,
                                       bigint[], text[], jsonb, timestamptz, text);
drop function if exists dtsched.job(bigint);
drop function if exists dtsched.list_jobs(jsonb, bigint, integer);
