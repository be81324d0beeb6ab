-- A problem of a job of a batch, as batch_problems() has it; null without a sentence.
create or replace function dtsched.problem(p_code text, p_field text, p_problem text) returns jsonb
language sql immutable
as $$
    select case when p_problem is not null
                then jsonb_build_object('code', p_code, 'field', p_field, 'problem', p_problem) end
$$;
