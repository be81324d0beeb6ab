"""`dtsched operation`: operations are looked at and cancelled."""

from psycopg.types.json import Jsonb

from tests.cli.conftest import Cli
from tests.conftest import Connect


def create(connect: Connect, action: str = "cancel") -> int:
    row = connect().execute("select dtsched.create_operation(%s, %s)", [action, Jsonb({"queue": "mail"})]).fetchone()
    assert row is not None
    return row[0]


def test_operations_are_listed_shown_and_cancelled(cli: Cli, connect: Connect) -> None:
    cli("submit", "echo", "--queue", "mail")
    done, waiting = create(connect), create(connect, "delete")
    connect().execute("select dtsched.step_operation()")
    head, *lines = (line.split("\t") for line in cli("operation", "list").out.splitlines())
    assert [dict(zip(head, line, strict=True)) | {"created": ""} for line in lines] == [
        {"id": f"{one}", "action": action, "state": state, "progress": progress, "jobs": met,
         "filter": '{"queue": "mail"}', "by": "", "created": ""}
        for one, action, state, progress, met in (
            (waiting, "delete", "pending", "0%", "0"), (done, "cancel", "completed", "100%", "1"))
    ]  # fmt: skip
    shown = cli("operation", "show", f"{done}").out
    assert ("cancelled    1\n" in shown, "state        completed\n" in shown) == (True, True)
    assert cli("operation", "show", f"{done}", "--json").json["outcomes"] == {"cancelled": 1}
    cancelled = cli("operation", "cancel", f"{waiting}")
    assert (cancelled.code, cancelled.err) == (0, f"operation {waiting} is cancelled; it has met 0 jobs\n")


def test_what_is_not_there_is_3_and_what_is_over_4(cli: Cli, connect: Connect) -> None:
    for verb in ("show", "cancel"):
        ended = cli("operation", verb, "7")
        assert (ended.code, ended.err) == (3, "dtsched: there is no operation 7\n")
    over = create(connect)
    cli("operation", "cancel", f"{over}")
    ended = cli("operation", "cancel", f"{over}")
    assert (ended.code, ended.err) == (4, f"dtsched: operation {over} is over: it is cancelled\n")
