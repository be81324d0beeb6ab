-- The tasks of this worker. Each reads :args and leaves its result, as JSON, in :result; one that raises an error is retried, or
-- with SQLSTATE 22023 fails for good.
select :'task' = 'echo' as is_echo, :'task' = 'sleep' as is_sleep, :'task' = 'fibonacci' as is_fibonacci \gset
\if :is_echo
    select coalesce(:'args'::jsonb -> 'value', 'null') as result \gset
\elif :is_sleep
    select 'null' as result from pg_sleep((:'args'::jsonb ->> 'seconds')::double precision) \gset
\elif :is_fibonacci
    with recursive given as (
        select case when (:'args'::jsonb ->> 'n')::numeric between 0 and 20000 then (:'args'::jsonb ->> 'n')::integer
                    else ln(-1)::integer end as n  -- out of range: an error of class 22
    ),
    numbers (i, a, b) as (
        select 0, 0::numeric, 1::numeric
        union all
        select numbers.i + 1, numbers.b, numbers.a + numbers.b from numbers, given where numbers.i < given.n
    )
    select numbers.a as result from numbers order by numbers.i desc limit 1 \gset
\else
    -- by trial division: what is left, and the divisor that is tried next
    with recursive division (rest, divisor, factor) as (
        select (:'args'::jsonb ->> 'n')::bigint, 2::bigint, null::bigint
        union all
        select case when rest % divisor = 0 then rest / divisor when divisor * divisor > rest then 1 else rest end,
            case when rest % divisor = 0 then divisor else divisor + 1 + divisor % 2 * (divisor > 2)::integer end,
            case when rest % divisor = 0 then divisor when divisor * divisor > rest then rest end
        from division
        where rest > 1
    )
    select coalesce(jsonb_agg(factor order by factor) filter (where factor is not null), '[]') as result from division \gset
\endif
