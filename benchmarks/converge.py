#!/usr/bin/env python3
"""Measure converges of the demo's server, over SSH, beside the least that the same work could take.

    make setup && .venv/bin/python benchmarks/converge.py [--write]

- No change: seconds of `site.yml` on a converged server, beside as many SSH round trips as it has tasks (one
  connection, `true` each).
- Fresh: seconds of `site.yml` on a bare server, beside fresh.sh, which installs the same packages and nothing else.

All in one run, since machines differ; `--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks.md"
SERVERS = ("bench-site", "bench-script")
ROUNDS = 3  # of what takes seconds; the median counts
SSH = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
MARK = "<!-- table: made by benchmarks/converge.py -->"


def run(*argv: str, **environment: str) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{shlex.join(argv)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def bed(*words: str) -> str:
    """tools/bed.py."""
    return run(sys.executable, "tools/bed.py", *words)


def seconds(action: Any, rounds: int = 1) -> float:
    """The median duration of an action."""
    times = []
    for _ in range(rounds):
        started = time.monotonic()
        action()
        times.append(time.monotonic() - started)
    return statistics.median(times)


def packages(name: str) -> set[str]:
    """What is installed on a server."""
    return set(bed("ssh", name, "dpkg-query -W -f '${Package}\\n'").split())


def round_trips(server: dict[str, Any], count: int) -> None:
    """Commands one after another over one connection, as Ansible sends its tasks."""
    with tempfile.TemporaryDirectory() as directory:
        ssh = ["ssh", *shlex.split(SSH), "-i", server["key"], "-p", str(server["port"])]
        ssh += ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={directory}/c"]
        for _ in range(count):
            subprocess.run([*ssh, f"{server['user']}@{server['host']}", "true"], check=True)


def measure() -> str:
    """Run everything; the table."""
    site, script = (json.loads(bed("up", name, "--image", "debian13")) for name in SERVERS)
    way = {"WEBSTACK_DEMO_SSH_PORT": str(site["port"]), "WEBSTACK_DEMO_KEY": site["key"]}
    bare = packages(SERVERS[0])
    output = ""

    def converge() -> None:
        nonlocal output
        output = run("ansible-playbook", "site.yml", "-i", "inventories/demo", **way)

    fresh = seconds(converge)
    again = seconds(converge, ROUNDS)
    assert re.search(r"changed=0 ", output), output[-2000:]
    tasks = len(re.findall(r"^TASK \[", output, re.MULTILINE))
    trips = seconds(lambda: round_trips(site, tasks), ROUNDS)

    more = sorted(packages(SERVERS[0]) - bare)
    bed("ssh", SERVERS[1], "mkdir -p fresh")
    for path in ("benchmarks/fresh.sh", ".demo/project/requirements.txt"):
        run("docker", "cp", path, f"{script['container']}:/home/deploy/fresh/")
    by_hand = seconds(lambda: bed("ssh", SERVERS[1], "sudo", "sh", "fresh/fresh.sh", *more))
    return (
        f"| | seconds | bare minimum | ratio |\n|---|---|---|---|\n"
        f"| no change ({tasks} tasks) | {again:.1f} | {trips:.1f} ({tasks} SSH round trips) | {again / trips:.1f} |\n"
        f"| fresh server ({len(more)} packages) | {fresh:.0f} | {by_hand:.0f} (fresh.sh) | {fresh / by_hand:.1f} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    arguments = parser.parse_args()
    run("scripts/demo-project")
    try:
        table = measure()
    finally:
        bed("down", *SERVERS)
    print(table)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n{MARK}{rest.partition(MARK)[2]}")


if __name__ == "__main__":
    main()
