"""A server on which things are changed by hand: mutations.yml, the report of what they differ in, and the converge."""

from __future__ import annotations

import json
import os
import shlex
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from servers import ROOT, Run, Server, command, inventory, play, project

Mutation = dict[str, Any]
Entry = dict[str, Any]
HOST = "plain.example.com"
FIELDS = ("role", "site", "thing", "expected", "found", "task")


def mutations(which: str) -> list[Mutation]:
    """Those of one of the servers."""
    every: dict[str, list[Mutation]] = yaml.safe_load((Path(__file__).parent / "mutations.yml").read_text())
    return [{"batch": 1, "part": one["id"].partition("-")[0], **one} for one in every[which]]


def batches(chosen: list[Mutation]) -> list[list[Mutation]]:
    """Those that are not in the way of each other."""
    found: dict[int, list[Mutation]] = defaultdict(list)
    for one in chosen:
        found[one["batch"]].append(one)
    return [found[number] for number in sorted(found)]


@dataclass
class Drifting:
    """A converged server with the site `plain`."""

    server: Server
    sites: list[dict[str, Any]]
    variables: dict[str, Any]

    def converge(self) -> Run:
        return self.server.converge(self.sites, **self.variables)

    def report(self) -> dict[str, Any]:
        """What playbooks/drift.yml says of the server."""
        hosts = inventory([self.server], self.sites, **self.variables)
        path = self.server.directory / "report.json"
        path.unlink(missing_ok=True)
        os.environ["WEBSTACK_DRIFT_JSON"] = str(path)  # the same in each run: it is a process that has loaded Ansible
        run = play(command("drift", hosts))
        assert path.exists(), run.end
        found: dict[str, Any] = json.loads(path.read_text())["hosts"][self.server.called or self.server.name]
        return found

    def mutate(self, chosen: list[Mutation]) -> None:
        """Do all of these, and fail for one that cannot be done."""
        lines = ["failed=0"]
        for one in chosen:
            lines += [f"sh -c {shlex.quote(one['run'])} || {{ echo 'cannot: {one['id']}' >&2; failed=1; }}"]
        self.server.run("sh -s", "\n".join([*lines, "exit $failed"]))

    def state(self) -> set[str]:
        """All that two servers of the same declaration have in common."""
        return set(self.server.run("python3 -", (ROOT / "tests/drift/state.py").read_text()).splitlines())

    def answers(self) -> bool:
        """Whether the site does what it is for: a page from the database, over HTTPS, and its stylesheet."""
        (page,) = self.server.browse({"url": f"https://{HOST}/"})
        return page["status"] == 200 and "the first note, from a migration" in page["body"]


def unnamed(chosen: list[Mutation], report: dict[str, Any]) -> list[str]:
    """The mutations that no entry of a report names."""
    entries = [(entry["role"], "\n".join(str(entry.get(field)) for field in FIELDS)) for entry in report["drift"]]
    missing = []
    for one in chosen:
        if not one["says"]:
            continue  # systemd has started it again, for instance
        named = [text for role, text in entries if one["part"] in ("any", role)]
        if not any(all(word in text for word in one["says"]) for text in named):
            missing.append(one["id"])
    return missing


def site(path: str, **choices: Any) -> dict[str, Any]:
    """The site of these tests."""
    return {
        "name": "plain",
        "domains": [HOST],
        "path": path,
        "processes": {"night": {"run": "sleep infinity"}},
        "schedules": [{"name": "tidy", "calendar": "daily", "run": "true"}],
        **choices,
    }


# Which site each of the servers has.
CHOICES: dict[str, dict[str, Any]] = {
    "first": {},
    "second": {
        "web_server": "apache",
        "app_server": "uwsgi",
        "process_manager": "supervisord",
        "database": "mariadb",
        "cache": "memcached",
    },
}


def make(which: str, server: Server) -> Drifting:
    """One of the two servers of mutations.yml; the first one looks at itself as well, but not in this century."""
    path = project(server.directory / "projects", "plain")
    return Drifting(
        server, [site(path, **CHOICES[which])], {**_variables(), **({"os_pull": PULL} if which == "first" else {})}
    )


PULL = {
    "repository": "file:///srv/ops",
    "inventory": "hosts.yml",
    "calendar": "2099-12-31",
    "variables": {"webstack_master_key": "{{ lookup('webstack.django.master_key') }}"},
}


def _variables() -> dict[str, Any]:
    key = (ROOT / ".cache/ssh/id_ed25519.pub").read_text().strip()
    return {"os_users": [{"name": "ada", "keys": [key], "sudo": True}]}
