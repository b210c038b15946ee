#!/usr/bin/env python3
"""Measure converges of the demo's server, over SSH, each beside something that is measured in the same run.

    make setup && .venv/bin/python benchmarks/converge.py [--hosts 5 20] [--write]

- No change: `site.yml` on a converged server, beside one `ansible -m ping`, beside the same with Mitogen, and beside pyinfra for the
  same packages, files and units.
- One file changed: the same after somebody has changed one file.
- Several servers, each complete: copies of that server, beside one of them.
- Fresh: `site.yml` on a bare server, beside fresh.sh, which does by hand what makes the site run.

`--write` puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible_mitogen
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools")]

import bed  # noqa: E402

PAGE = ROOT / "docs/benchmarks.md"
ROUNDS = 5  # of what takes seconds; the median counts
MARK = "<!-- table: made by benchmarks/converge.py -->"
MITOGEN = {
    "ANSIBLE_STRATEGY": "mitogen_linear",
    "ANSIBLE_STRATEGY_PLUGINS": str(Path(ansible_mitogen.__file__).parent / "plugins/strategy"),
    "ANSIBLE_HOST_KEY_CHECKING": "False",
}
COPY = "webstack-bench:copy"
UNITS = ["nginx", "postgresql@17-main", "redis-server@demo-cache", "demo-web", "fail2ban", "ssh", "systemd-journald"]
# What pyinfra does: packages, files with their modes, units.
OPERATIONS = """
import json
from pyinfra.operations import apt, files, systemd

given = json.load(open("given.json"))
apt.packages(packages=given["packages"], _sudo=True)
for number, (path, mode, user, group) in enumerate(given["files"]):
    files.put(src=f"files/{number}", dest=path, mode=mode, user=user, group=group, _sudo=True)
for unit in given["units"]:
    systemd.service(service=unit, running=True, enabled=None, _sudo=True)
"""


def run(*argv: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(argv)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def seconds(*actions: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The median duration of each action; they take turns."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, of in zip(actions, times):
            started = time.monotonic()
            action()
            of.append(time.monotonic() - started)
    return [statistics.median(of) for of in times]


def ssh(name: str, command: str) -> str:
    """What a command prints on a server."""
    return run(sys.executable, "tools/bed.py", "ssh", name, command)


def packages(name: str) -> set[str]:
    """What is installed on a server."""
    return set(ssh(name, "dpkg-query -W -f '${Package}\\n'").split())


class Servers:
    """The servers, and runs on some of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[str, dict[str, Any]] = {}
        self.tasks = 0

    def up(self, name: str, tag: str = "") -> None:
        self.made[name] = bed.up(name, "debian13", tag=tag)

    def inventory(self, names: list[str]) -> str:
        """The demo's site on each of them."""
        site = {"name": "demo", "domains": ["127.0.0.1", "localhost"], "path": str(ROOT / ".demo/project")}
        variables = {"django_sites": [site], "webstack_memory_mb": 1024, "webstack_master_key": "k" * 40}
        hosts = {name: bed.ansible_variables(self.made[name]) for name in names}
        path = self.directory / f"{len(names)}.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}))
        return str(path)

    def converge(self, names: list[str], changed: int | None = 0, **environment: str) -> None:
        """site.yml; ``changed`` tasks on each server, None: any number."""
        output = run("ansible-playbook", "site.yml", "-i", self.inventory(names), **environment)
        if changed is not None and output.count(f"changed={changed} ") != len(names):
            sys.exit(output[-3000:])
        self.tasks = len(re.findall(r"^TASK \[", output, re.MULTILINE))

    def ping(self, name: str) -> None:
        run("ansible", "all", "-m", "ping", "-i", self.inventory([name]))


