-- Submits what one request asks for, and says what it is to be answered: for each job, in its order, an object of id, created
-- and outcome, with code, error and field where it was refused, and with the whole job where p_whole asks for it, as it is at
-- the commit. All are submitted or none; with p_problems (those that are known, or '{}') those that can be, as submit_partly() does.
-- p_check and p_queues are submit_many()'s.
--
-- With p_key the answer is remembered for a day, for this caller alone, in the transaction of the jobs: so there is one if and
-- only if they were submitted. Whoever comes again with the same key and p_digest gets it (replayed), and nothing is submitted.
-- Raises JQ011 when the digest is another one, JQ010 while another session is at the same key, and what submit_many() raises;
-- then nothing is remembered.
-- Reads idempotency_pkey. Locks: an advisory lock of the caller and key, which it only tries; then submit_many's, and those of
-- link_parents, which runs before the answer is read; then the row of idempotency, which nobody else can want.
create or replace function dtsched.submit_once(
    p_jobs jsonb,
    p_problems jsonb default null,
    p_whole boolean default false,
    p_queues text[] default null,
    p_caller text default '',
    p_key text default null,
    p_digest bytea default null,
    p_check boolean default true,
    out answer json,
    out replayed boolean
)
language plpgsql security definer
set search_path = pg_catalog, dtsched, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_digest bytea;
    v_made json[];
    v_ids bigint[];
begin
    replayed := false;
    if p_key is not null then
        if not pg_try_advisory_xact_lock(hashtextextended(p_caller || E'\n' || p_key, 0)) then
            raise exception 'a request with this Idempotency-Key is under way: repeat yours in a moment, to get its answer'
                using errcode = 'JQ010';
        end if;
        select remembered.digest, remembered.answer, true
        into v_digest, answer, replayed
        from dtsched.idempotency remembered
        where remembered.caller = p_caller and remembered.key = p_key and remembered.until > dtsched.now();
        if v_digest <> p_digest then
            raise exception 'this Idempotency-Key was sent with another request before: a new request needs a new one'
                using errcode = 'JQ011';
        elsif replayed then
            return;
        end if;
        replayed := false;
    end if;

    select array_agg(made.id order by made.n), array_agg(case
        when made.error is null
            then json_build_object('id', made.id, 'created', made.created, 'outcome', made.outcome)
        else json_build_object('id', null, 'created', false, 'outcome', made.outcome, 'code', made.code,
                               'error', made.error, 'field', made.field) end order by made.n)
    into v_ids, v_made
    from (
        select many.* from dtsched.submit_many(p_jobs, p_check, false, p_queues) with ordinality many where p_problems is null
        union all
        select partly.* from dtsched.submit_partly(p_jobs, p_check, p_problems, p_queues) with ordinality partly
        where p_problems is not null
    ) made (id, created, error, outcome, code, field, n);
    set constraints all immediate;
    if p_whole then
        v_made := array(
            select json_build_object('id', made.it -> 'id', 'created', made.it -> 'created', 'outcome', made.it -> 'outcome',
                'job', case when (made.it ->> 'created')::boolean
                            then (select shown.job from dtsched.jobs_just_submitted(array[v_ids[made.n]]) shown)
                            else (select row_to_json(shown) from dtsched.job(v_ids[made.n]) shown) end)
            from unnest(v_made) with ordinality as made (it, n)
            order by made.n);
    end if;
    answer := array_to_json(coalesce(v_made, '{}'));
    if p_key is not null then
        insert into dtsched.idempotency as remembered (caller, key, digest, answer, until)
        values (p_caller, p_key, p_digest, answer, dtsched.now() + interval '1 day')
        on conflict (caller, key) do update
        set digest = excluded.digest, answer = excluded.answer, until = excluded.until;
    end if;
end $$;
