"""API keys in SQL: who is let in, to what, and what is kept of a key."""

from __future__ import annotations

import re
from hashlib import sha256

import psycopg
import pytest

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session

ID = "abcdefghij01"
SECRET = b"5" * 64
OTHER = b"6" * 64

AUTHORIZE = "select verdict, name, scopes, queues from dtsched.authorize(%s, %s, %s, %s, %s, %s, %s)"


def create(
    session: Session,
    scopes: str = "{read}",
    queues: str | None = None,
    *,
    id: str = ID,
    name: str = "ci",
    lasts: str | None = None,
) -> None:
    session.run(
        "select from dtsched.create_key(%s, %s, %s, %s, %s, %s)",
        *(id, name, sha256(SECRET).digest(), scopes, queues, lasts),
    )


def verdict(
    session: Session,
    scope: str = "read",
    *,
    id: str | None = ID,
    secret: bytes = SECRET,
    queue: str | None = None,
    job: int | None = None,
    whole: bool = False,
    keyless: bool = False,
) -> str:
    digest = None if id is None else sha256(secret).digest()
    ((said, *_),) = session.rows(AUTHORIZE, id, digest, scope, queue, job, whole, keyless)
    return said


def test_a_key_lets_in_who_has_its_secret_and_tells_whom_it_stands_for(session: Session):
    create(session, "{submit,read}", "{mail,sms}")
    assert session.rows(AUTHORIZE, ID, sha256(SECRET).digest(), "read", "mail", None, False, False) == [
        ("ok", "ci", ["read", "submit"], ["mail", "sms"])
    ]
    assert session.rows(AUTHORIZE, ID, sha256(OTHER).digest(), "read", "mail", None, False, False) == [
        ("unknown", None, [], [])
    ]


def test_whoever_is_not_let_in_is_not_told_why(session: Session):
    create(session, lasts="1 hour")
    create(session, id="abcdefghij02", name="gone")
    session.run("select from dtsched.revoke_key('gone')")
    answers = {
        verdict(session, id="abcdefghij99"),
        verdict(session, secret=OTHER),
        verdict(session, id="abcdefghij02"),
        verdict(session, id=None),
        verdict(session, id=None, keyless=True),
        session.rows(AUTHORIZE, ID, None, "read", None, None, False, True)[0][0],
    }
    session.run("update dtsched.api_keys set expires_at = dtsched.now() where id = %s", ID)
    assert answers | {verdict(session)} == {"unknown"}


def test_a_key_ends_exactly_when_it_expires(session: Session):
    create(session, lasts="1 hour")
    session.run(
        "create or replace function dtsched.now() returns timestamptz language sql"
        " as $$ select '2030-01-01 10:00Z'::timestamptz $$"
    )
    for left, said in (("1 microsecond", "ok"), ("0", "unknown"), ("-1 microsecond", "unknown")):
        session.run("update dtsched.api_keys set expires_at = '2030-01-01 10:00Z'::timestamptz + %s::interval", left)
        assert verdict(session) == said


def test_a_key_lasts_from_the_moment_kept_as_its_creation(session: Session):
    session.run("create sequence public.readings")
    session.run(
        "create or replace function dtsched.now() returns timestamptz language sql volatile security definer"
        " as $$ select '2030-01-01 10:00Z'::timestamptz + make_interval(secs => nextval('public.readings')) $$"
    )
    create(session, lasts="90 days")
    assert session.value("select expires_at - created_at = '90 days' from dtsched.api_keys")


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ("submit", {"submit"}),
        ("read", {"read"}),
        ("read-args", {"read", "read-args"}),
        ("operate", {"operate", "read"}),
        ("worker", {"worker"}),
        ("admin", {"submit", "read", "read-args", "operate", "worker", "admin"}),
    ],
)
def test_a_scope_lets_do_what_it_says_and_includes(session: Session, given: str, may: set[str]):
    create(session, f"{{{given}}}")
    for scope in ("submit", "read", "read-args", "operate", "worker", "admin"):
        assert verdict(session, scope) == ("ok" if scope in may else "scope")


