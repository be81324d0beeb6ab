"""A14: whoever may make temporary objects, and others in a schema of its own, makes the functions of dtsched run
nothing of its own. Each function, operator, table and type that ours could mean is made a second time, where the
caller's search_path finds it first; what is run of that with other rights than its maker's tells so.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Generator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.sql.sessions import Worker

# Functions, operators and types of PostgreSQL's own that ours use, and all of ours, again: each does what it is named
# for, and tells when it runs as somebody else.
DECOYS = """
do $decoys$
declare
    c_words constant text[] := array(
        select distinct word[1] from pg_proc, regexp_matches(prosrc, '[a-z_][a-z_0-9]*', 'g') word
        where pronamespace = 'dtsched'::regnamespace);
    v_statement text;
    v_made integer := 0;
begin
    for v_statement in
        select format('create function %s.%I(%s) returns %s%s language plpgsql as %L', place.name, proname,
            (select string_agg(format_type(argument, null), ', ' order by n)
             from unnest(proargtypes::oid[]) with ordinality as argument (argument, n)),
            case when proretset then 'setof ' end, format_type(prorettype, null),
            format('begin perform own.tell(%L); return%s; end', proname,
                case when proretset or prorettype = 'void'::regtype then ''
                    else format(' %I.%I(%s)', nspname, proname,
                        (select string_agg('$' || n, ', ' order by n) from generate_series(1, pronargs) n)) end))
        from (values ('own'), ('pg_temp')) as place (name)
        cross join pg_proc
        join pg_namespace on pg_namespace.oid = pronamespace
        where prokind = 'f' and proname = any (c_words) and not proisstrict is null
            and (nspname = 'pg_catalog' and provariadic = 0 or nspname = 'dtsched')
            and prorettype <> 'trigger'::regtype
        union all
        select format('create function own.%I(%s) returns %s language plpgsql as %L', 'op_' || pg_operator.oid,
                concat_ws(', ', nullif(format_type(oprleft, null), '-'), format_type(oprright, null)),
                format_type(oprresult, null),
                format('begin perform own.tell(%L); return %s operator(pg_catalog.%s) %s; end', 'operator ' || oprname,
                       case when oprleft = 0 then '' else '$1' end, oprname,
                       case when oprleft = 0 then '$1' else '$2' end))
            || format('; create operator own.%s (%s rightarg = %s, function = own.%I)', oprname,
                case when oprleft = 0 then '' else format('leftarg = %s,', format_type(oprleft, null)) end,
                format_type(oprright, null), 'op_' || pg_operator.oid)
        from pg_operator
        where oprnamespace = 'pg_catalog'::regnamespace
            and (oprleft = 0 or format_type(oprleft, null) = any (%(types)s))
            and format_type(oprright, null) = any (%(types)s)
        union all
        select format('create domain %s.%I as text check (own.tell(%L))', place.name, typname, 'type ' || typname)
        from (values ('own'), ('pg_temp')) as place (name)
        cross join pg_type
        where typnamespace = 'dtsched'::regnamespace and typtype = 'd'
            or typnamespace = 'pg_catalog'::regnamespace and typtype = 'b' and typname = any (c_words)
        union all
        select format('create table %s.%I (id bigint check (own.tell(%L)))', place.name, relname, 'table ' || relname)
        from (values ('own'), ('pg_temp')) as place (name)
        cross join pg_class
        where relnamespace = 'dtsched'::regnamespace and relkind in ('r', 'p')
            or relnamespace = 'pg_catalog'::regnamespace and relname = any (c_words)
    loop
        begin
            execute v_statement;
            v_made := v_made + 1;
        exception
            when others then null;  -- what takes or returns what plpgsql cannot
        end;
    end loop;
    perform set_config('own.decoys', v_made::text, false);
end $decoys$
"""
TYPES = [
    "bigint", "integer", "smallint", "text", "name", "boolean", "uuid", "jsonb", "interval", "timestamp with time zone",
    "double precision", "numeric", "bytea", "oid", "xid8", "bigint[]", "text[]",
]  # fmt: skip


class Mallory:
    """May call every function of dtsched, and insert; has made decoys of all that it can, and has them found first."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=5s")
        self.told: list[str] = []
        self.connection.add_notice_handler(lambda notice: self.told.append(notice.message_primary or ""))
        self.name = f"mallory_{time.monotonic_ns()}"

    def arrive(self) -> int:
        """How many decoys there are."""
        me = sql.Identifier(self.name)
        for statement in (
            sql.SQL("create role {}").format(me),
            sql.SQL("grant dtsched_submit, dtsched_worker, dtsched_operator, dtsched_api to {}").format(me),
            sql.SQL("grant usage on schema dtsched to {}").format(me),
            sql.SQL("grant execute on all functions in schema dtsched to {}").format(me),
            sql.SQL("create schema own authorization {}").format(me),
            sql.SQL("set session authorization {}").format(me),
        ):
            self.connection.execute(statement)
        self.connection.execute("""
            create function own.tell(what text) returns boolean language plpgsql set search_path = pg_catalog as $$
            begin
                if current_user <> session_user then
                    raise warning 'hijacked: % ran as %', what, current_user;
                end if;
                return true;
            end $$
            """)
        types = "array[" + ", ".join(f"'{name}'" for name in TYPES) + "]"
        self.connection.execute(DECOYS.replace("%(types)s", types).encode())
        (made,) = self.connection.execute("select current_setting('own.decoys')::integer").fetchone() or (0,)
        self.connection.execute("set search_path = pg_temp, own, pg_catalog")
        self.told.clear()
        return made

    def leave(self) -> None:
        self.connection.execute("reset session authorization")
        self.connection.execute("set search_path = pg_catalog")
        self.connection.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(self.name)))
        self.connection.execute(sql.SQL("drop role {}").format(sql.Identifier(self.name)))
        self.connection.close()

    def call(self, statement: str, *values: object) -> None:
        """Whatever comes of it."""
        with contextlib.suppress(psycopg.Error), self.connection.transaction():
            self.connection.execute(statement.encode(), values or None)


