-- Has an operation do nothing more; what it has done stays. Waits for the step that is under way. Says what came of it: cancelled, finished (it had
-- ended before, whichever way), or missing. p_queues as in list_operations(). Called twice it changes nothing more.
-- Locks: the operation's row.
create or replace function dtsched.cancel_operation(p_id bigint, p_queues text[] default null) returns text
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set enable_seqscan = off
as $$
begin
    update dtsched.operations operation
    set state = 'cancelled',
        finished_at = dtsched.now()
    where operation.id = p_id and operation.state in ('pending', 'running')
        and (p_queues is null or operation.queues <@ p_queues);
    if found then
        delete from dtsched.operation_leftovers left_over where left_over.operation_id = p_id;
        return 'cancelled';
    end if;
    return case when exists (
        select from dtsched.operations operation
        where operation.id = p_id and (p_queues is null or operation.queues <@ p_queues))
        then 'finished' else 'missing' end;
end $$;
