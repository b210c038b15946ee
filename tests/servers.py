"""Servers of the test bed for tests that converge whole sites without Molecule."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible_runs
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import bed  # noqa: E402

VARIABLES = {
    "webstack_master_key": "a-master-key-of-the-test-bed-that-nobody-else-has",
    "webstack_memory_mb": 2048,
    "os_swap_mb": 0,
    # Packages that take their time to install and that these tests do not look at; the scenarios have them all.
    "os_hardening": {"audit": False, "integrity": False, "usb_guard": False, "upgrade_news": False},
}


@dataclass(frozen=True)
class Run:
    """Result of one ansible-playbook."""

    rc: int
    output: str

    @property
    def changed(self) -> int:
        """Number of changed tasks, added up over the hosts."""
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))

    @property
    def tasks(self) -> int:
        """Number of tasks that were looked at."""
        return len(re.findall(r"^(?:TASK|RUNNING HANDLER) \[", self.output, re.MULTILINE))

    @property
    def end(self) -> str:
        """What a failed assertion shows."""
        return self.output[-8000:]


@dataclass
class Server:
    """One machine, known by its name in the inventory as well."""

    name: str
    image: str
    scenario: str
    directory: Path
    facts: dict[str, Any] = field(default_factory=dict)
    called: str = ""  # its name in the inventory and its host name, where several are to be the same server

    def up(self) -> None:
        """Start it, or wait until it has booted again."""
        self.facts = bed.up(self.name, self.image, self.called or None, scenario=self.scenario)

    def down(self) -> None:
        """Remove it."""
        bed.down(containers=[self.facts["container"]] if self.facts else [])

    def restart(self) -> None:
        """As after a power cut that the machine saw coming."""
        subprocess.run(["docker", "stop", "--time=60", self.facts["container"]], check=True, capture_output=True)
        self.up()

    def converge(self, sites: list[dict[str, Any]], *words: str, **variables: Any) -> Run:
        """``ansible-playbook site.yml`` with these sites."""
        return converge([self], sites, *words, **variables)

    def run(self, command: str, text: str = "", check: bool = True) -> str:
        """What a shell command of root prints there."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.facts["container"], "sh", "-c", command],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def browse(self, *steps: dict[str, Any]) -> list[dict[str, Any]]:
        """What tests/client.py gets there."""
        client = (ROOT / "tests/client.py").read_text()
        self.run("cat > /run/client.py", client)
        return list(json.loads(self.run("python3 /run/client.py", json.dumps(steps))))

    def wait(self, url: str, seconds: float = 60) -> dict[str, Any]:
        """The page, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while True:
            (page,) = self.browse({"url": url})
            if page["status"] == 200 or time.monotonic() > deadline:
                return page
            time.sleep(1)


def converge(
    servers: list[Server],
    sites: list[dict[str, Any]],
    *words: str,
    groups: dict[str, list[str]] | None = None,
    **variables: Any,
) -> Run:
    """``ansible-playbook site.yml`` on all of them, in these groups."""
    return play(command("site", inventory(servers, sites, groups, **variables), *words))


def inventory(
    servers: list[Server], sites: list[dict[str, Any]], groups: dict[str, list[str]] | None = None, **variables: Any
) -> Path:
    """The file of an inventory: these servers, in these groups, with these sites."""
    path = servers[0].directory / "hosts.yml"
    hosts = {
        one.called or one.name: {**bed.ansible_variables(one.facts), "private_address": one.facts["address"]}
        for one in servers
    }
    children = {group: {"hosts": {key: {} for key in names}} for group, names in (groups or {}).items()}
    everything = {"django_sites": sites, **VARIABLES, **variables}
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": everything, "children": children}}))
    return path


def command(playbook: str, hosts: Path, *words: str, extra: dict[str, Any] | None = None) -> list[str]:
    """The command that runs one of our playbooks, with variables of the command line; to be run in ROOT."""
    file = "site.yml" if playbook == "site" else f"playbooks/{playbook}.yml"
    more = ["-e", json.dumps(extra)] if extra else []
    return ["ansible-playbook", file, "-i", str(hosts), *more, *words]


def play(argv: list[str]) -> Run:
    """Run such a command to its end."""
    done = ansible_runs.run(argv, ROOT)
    return Run(done.returncode, done.stdout + done.stderr)


def project(directory: Path, shape: str) -> str:
    """A project of tests/projects/make.py."""
    make = [sys.executable, str(ROOT / "tests/projects/make.py"), str(directory), shape]
    if not (directory / shape).exists():
        subprocess.run(make, check=True, capture_output=True, text=True)
    return str(directory / shape)
