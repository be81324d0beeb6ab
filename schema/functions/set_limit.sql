-- Sets the limits of one limit key, whatever the queue: how many of its jobs run at once, how many start a second, and how many
-- at once after a quiet while. What is null is as the queue's settings say (key_limit, key_rate, key_burst), and one at a time
-- where they say nothing. 0 at once holds all of them. Its bucket is filled and its breaker closed by this. Claims heed it from the
-- next one on. Raises JQ001 for what is wrong. Locks: the key's row.
create or replace function dtsched.set_limit(
    p_key text,
    p_concurrency integer default null,
    p_rate double precision default null,
    p_burst integer default null
)
returns void
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
as $$
declare
    v_problem text := dtsched.settings_problem(jsonb_build_object('key_limit', p_concurrency, 'key_rate', p_rate,
                                                                  'key_burst', p_burst));
    v_queue text;
begin
    perform dtsched.require_read_committed();
    if p_key is null or char_length(p_key) not between 1 and 255 or p_key ~ '[\u0001-\u001f\u007f]' then
        raise exception 'limit_key must be 1 to 255 characters without control characters, not %',
            coalesce(dtsched.shown(to_jsonb(p_key)), 'null') using errcode = 'JQ001';
    end if;
    if v_problem is not null then
        raise exception '%', replace(replace(replace(v_problem, 'key_limit', 'concurrency'), 'key_rate', 'rate'),
                                     'key_burst', 'burst') using errcode = 'JQ001';
    end if;
    insert into dtsched.limits (limit_key, concurrency, rate, burst) values (p_key, p_concurrency, p_rate, p_burst)
    on conflict (limit_key) do update
    set concurrency = excluded.concurrency,
        rate = excluded.rate,
        burst = excluded.burst,
        tokens = null,
        refilled_at = null,
        failed_at = '{}',
        open_until = null,
        probe_id = null;
    perform dtsched.free_seats(array[p_key]);
end $$;
