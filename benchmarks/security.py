#!/usr/bin/env python3
"""Ask outside auditors about a whole server of each Debian, and write what they say into docs/security.md.

    make setup && .venv/bin/python benchmarks/security.py [--only lynis] [--image debian13] [--write]

A server of the test bed per Debian gets a site with nginx, gunicorn, PostgreSQL and Redis from site.yml, which then runs
once more and has to change nothing. The auditors are the packages of that Debian, and of PyPI where it has none.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from servers import Server, bed, project  # noqa: E402

PAGE = ROOT / "docs/security.md"
MARK = "<!-- table: made by benchmarks/security.py -->"
HOST = "plain.example.com"
APT = "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; apt-get -qq -y install --no-install-recommends"
UVX = [str(ROOT / ".cache/uv/bin/uv"), "tool", "run", "--quiet"]
GIVEN = re.compile(
    r"assigned (?:partial|maximum) number of hardening points(?: for this item)? \((\d+)(?: of (\d+))?\)"
)


def tool(*argv: str) -> str:
    """What a program of PyPI prints, whatever its exit code."""
    done = subprocess.run([*UVX, *argv], text=True, capture_output=True, check=False, cwd="/", timeout=300)
    if not done.stdout:
        sys.exit(f"{' '.join(argv)}: {done.stderr[-2000:]}")
    return done.stdout


def lynis(server: Server) -> str:
    """The index, what it is made of, and the tests that give fewer points than they could."""
    server.run("systemctl start webstack-integrity.service")  # its timer has not come yet
    server.run(f"{APT} lynis >/dev/null 2>&1")
    server.run("timeout 600 lynis audit system --quick --no-colors --quiet >/dev/null 2>&1", check=False)
    report = server.run("cat /var/log/lynis-report.dat")
    found = dict(re.findall(r"^(hardening_index|lynis_version)=(.*)$", report, re.MULTILINE))
    lost: dict[str, int] = {}
    test, got, most = "", 0, 0
    for line in server.run("cat /var/log/lynis.log").splitlines():
        test = line.partition("Performing test ID ")[2].split(" ")[0] or test
        if points := GIVEN.search(line):
            got += int(points[1])
            most += int(points[2] or points[1])
            lost[test] = lost.get(test, 0) + int(points[2] or points[1]) - int(points[1])
    missing = ", ".join(f"{name} {count}" for name, count in sorted(lost.items(), key=lambda one: -one[1]) if count)
    return f"{found['hardening_index']} ({got} of {most} points, lynis {found['lynis_version']}); not given: {missing}"


def gixy(server: Server) -> str:
    """Findings above informational."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(server.run("nginx -T 2>/dev/null"))
        file.flush()
        found = json.loads(tool("--from", "gixy-ng", "gixy", "-f", "json", file.name))
    worse = {
        f"{one['plugin']} ({one['severity'].lower()})" for one in found if one["severity"] in ("LOW", "MEDIUM", "HIGH")
    }
    return ", ".join(sorted(worse)) or "nothing above informational"


def django(server: Server) -> str:
    """Its last line."""
    said = server.run("webstack-manage plain check --deploy --fail-level WARNING 2>&1", check=False)
    return str(said.strip().splitlines()[-1])


AUDITORS: dict[str, tuple[str, Callable[[Server], str]]] = {
    "lynis": ("`lynis audit system --quick`", lynis),
    "gixy": ("`gixy` on `nginx -T`", gixy),
    "django": ("`webstack-manage plain check --deploy`", django),
}


def ask(image: str, chosen: list[str]) -> dict[str, str]:
    """A server of this Debian, converged, and what each auditor says of it."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(f"security-{image}", image, "security", Path(directory))
        try:
            server.up()
            site = {"name": "plain", "domains": [HOST], "path": project(Path(directory) / "projects", "plain")}
            for _time in range(2):
                run = server.converge([site], os_hardening={})  # nothing is turned off
                if run.rc:
                    sys.exit(run.end)
            print(f"{image}: the second run has {run.tasks} tasks and changed {run.changed}", flush=True)
            return {name: AUDITORS[name][1](server) for name in chosen}
        finally:
            server.down()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(AUDITORS), help="only these auditors")
    images = list(bed.bed_images.SUITES)
    parser.add_argument("--image", action="append", choices=images, help="only these releases of Debian")
    parser.add_argument("--write", action="store_true", help="put the table into docs/security.md")
    given = parser.parse_args()
    chosen = given.only or list(AUDITORS)
    asked = given.image or images
    said = {image: ask(image, chosen) for image in asked}
    table = f"| asked | {' | '.join(asked)} |\n|{'---|' * (len(asked) + 1)}\n"
    for name in chosen:
        table += f"| {AUDITORS[name][0]} | {' | '.join(said[image][name] for image in asked)} |\n"
    print(table)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n{MARK}{rest.partition(MARK)[2]}")


if __name__ == "__main__":
    main()
