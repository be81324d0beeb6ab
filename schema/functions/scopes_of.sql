-- All that a key with these scopes may: operate and read-args include read, admin includes everything.
create or replace function dtsched.scopes_of(p_scopes text[]) returns text[]
language sql immutable parallel safe
as $$
    select case when 'admin' = any (p_scopes) then array['submit', 'read', 'read-args', 'operate', 'worker', 'admin']
                when p_scopes && array['operate', 'read-args'] and not 'read' = any (p_scopes) then p_scopes || array['read']
                else p_scopes end
$$;