def pyinfra(server: dict[str, Any], name: str, installed: list[str], directory: Path) -> Callable[[], object]:
    """A run of pyinfra for what the roles wrote and run there, which changes nothing."""
    tree = directory / "pyinfra"
    (tree / "files").mkdir(parents=True)
    found = ssh(name, "sudo grep -rlsI 'Ansible managed' /etc /usr/local/sbin /usr/local/lib/webstack").split()
    stats = [line.split() for line in ssh(name, f"sudo stat -c '%n %a %U %G' {' '.join(found)}").splitlines()]
    for number, (path, *_rest) in enumerate(stats):
        (tree / "files" / str(number)).write_text(ssh(name, f"sudo cat {path}"))
    (tree / "given.json").write_text(json.dumps({"packages": installed, "files": stats, "units": UNITS}))
    (tree / "deploy.py").write_text(OPERATIONS)
    data = {"ssh_port": server["port"], "ssh_user": server["user"], "ssh_key": server["key"]}
    data |= {"ssh_strict_host_key_checking": "no", "ssh_known_hosts_file": "/dev/null"}
    (tree / "inventory.py").write_text(f"servers = [({server['host']!r}, {data!r})]\n")
    run(sys.executable, "-m", "venv", str(tree / "venv"))
    run(str(tree / "venv/bin/pip"), "install", "--quiet", "pyinfra")
    argv = [str(tree / "venv/bin/pyinfra"), "inventory.py", "deploy.py", "-y"]
    run(*argv, cwd=tree)
    return lambda: run(*argv, cwd=tree)


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """They are removed again."""
    with tempfile.TemporaryDirectory() as directory:
        found = Servers(Path(directory))
        try:
            yield found
        finally:
            bed.down(containers=[one["container"] for one in found.made.values()])
            bed.docker("rmi", "--force", COPY, check=False)


def fresh(of: Servers) -> tuple[float, float, list[str]]:
    """Seconds from nothing: the playbook's, the script's; and the packages."""
    of.up("bench-site")
    of.up("bench-script")
    bare = packages("bench-site")
    (ours,) = seconds(lambda: of.converge(["bench-site"], None), rounds=1)
    more = sorted(packages("bench-site") - bare)
    container = of.made["bench-script"]["container"]
    ssh("bench-script", "sudo mkdir -p /srv/demo /root/fresh")
    run("docker", "cp", f"{ROOT}/.demo/project/.", f"{container}:/srv/demo")
    for name in ("fresh.sh", "serve-defaults.sh"):
        run("docker", "cp", f"benchmarks/{name}", f"{container}:/root/fresh/")
    (script,) = seconds(lambda: ssh("bench-script", f"sudo sh /root/fresh/fresh.sh {' '.join(more)}"), rounds=1)
    return ours, script, more


def measure(counts: list[int]) -> str:
    """Run everything; the table."""
    rows = []

    def row(what: str, took: float, beside: float, name: str, most: str = "") -> None:
        rows.append(f"| {what} | {took:.1f} | {beside:.1f} ({name}) | {took / beside:.1f} | {most} |\n")
        print(rows[-1], end="", flush=True)

    with servers() as of:
        ours, script, more = fresh(of)
        row(f"fresh server ({len(more)} packages)", ours, script, "fresh.sh", "1.3")
        of.converge(["bench-site"])
        other = pyinfra(of.made["bench-site"], "bench-site", more, of.directory)
        plain, ping, mitogen, theirs = seconds(
            lambda: of.converge(["bench-site"]),
            lambda: of.ping("bench-site"),
            lambda: of.converge(["bench-site"], **MITOGEN),
            other,
        )
        row(f"no change ({of.tasks} tasks)", plain, ping, "one `ansible -m ping`", "15")
        row("no change", plain, theirs, "pyinfra, the same packages, files and units")
        row("no change, with Mitogen", mitogen, plain, "without")
        times = []
        for _ in range(3):
            ssh("bench-site", "echo '# mine' | sudo tee -a /etc/nginx/nginx.conf")
            times += seconds(lambda: of.converge(["bench-site"], 1), rounds=1)
        row("one file changed", statistics.median(times), plain, "no change")
        if counts:
            bed.docker("stop", "--time=60", of.made["bench-site"]["container"])
            bed.docker("commit", of.made["bench-site"]["container"], COPY)
            copies = [f"bench-{number}" for number in range(max(counts))]
            for name in copies:
                of.up(name, COPY)
            of.converge(copies, None)
            (one,) = seconds(lambda: of.converge(copies[:1]), rounds=3)
            for count in counts:
                (many,) = seconds(lambda: of.converge(copies[:count]), rounds=2)  # noqa: B023
                row(f"no change, {count} servers", many, one, "one of them", "8" if count == 20 else "")
    return "| | seconds | beside | ratio | at most |\n|---|---|---|---|---|\n" + "".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="*", default=[5, 20], help="how many servers", metavar="N")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    run("scripts/demo-project")
    table = measure(given.hosts)
    if given.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        PAGE.write_text(f"{before}{MARK}\n\n{table}\n{MARK}{rest.partition(MARK)[2]}")


if __name__ == "__main__":
    main()