def test_a_key_for_some_queues_is_for_their_jobs_and_nothing_else(session: Session):
    create(session, "{admin}", "{mail}")
    mine, other = (session.value("select dtsched.submit('echo', queue => %s)", queue) for queue in ("mail", "sms"))
    assert verdict(session, job=mine) == verdict(session, queue="mail") == verdict(session) == "ok"
    assert verdict(session, job=other) == verdict(session, job=10**17) == "missing"
    assert verdict(session, queue="sms") == "queue"
    assert verdict(session, whole=True) == "whole"


def test_a_key_without_the_scope_learns_nothing_of_jobs_and_queues(session: Session):
    create(session, "{submit}", "{mail}")
    mine = session.value("select dtsched.submit('echo', queue => 'mail')")
    assert verdict(session, job=mine) == verdict(session, job=10**17) == verdict(session, queue="sms") == "scope"


def test_a_key_for_all_queues_is_not_asked_about_jobs(session: Session):
    create(session)
    assert verdict(session, job=10**17) == verdict(session, whole=True) == "ok"


def test_without_any_key_everybody_may_where_the_server_says_so(session: Session):
    assert verdict(session, "admin", id=None, whole=True, keyless=True) == "ok"
    assert verdict(session, id=None) == "unknown"
    assert verdict(session, keyless=True) == "unknown"


def test_one_key_ends_it_for_everybody_without_one_also_when_it_is_revoked(session: Session):
    create(session)
    assert verdict(session, id=None, keyless=True) == "unknown"
    session.run("select from dtsched.revoke_key(%s)", ID)
    assert verdict(session, id=None, keyless=True) == "unknown"


def test_a_name_has_two_active_keys_and_a_third_is_refused_in_a_sentence(session: Session):
    create(session, id="abcdefghij01")
    create(session, id="abcdefghij02")
    create(session, id="abcdefghij03", name="other")
    refused = '"ci" has 2 active keys already: revoke one of them first, the oldest is abcdefghij01'
    with pytest.raises(psycopg.Error, match=refused) as error:
        create(session, id="abcdefghij04")
    assert error.value.sqlstate == "JQ003"
    session.run("select from dtsched.revoke_key('abcdefghij01')")
    create(session, id="abcdefghij04")
    session.run("update dtsched.api_keys set expires_at = dtsched.now() where id = 'abcdefghij02'")
    create(session, id="abcdefghij05")
    assert session.rows("select id, state from dtsched.list_keys() where name = 'ci'") == [
        ("abcdefghij01", "revoked"),
        ("abcdefghij02", "expired"),
        ("abcdefghij04", "active"),
        ("abcdefghij05", "active"),
    ]


def test_of_two_that_make_the_second_key_at_once_one_waits_and_is_refused(session: Session, open_session: OpenSession):
    create(session, id="abcdefghij01")
    other = open_session()
    other.run("set lock_timeout = '50 ms'")
    session.run("begin")
    create(session, id="abcdefghij02")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        create(other, id="abcdefghij03")
    session.run("commit")
    with pytest.raises(psycopg.Error, match="2 active keys"):
        create(other, id="abcdefghij03")


