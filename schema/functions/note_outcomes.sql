-- The operation with these outcomes added up; what could not be decided on is kept for its next round instead. A job that
-- waited for its parent, and is unfinished when it is come back to, has come back with that. Part of step_operation().
create or replace function dtsched.note_outcomes(p_operation dtsched.operations, p_jobs bigint[], p_outcomes text[])
returns dtsched.operations
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
begin
    if p_operation.round > 0 then
        delete from dtsched.operation_leftovers left_over
        where left_over.operation_id = p_operation.id and left_over.round = p_operation.round
            and left_over.job_id = any (p_jobs);
        if p_operation.action = 'retry' then
            p_outcomes := array_replace(p_outcomes, 'unfinished', 'retried');
        end if;
    end if;
    insert into dtsched.operation_leftovers (operation_id, round, job_id, outcome)
    select p_operation.id, p_operation.round + 1, met.job_id, met.outcome
    from unnest(p_jobs, p_outcomes) as met (job_id, outcome)
    where met.outcome in ('busy', 'parents');
    p_operation.settled := p_operation.settled + (
        select count(*) from unnest(p_outcomes) met (outcome) where met.outcome not in ('busy', 'parents'));
    p_operation.outcomes := dtsched.more_outcomes(p_operation.outcomes, array(
        select met.outcome from unnest(p_outcomes) met (outcome) where met.outcome not in ('busy', 'parents')));
    return p_operation;
end $$;
