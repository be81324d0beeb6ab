-- Half of a number; of an odd one, rounded up every other time.
create or replace function dtsched.half(p_number integer) returns integer
language sql volatile
as $$ select (p_number + (random() < 0.5)::integer) / 2 $$;
