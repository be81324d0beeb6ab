-- The operation in its next round, or completed: when nothing is left over, or p_rounds are over, or the last one has
-- decided on nothing, and nobody holds what is left. Those that are busy get some time before. Part of step_operation().
create or replace function dtsched.next_round(p_operation dtsched.operations, p_rounds integer)
returns dtsched.operations
language plpgsql
set search_path = pg_catalog, dtsched, pg_temp
set enable_seqscan = off
as $$
declare
    v_busy bigint;
    v_left bigint;
begin
    select count(*) filter (where left_over.outcome = 'busy'), count(*)
    into v_busy, v_left
    from dtsched.operation_leftovers left_over
    where left_over.operation_id = p_operation.id and left_over.round = p_operation.round + 1;
    if v_left = 0 or p_operation.round >= p_rounds or (p_operation.settled = 0 and p_operation.round > 0 and v_busy = 0) then
        p_operation.state := 'completed';
        p_operation.outcomes := dtsched.more_outcomes(p_operation.outcomes, array(
            select left_over.outcome
            from dtsched.operation_leftovers left_over
            where left_over.operation_id = p_operation.id and left_over.round = p_operation.round + 1));
    else
        p_operation.next_at := dtsched.now() + case
            when v_busy > 0 then interval '0.5 s' * 2 ^ p_operation.round else interval '0' end;
        p_operation.round := p_operation.round + 1;
        p_operation.settled := 0;
    end if;
    return p_operation;
end $$;
