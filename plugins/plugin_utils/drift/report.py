# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report: what differs on which server, and the server's state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.drift.secrets import Secrets

CLEAN, DRIFT, FAILED, UNREACHABLE = STATES = ("clean", "drift", "failed", "unreachable")
_STATUS = {CLEAN: 0, FAILED: 1, DRIFT: 2, UNREACHABLE: 4}
ENDED = "the run ended before all of it was looked at"


class Report:
    """Collects what one run finds."""

    def __init__(self, check: bool = False) -> None:
        self.check = check  # whether nothing was changed
        self.secrets = Secrets()
        self.sites: set[str] = set()
        self._drift: dict[str, list[dict[str, Any]]] = {}
        self._roles: dict[str, dict[str, None]] = {}
        self._errors: dict[str, list[dict[str, Any]]] = {}
        self._unreachable: dict[str, str] = {}

    @property
    def hosts(self) -> list[str]:
        """The names of the servers."""
        return sorted(self._drift)

    def host(self, name: str, role: str = "") -> None:
        """This server is looked at, in this role."""
        self._drift.setdefault(name, [])
        roles = self._roles.setdefault(name, {})
        if role:
            roles.setdefault(role)

    def differs(self, host: str, role: str, task: str, found: Iterable[Mapping[str, Any]]) -> None:
        """Things that differ there, in the order in which the tasks find them; each one once."""
        self.host(host, role)
        for one in found:
            entry = {
                "role": role,
                "site": one["site"],
                **{key: one[key] for key in ("thing", "expected", "found", "since")},
                "task": task,
            }
            if not any(_same(entry, other) for other in self._drift[host]):
                self._drift[host].append(entry)

    def failed(self, host: str, role: str, task: str, words: str) -> None:
        """A task failed there, so not all of it was looked at."""
        self.host(host, role)
        self._errors.setdefault(host, []).append({"role": role, "task": task, "message": words})

    def unreachable(self, host: str, words: str) -> None:
        """Nobody answers there."""
        self.host(host)
        self._unreachable[host] = words

    def forgive(self, failures: Iterable[str]) -> None:
        """Only these servers have failed; what failed on others was rescued."""
        self._errors = {host: errors for host, errors in self._errors.items() if host in set(failures)}

    def ended(self, whole: Iterable[str]) -> None:
        """The run is over, and only these servers were looked at to the end."""
        done = set(whole)
        for host in self._drift:
            if host not in done and not self._errors.get(host) and host not in self._unreachable:
                self.failed(host, "", "", ENDED)

    def site_of(self, thing: str) -> str | None:
        """The site that a path, a unit or an account belongs to, by its name."""
        for name in sorted(self.sites, key=lambda one: (-len(one), one)):
            # The name of a site is part of others: redis-blog-cache, blog-web.service, /srv/blog, postgresql role blog.
            if re.search(
                rf"(?:^|[\s/@:'`]|(?:redis|valkey|memcached|webstack)[-@_]){re.escape(name)}(?![A-Za-z0-9_])", thing
            ):
                return name
        return None

    def state(self, host: str) -> str:
        """One of STATES; what was found on a server that could not be looked at as a whole is listed all the same."""
        if host in self._unreachable:
            return UNREACHABLE
        if self._errors.get(host):
            return FAILED
        return DRIFT if self._drift.get(host) else CLEAN

    def as_dict(self) -> dict[str, Any]:
        """The report as data without secrets; hosts in the order of their names."""
        hosts = {name: self._host(name) for name in self.hosts}
        counts = {state: sum(one["state"] == state for one in hosts.values()) for state in STATES}
        return {"check": self.check, "hosts": hosts, **counts}

    def _host(self, name: str) -> dict[str, Any]:
        errors = list(self._errors.get(name) or [])
        if name in self._unreachable:
            errors.append({"role": "", "task": "", "message": self._unreachable[name]})
        return {
            "state": self.state(name),
            "drift": [
                self._plain({**one, "site": one["site"] or self.site_of(one["thing"])}) for one in self._drift[name]
            ],
            "errors": [self._plain(one) for one in errors],
            "roles": list(self._roles[name]),
        }

    def _plain(self, one: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self.secrets.hide(value) if isinstance(value, str) else value for key, value in one.items()}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both tell of the same difference; of a file the first task of a role to look at it tells all."""
    keys = ("role", "thing") if one["thing"].startswith("/") else ("role", "thing", "expected", "found")
    return all(one[key] == other[key] for key in keys)


def status(report: Mapping[str, Any]) -> int:
    """The exit status: 0 all are clean; else the sum of 2 (drift), 4 (unreachable) and 1 (could not be looked at)."""
    bits = 0
    for host in report["hosts"].values():
        bits |= _STATUS[host["state"]] | (_STATUS[DRIFT] if host["drift"] else 0)
    return bits
