"""What a run has shown: all invariants, the exposures of each fault, and what had to happen sometimes. Made from the
files of a run alone, so that a kept one can be judged again.

A violation is one, whatever else was missing. Without any, a run is inconclusive where a planned fault had too few
exposures or could not be injected, or where something that had to happen sometimes did not.
"""

from pathlib import Path
from typing import Literal
from xml.etree import ElementTree  # nothing is parsed  # nosec B405

import msgspec
from msgspec import Struct

from dtsched.torture.checker.exposures import ENOUGH, Exposed, exposures
from dtsched.torture.checker.findings import Finding
from dtsched.torture.checker.invariants import INVARIANTS
from dtsched.torture.checker.run import Behaviour, Digest, Run
from dtsched.torture.checker.sometimes import Sometimes, sometimes

Result = Literal["PASS", "VIOLATION", "INCONCLUSIVE"]
EXIT_CODES: dict[Result, int] = {"PASS": 0, "VIOLATION": 1, "INCONCLUSIVE": 2}


class Verdict(Struct, frozen=True, kw_only=True):
    """`left_out` says of each fault that was asked for and not planned, why; `missing` what keeps the run from being
    conclusive."""

    result: Result
    seed: int
    mode: str
    seconds: float
    postgres: str | None
    jobs: int
    attempts: int
    injected: int
    invariants: list[Finding]
    faults: list[Exposed]
    sometimes: list[Sometimes]
    missing: list[str]
    left_out: dict[str, str]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.result]

    def save(self, folder: Path) -> None:
        """DIR/verdict.json and DIR/junit.xml."""
        (folder / "verdict.json").write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        (folder / "junit.xml").write_bytes(junit(self))


def check(folder: Path, *, behaviour: Behaviour | None = None, digest: Digest | None = None) -> Verdict:
    """Judges a run from its files. Raises InvalidInput where they are not all there, or cannot be read."""
    return judge(Run.load(folder, behaviour=behaviour, digest=digest))


def judge(run: Run) -> Verdict:
    findings = [invariant(run) for invariant in INVARIANTS]
    exposed = exposures(run, findings)
    happened = sometimes(run)
    missing = [
        *(
            f"{one.fault}: {one.exposed} exposures of {ENOUGH}"
            for one in exposed
            if one.planned and not one.is_conclusive
        ),
        *(f"{one.what}: {one.seen} times of {one.wanted}" for one in happened if not one.is_met),
    ]
    violated = any(finding.violated for finding in findings)
    records = run.records
    return Verdict(
        result="VIOLATION" if violated else "INCONCLUSIVE" if missing else "PASS",
        seed=run.plan.seed,
        mode=run.plan.mode,
        seconds=(records[-1].ns - records[0].ns) / 1e9 if records else 0.0,
        postgres=None if run.state.server is None else run.state.server.version,
        jobs=len(run.state.jobs),
        attempts=len(run.leases),
        injected=sum(one.injected for one in exposed),
        invariants=findings,
        faults=exposed,
        sometimes=happened,
        missing=missing,
        left_out=run.plan.left_out,
    )


def verdict_of(finding: Finding) -> str:
    """Of one invariant: what nothing was written down about was not checked."""
    return "VIOLATION" if finding.violated else "PASS" if finding.checked else "-"


def junit(verdict: Verdict) -> bytes:
    """A case for each invariant, fault and sometimes; what is inconclusive is skipped, with its reason."""
    suite = ElementTree.Element("testsuite", name="dtsched torture", time=f"{verdict.seconds:.0f}")

    def case(group: str, name: str, *, failure: str | None = None, skipped: str | None = None) -> None:
        element = ElementTree.SubElement(suite, "testcase", classname=f"torture.{group}", name=name)
        if failure is not None:
            ElementTree.SubElement(element, "failure", message=failure.partition("\n")[0]).text = failure
        elif skipped is not None:
            ElementTree.SubElement(element, "skipped", message=skipped)

    for finding in verdict.invariants:
        lines = [f"job {one.job} key {one.key}: {one.what}" for one in finding.violations]
        failure = "\n".join([f"{finding.violated} violations of {finding.checked} checked", *lines])
        skipped = None if finding.checked else "nothing to check"
        case(
            "invariants",
            f"{finding.name} {finding.meaning}",
            failure=failure if finding.violated else None,
            skipped=skipped,
        )
    for fault in verdict.faults:
        skipped = None if fault.is_conclusive else f"{fault.exposed} exposures of {ENOUGH}"
        case("faults", fault.fault, failure=f"{fault.lost} jobs were lost" if fault.lost else None, skipped=skipped)
    for one in verdict.sometimes:
        case("sometimes", one.what, skipped=None if one.is_met else f"{one.seen} times of {one.wanted} ({one.because})")
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(one.find("failure") is not None for one in cases)))
    suite.set("skipped", str(sum(one.find("skipped") is not None for one in cases)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
