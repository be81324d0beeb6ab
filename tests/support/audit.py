"""`make audit`: what bandit says of our code, and what is known against the packages that requirements.lock pins (A20).

pip-audit says "no known vulnerabilities" also where nobody it asks knows of any at all: a mirror without advisories
answers 404 for each package, and that counts as nothing found. So a service is first asked about a release that is
known to be vulnerable, and only one that knows it is believed. Without such a one the audit says that it did not take
place; where not even a package index can be reached, it fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
CODE = ("dtsched", "schema", "workers")
SERVICES = ("osv", "pypi")
KNOWN_TO_BE_VULNERABLE = "urllib3==1.26.4"
"""CVE-2021-33503 and several after it."""


@dataclass(frozen=True)
class Answer:
    """Of a service: what it knows against which package, and which packages it could not be asked about."""

    known: dict[str, list[str]]
    skipped: list[str]
    asked: int


def main() -> int:
    code = check_code()
    service = next((service for service in SERVICES if knows_anything(service)), None)
    if service is not None:
        return check_packages(service) or code
    if not index_answers():
        print("audit: no service of advisories and no package index can be reached: run it where there is a network")
        return 1
    print(
        f"NOT AUDITED: {LOCK.name} was not compared with advisories: neither {' nor '.join(SERVICES)} can tell from "
        f"here what is known against {KNOWN_TO_BE_VULNERABLE}"
    )
    return code


def check_code() -> int:
    """Prints what bandit finds; how it ended."""
    return run("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", *CODE, show=True).returncode


def check_packages(service: str) -> int:
    answer = ask(service, LOCK, "--require-hashes")
    if answer is None:
        print(f"audit: {service} stopped answering: try again")
        return 1
    for name, advisories in answer.known.items():
        print(f"audit: {name}: {', '.join(advisories)}")
    if answer.skipped:
        print(f"audit: {service} knows nothing of: {', '.join(answer.skipped)}")
    print(f"audit: {answer.asked} packages of {LOCK.name} by {service}: {len(answer.known)} with known vulnerabilities")
    return 1 if answer.known or answer.skipped else 0


def knows_anything(service: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(KNOWN_TO_BE_VULNERABLE)
        answer = ask(service, requirements, "--no-deps")
        return answer is not None and bool(answer.known)


def ask(service: str, requirements: Path, *options: str) -> Answer | None:
    """None when nobody answers."""
    asked = ["--requirement", str(requirements), "--disable-pip", *options, "--vulnerability-service", service]
    ended = run("pip_audit", *asked, "--format", "json", "--progress-spinner", "off", "--timeout", "15")
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        return None
    known = {
        package["name"]: [found["id"] for found in package["vulns"]] for package in packages if package.get("vulns")
    }
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    return Answer(known, skipped, len(packages))


def index_answers() -> bool:
    """Whether pip finds itself where it looks for packages."""
    return run("pip", "index", "versions", "pip").returncode == 0


def run(module: str, *arguments: str, show: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, text=True, check=False, capture_output=not show
    )


if __name__ == "__main__":
    sys.exit(main())