def test_revoking_by_name_ends_all_keys_of_it_and_keeps_when_each_ended(session: Session):
    create(session, id="abcdefghij01")
    create(session, id="abcdefghij02")
    session.run("select from dtsched.revoke_key('abcdefghij01')")
    (first,) = session.column("select revoked_at from dtsched.api_keys where revoked_at is not null")
    assert session.column("select id from dtsched.revoke_key('ci')") == ["abcdefghij01", "abcdefghij02"]
    assert session.column("select state from dtsched.list_keys()") == ["revoked", "revoked"]
    assert session.value("select revoked_at from dtsched.api_keys where id = 'abcdefghij01'") == first
    with pytest.raises(psycopg.Error, match='there is no key "nobody"') as error:
        session.run("select from dtsched.revoke_key('nobody')")
    assert error.value.sqlstate == "JQ004"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (("short", "ci", b"", "{read}", None, None), "id must be 12 characters"),
        ((ID, "a b", sha256(SECRET).digest(), "{read}", None, None), "name must be 1 to 128 characters"),
        ((ID, None, sha256(SECRET).digest(), "{read}", None, None), "name must be .* not null"),
        ((ID, "ci", SECRET, "{read}", None, None), "digest must be the 32 bytes"),
        ((ID, "ci", sha256(SECRET).digest(), "{}", None, None), "scopes must be some of"),
        ((ID, "ci", sha256(SECRET).digest(), None, None, None), "scopes must be some of"),
        ((ID, "ci", sha256(SECRET).digest(), "{read,root}", None, None), 'scopes must be some of .* not "root"'),
        ((ID, "ci", sha256(SECRET).digest(), "{read,null}", None, None), "scopes must be some of .* not null"),
        ((ID, "ci", sha256(SECRET).digest(), "{read}", "{}", None), "queues must be 1 to 100 names"),
        ((ID, "ci", sha256(SECRET).digest(), "{read}", "{a b}", None), 'queues must be names .* not "a b"'),
        ((ID, "ci", sha256(SECRET).digest(), "{read}", "{mail,null}", None), "queues must be names .* not null"),
        ((ID, "ci", sha256(SECRET).digest(), "{read}", None, "0"), "expires_in must be over 0"),
        ((ID, "ci", sha256(SECRET).digest(), "{read}", None, "3661 days"), "expires_in must be over 0"),
    ],
)
def test_what_cannot_be_a_key_is_refused_in_a_sentence(session: Session, parameters: tuple[object, ...], said: str):
    with pytest.raises(psycopg.Error, match=said) as error:
        session.run("select from dtsched.create_key(%s, %s, %s, %s::text[], %s::text[], %s::interval)", *parameters)
    assert error.value.sqlstate == "JQ001"
    assert session.column("select id from dtsched.api_keys") == []


def test_the_use_of_a_key_is_noted_once_a_minute_and_nobody_waits_for_that(session: Session, open_session: OpenSession):
    create(session)
    other = open_session()
    other.run("set lock_timeout = '50 ms'")
    session.run("begin")
    session.run("select from dtsched.api_keys for update")
    assert verdict(other) == "ok"
    session.run("rollback")
    assert session.value("select last_used_at from dtsched.api_keys") is None
    assert verdict(session) == "ok"
    session.run("update dtsched.api_keys set last_used_at = last_used_at - interval '59 seconds'")
    before = session.value("select last_used_at from dtsched.api_keys")
    assert verdict(session) == "ok"
    assert session.value("select last_used_at from dtsched.api_keys") == before
    session.run("update dtsched.api_keys set last_used_at = last_used_at - interval '1 second'")
    assert verdict(session, "admin") == "scope"
    assert session.value("select last_used_at from dtsched.api_keys") > before


def test_a_wrong_secret_is_no_use_of_the_key(session: Session):
    create(session)
    assert verdict(session, secret=OTHER) == "unknown"
    assert session.value("select last_used_at from dtsched.api_keys") is None


def test_nobody_but_the_owner_makes_sees_or_ends_keys(session: Session, open_session: OpenSession):
    create(session)
    for role in ("dtsched_submit", "dtsched_worker", "dtsched_reader", "dtsched_operator", "dtsched_api"):
        other = open_session()
        other.run("select set_config('role', %s, false)", role)
        for statement in (
            "select * from dtsched.api_keys",
            "select * from dtsched.list_keys()",
            "select dtsched.revoke_key('ci')",
            "select dtsched.create_key('abcdefghij02', 'x', '', '{read}')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.run(statement)


def test_digests_are_compared_under_a_new_salt_and_nowhere_else(session: Session):
    """Otherwise how long a refusal takes would tell how much of a digest was right."""
    source = session.value("select prosrc from pg_proc where proname = 'authorize'")
    assert re.findall(r".*digest.* = .*", source) == [
        "    if sha256(c_salt || coalesce(v_key.digest, sha256(''))) = sha256(c_salt || coalesce(p_digest, ''))"
    ]
    assert "c_salt constant bytea := uuid_send(gen_random_uuid());" in source