@pytest.fixture
def mallory(database: str) -> Generator[Mallory]:
    mallory = Mallory(database)
    yield mallory
    mallory.leave()


def plausible(argument: str, worker: UUID) -> list[Any]:
    """Values for an argument of this type that get a function a good way, job 1 and lease 1 among them."""
    known: dict[str, list[Any]] = {
        "uuid": [str(worker)],
        "int8": [1, 2],
        "int4": [10],
        "int2": [5],
        "bool": [True, False],
        "text": ["default", "cancel"],
        "_int8": ["{1,2,3}"],
        "_int4": ["{0}"],
        "_text": ["{default}"],
        "interval": ["1 hour"],
        "float8": [1.5],
        "timestamptz": ["2020-01-01"],
        "_timestamptz": ["{2020-01-01}"],
        "bytea": ["x" * 32],
        "jsonb": ["{}", '[{"task": "echo", "lease": 1, "outcome": "retry"}]', '{"state": "ready", "limit": 3}'],
    }
    return known.get(argument, [None])


def every_call(worker: Worker) -> Generator[tuple[str, list[Any]]]:
    """Of each function with its owner's rights: with nothing but nulls, and with what makes sense."""
    functions = worker.rows("""
        select proname::text, array(select typname::text
                                    from unnest(proargtypes::oid[]) with ordinality as argument (oid, n)
                                    join pg_type on pg_type.oid = argument.oid order by n)
        from pg_proc
        where pronamespace = 'dtsched'::regnamespace and prosecdef and prorettype <> 'trigger'::regtype
        order by proname
        """)
    assert len(functions) > 100
    for name, arguments in functions:
        places = ", ".join(f'%s::pg_catalog."{argument}"' for argument in arguments)
        statement = f'select * from dtsched."{name}"({places})'
        yield statement, [None] * len(arguments)
        choices = [plausible(argument, worker.id) for argument in arguments]
        for values in itertools.islice(itertools.product(*choices), 8):
            yield statement, list(values)


STORY: tuple[LiteralString, ...] = (
    "insert into dtsched.jobs (task, key, limit_key, tags, timeout) values ('echo', 'k', 'l', '{a}', '1 min')",
    "insert into dtsched.jobs (task, run_at) values ('echo', '2100-01-01')",
    "insert into dtsched.jobs (task, depends_on, on_parent_failure) values ('echo', '{1}', 'run')",
    "insert into dtsched.jobs (task, deadline) values ('echo', '2100-01-01')",
    "select dtsched.submit('echo', key => 'k', on_conflict => 'replace', delay => '1 hour', tags => '{b}')",
    """select dtsched.submit_alike('{"task": "echo", "delay": 1, "limit_key": "l"}', '[{}, {}]')""",
    """select dtsched.submit_many('[{"task": "echo", "key": "m", "key_for": 60}, {"task": "a", "depends_on": [1]}]')""",
    """select dtsched.save_schedule('s', '{"spec": "* * * * *", "task": "echo"}')""",
    "select dtsched.emit('e', '{}')",
)


def test_a14_no_function_runs_what_its_caller_has_made(mallory: Mallory, worker: Worker) -> None:
    worker.insert(3)
    assert mallory.arrive() > 1000
    for statement in STORY:
        mallory.call(statement)
    worker.claim()
    made = 0
    for statement, values in every_call(worker):
        mallory.call(statement, *values)
        made += 1
    assert made > 300
    assert [told for told in mallory.told if told.startswith("hijacked")] == []


@pytest.mark.parametrize(
    "body",
    [
        "select upper('a'), '1'::bigint operator(pg_catalog.=) 2",
        "select '1'::bigint = '2'::bigint",
        "select 'a'::name",
        "insert into ready values (1)",
    ],
)
def test_a14_the_decoys_are_met_by_a_function_that_does_not_pin_its_path(mallory: Mallory, body: str) -> None:
    mallory.connection.execute(
        f"create function dtsched.careless() returns void language plpgsql security definer as $$ begin "
        f"{body.replace('select', 'perform', 1)}; end $$".encode()
    )
    mallory.arrive()
    mallory.call("select dtsched.careless()")
    assert [told for told in mallory.told if told.startswith("hijacked")]
