"""`dtsched torture`: a storm of faults over real processes, and a verdict from what all of them wrote down."""

import asyncio
import os
import time
from pathlib import Path
from random import SystemRandom

import click
from rich_click import RichCommand

from dtsched.cli.display import Display
from dtsched.cli.options import json_option
from dtsched.cli.output import print_json, say
from dtsched.cli.processes import termination_raises
from dtsched.errors import InvalidInput
from dtsched.torture import report
from dtsched.torture.behaviour import behaviour
from dtsched.torture.catalogue import chosen
from dtsched.torture.digests import digest
from dtsched.torture.plan import Mode, Plan
from dtsched.torture.report import left_out_in_words
from dtsched.torture.run import Order, carry_out
from dtsched.torture.verdict import Verdict, check


@click.command("torture", cls=RichCommand)
@click.option("--minutes", type=click.FloatRange(1, 24 * 60), default=10.0, show_default=True,
              help="How long. All faults find room in 45.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of the plan. Default: a fresh one, which is printed.")
@click.option("--faults", default="all", show_default=True, metavar="all|F01,F05", help="Those that may be planned.")
@click.option("--mode", type=click.Choice(["single", "storm"]), default="storm", show_default=True,
              help="Faults together, or one by one.")  # fmt: skip
@click.option("--workers", type=click.IntRange(2, 64), default=6, show_default=True, help="Worker processes.")
@click.option("--api", "apis", type=click.IntRange(1, 8), default=2, show_default=True, help="API processes.")
@click.option("--pg-bin", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="The programs of your own PostgreSQL. Default: those of dtsched[embedded].")  # fmt: skip
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Where everything is written down. Default: ./torture-SEED-TIME")  # fmt: skip
@click.option("--check-only", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Judge a run again that was kept there; nothing is started.")  # fmt: skip
@json_option
def torture_command(
    minutes: float,
    seed: int | None,
    faults: str,
    mode: Mode,
    workers: int,
    apis: int,
    pg_bin: Path | None,
    folder: Path | None,
    check_only: Path | None,
    as_json: bool,
) -> int:
    """Prove it under fire: real processes, faults by a plan, and a verdict.

    Starts a PostgreSQL server of its own, workers, API servers and submitters, breaks them by a plan drawn from the
    seed, and judges from what each process wrote down itself. The seed fixes the plan, not what the operating system
    makes of it. A database of yours is not touched.

    Root can inject what others cannot (a full disk; before PostgreSQL 17, a full notification queue), and
    two need the Debian packages pgbouncer and faketime. What cannot be injected, or finds no room in the minutes, is
    left out by name. Docs: docs/reliability.md.

    Exit code 0: everything held; 1: something was violated; 2: too little was met to say so.
    """
    if check_only is not None:
        return told(judged(kept(check_only)), check_only, as_json)
    if pg_bin is not None:
        require_programs(pg_bin)
    seed = SystemRandom().randrange(2**32) if seed is None else seed
    order = Order(
        seed=seed, minutes=minutes, mode=mode, workers=workers, apis=apis, bin_dir=pg_bin,
        faults=chosen(faults), folder=new_folder(folder, seed),
    )  # fmt: skip
    say(f"seed {seed}; all that happens is written down in {order.folder}")
    if (load := os.getloadavg()[0]) > (cores := os.cpu_count() or 1):
        say(f"this machine is busy (load {load:.0f} on {cores} cores): times that are measured will be the machine's")
    with termination_raises(), Display() as display:
        display.say("starting a server and the processes around it")
        asyncio.run(
            carry_out(
                order,
                lambda what, done, of: display.advance(what, round(done), round(of)),
                announce=lambda plan: announce(plan, display),
            )
        )
        display.say("judging")
        verdict = judged(order.folder)
    code = told(verdict, order.folder, as_json)
    say(f"kept in {order.folder}: verdict.json, junit.xml, history, tables and logs")
    return code


def announce(plan: Plan, display: Display) -> None:
    """What is going to happen, before it does: a run of a minute has room for few."""
    if not plan.windows:
        raise InvalidInput(
            f"none of these faults can be planned: {'; '.join(left_out_in_words(plan.left_out))}", field="faults"
        )
    planned = sorted({window.fault for window in plan.windows})
    display.say(f"{len(plan.windows)} strikes of {len(planned)} faults: {', '.join(planned)}")
    for line in left_out_in_words(plan.left_out):
        display.say(line)


def new_folder(folder: Path | None, seed: int) -> Path:
    folder = (folder or Path(f"torture-{seed}-{time.strftime('%Y%m%dT%H%M%S')}")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise InvalidInput(
            f"{folder} cannot be written to ({error.strerror}): name another folder", field="dir"
        ) from error
    if filled:
        raise InvalidInput(f"{folder} is not empty: name a new folder for what this run writes down", field="dir")
    return folder


def kept(folder: Path) -> Path:
    if not (folder / "plan.json").exists():
        raise InvalidInput(f"{folder} is no run of dtsched torture: there is no plan.json", field="check_only")
    return folder


def require_programs(bin_dir: Path) -> None:
    if missing := [name for name in ("initdb", "pg_ctl", "postgres") if not (bin_dir / name).exists()]:
        raise InvalidInput(
            f"there is no {' and no '.join(missing)} in {bin_dir}: name the folder of the server's programs, "
            "such as /usr/lib/postgresql/17/bin (pg_config --bindir tells)",
            field="pg_bin",
        )


def judged(folder: Path) -> Verdict:
    return check(folder, behaviour=behaviour, digest=digest)


def told(verdict: Verdict, folder: Path, as_json: bool) -> int:
    verdict.save(folder)
    print_json(verdict) if as_json else report.show(verdict)
    return verdict.exit_code
