"""`dtsched key`: a key is printed once, listed without what opens the API, and revoked by id or name."""

from __future__ import annotations

import re

from dtsched.api_keys import read_key
from tests.cli.conftest import Cli
from tests.conftest import Connect

KEY = re.compile(r"dts_[a-z0-9]{12}_[0-9a-f]{64}\n")


def test_a_key_is_printed_once_and_its_hash_is_what_is_kept(cli: Cli, connect: Connect) -> None:
    made = cli("key", "create", "ci", "--scope", "submit", "--scope", "read", "--queue", "mail", "--expires", "90d")
    assert made.code == 0
    assert KEY.fullmatch(made.out)
    presented = read_key(made.out.strip())
    assert presented
    assert presented.id in made.err
    secret = made.out.strip()[-64:]
    assert secret not in made.err
    kept = connect().execute(
        "select digest, expires_at - created_at = '90 days', to_jsonb(k)::text from dtsched.api_keys k"
    )
    ((digest, lasts, row),) = kept.fetchall()
    assert (digest, lasts) == (presented.digest, True)
    assert secret not in row
    assert secret not in cli("key", "list").out + cli("key", "list", "--json").out


def test_the_keys_are_listed_with_what_they_may_and_their_state(cli: Cli) -> None:
    cli("key", "create", "ci", "--scope", "submit", "--queue", "mail", "--queue", "fax")
    cli("key", "create", "admin", "--scope", "admin")
    cli("key", "revoke", "ci")
    keys = cli("key", "list", "--json").json
    assert [(key["name"], key["state"], key["scopes"], key["queues"]) for key in keys] == [
        ("admin", "active", ["admin"], None),
        ("ci", "revoked", ["submit"], ["fax", "mail"]),
    ]
    table = cli("key", "list").out.splitlines()
    assert table[0].split("\t")[:5] == ["id", "name", "state", "scopes", "queues"]
    assert table[1].split("\t")[1:5] == ["admin", "active", "admin", "all"]


def test_rotation_has_two_keys_and_no_third(cli: Cli) -> None:
    first = cli("key", "create", "ci", "--scope", "read", "--json").json
    assert first["key"].startswith(f"dts_{first['id']}_")
    assert cli("key", "create", "ci", "--scope", "read").code == 0
    third = cli("key", "create", "ci", "--scope", "read")
    assert (third.code, third.out) == (4, "")
    assert f"the oldest is {first['id']}" in third.err
    assert cli("key", "revoke", first["id"]).code == 0
    assert cli("key", "create", "ci", "--scope", "read").code == 0


def test_what_cannot_be_is_refused_before_the_database_is_asked(bare_cli: Cli) -> None:
    for arguments in (
        ["a b", "--scope", "read"],
        ["ci"],
        ["ci", "--scope", "root"],
        ["ci", "--scope", "read", "--queue", "a b"],
        ["ci", "--scope", "read", "--expires", "soon"],
        ["ci", "--scope", "read", "--expires", "0"],
        ["ci", "--scope", "read", "--expires", "3661d"],
    ):
        assert bare_cli("key", "create", *arguments).code == 2, arguments


def test_a_key_that_is_not_there_cannot_be_revoked(cli: Cli) -> None:
    ended = cli("key", "revoke", "nobody")
    assert (ended.code, ended.out) == (3, "")
    assert 'there is no key "nobody"' in ended.err
