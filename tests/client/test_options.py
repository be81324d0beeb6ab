"""What a submission may say of itself in Python, and how what it cannot be is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from dtsched import App, InvalidInput, Options, Parent, Retry, Snooze
from dtsched.connections import parse_dsn
from dtsched.jobs import check

app = App("postgresql://nobody@127.0.0.1:1/nowhere")


@app.task(retry=Retry(3, base="4s"))
async def send(to: str) -> None: ...


def job_of(**options: Any) -> Any:
    return check(send.options(**options).new_job(["a"], {}, depends_on=options.get("depends_on", ())))


def test_durations_may_be_timedeltas() -> None:
    minute = timedelta(minutes=1)
    job = job_of(delay=minute, timeout=minute, expires_in=minute, key="k", key_for=minute)
    assert (job.delay, job.timeout, job.expires_in, job.key_for) == (60.0, 60.0, 60.0, 60.0)
    assert (Snooze(minute).delay, Retry(after=minute).after, Retry(base=minute).policy["base"]) == (60.0, 60.0, 60.0)


def test_a_task_may_say_them_as_timedeltas_too() -> None:
    @App().task(timeout=timedelta(minutes=1), unique="args", key_for=timedelta(minutes=2))
    def task(of: int) -> None: ...

    assert (task.definition.timeout, task.definition.key_for) == (60.0, 120.0)


@pytest.mark.parametrize("name", ["delay", "timeout", "expires_in"])
def test_a_negative_timedelta_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name} must be a finite number of seconds from 0 on, not -5\.0$"):
        job_of(**{name: timedelta(seconds=-5)})


def test_a_submission_may_have_a_backoff_of_its_own() -> None:
    assert job_of(backoff={"kind": "fixed", "base": 10}).backoff == {"kind": "fixed", "base": 10}
    assert job_of().backoff["base"] == 4.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"countdown": 3}, "there is no option 'countdown': known are delay, at, queue, "),
        ({"tags": "abc"}, "tags must be a list of strings, not 'abc'"),
        ({"depends_on": "k"}, "depends_on must be a list of handles, ids and keys of jobs, not 'k'"),
        ({"depends_on": 17}, "depends_on must be a list of handles, ids and keys of jobs, not 17"),
        ({"on_parent_failure": "maybe"}, "on_parent_failure must be cancel, run or skip, not 'maybe'"),
        ({"backoff": {"kind": "cubic"}}, "backoff must be an object of kind (fixed, linear or exponential), base"),
        ({"backoff": "fixed"}, "backoff is of a wrong type: expected `object | null`, got `str`"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(options: Mapping[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        job_of(**options)
    assert str(refused.value).startswith(says)


def test_a_policy_that_no_parent_can_have_is_refused_where_it_is_said() -> None:
    with pytest.raises(InvalidInput, match="on_failure must be cancel, run or skip, not 'maybe'"):
        Parent(1, on_failure=cast("Any", "maybe"))


def test_classes_of_errors_are_not_named_by_strings() -> None:
    with pytest.raises(InvalidInput, match="on must be classes of exceptions, not 'OSError'"):
        Retry(on=cast("Any", "OSError"))


def test_a_number_is_no_policy_of_retries() -> None:
    with pytest.raises(InvalidInput, match=r"task task: retry must be like Retry\(5\), not 5"):

        @App().task(retry=cast("Any", 5))
        def task() -> None: ...


def test_an_option_that_no_task_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="a task has no option 'queu': known are name, queue, priority, retry"):
        App().task(**cast("Any", {"queu": "mail"}))


def test_a_client_does_not_start_an_embedded_database() -> None:
    with pytest.raises(InvalidInput, match=r'only App\("embedded"\) and the command line start an embedded database'):
        parse_dsn("embedded")


def test_options_of_one_of_many_say_their_backoff_too() -> None:
    made = send._new_job_of(({"to": "a"}, Options(backoff={"kind": "fixed"})))  # pyright: ignore[reportPrivateUsage]
    assert made.backoff == {"kind": "fixed"}
