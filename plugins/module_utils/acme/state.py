# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates and what is known of earlier attempts, as they lie on this host; and from that what has to be done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import ssl
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils.selfsigned import name, names_of

HOME = "/var/lib/webstack-acme"  # certbot's directories of its own, beside which /etc/letsencrypt stays the user's
LOGS = "/var/log/webstack-acme"
WARN_DAYS = 21  # of a certificate that others sign
DAY = 86400.0

Runner = Callable[[list[str]], tuple[int, str, str]]


class Pem(NamedTuple):
    """A certificate."""

    names: frozenset[str]  # as `selfsigned.name` writes them
    begins: float
    ends: float
    own: bool  # signed by itself
    fingerprint: str

    def left(self, now: float) -> float:
        """Seconds until it ends."""
        return self.ends - now

    def late(self, now: float) -> bool:
        """Whether it should have been renewed: a timer does so when a third of its life is left."""
        return self.left(now) < (self.ends - self.begins) / 4

    def ending(self, now: float) -> bool:
        """Whether somebody has to be told: 21 days, or less of a short life."""
        return self.left(now) < min(WARN_DAYS * DAY, (self.ends - self.begins) / 4)


def read(path: str, run: Runner) -> Pem | None:
    """The first certificate of a file; None where there is none."""
    if not os.path.isfile(path):
        return None
    code, text, _error = run(["openssl", "x509", "-in", path, "-noout", "-text", "-fingerprint", "-sha256"])
    if code != 0:
        return None
    found = {
        key: re.search(key + r" *[:=] *(.*)", text)
        for key in ("Not Before", "Not After", "Issuer", "Subject", "Fingerprint")
    }
    values = {key: one.group(1).strip() if one else "" for key, one in found.items()}
    return Pem(
        frozenset(names_of(text)),
        ssl.cert_time_to_seconds(values["Not Before"]),
        ssl.cert_time_to_seconds(values["Not After"]),
        values["Issuer"] == values["Subject"],
        values["Fingerprint"],
    )


def same(one: str, other: str) -> bool:
    """Whether two files have the same content."""
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


class Lineage:
    """What certbot has of one site."""

    def __init__(self, site: str, home: str = HOME) -> None:
        self.site = site
        self.home = home
        self.certificate = os.path.join(home, "live", site, "fullchain.pem")
        self.key = os.path.join(home, "live", site, "privkey.pem")
        self.renewal = os.path.join(home, "renewal", site + ".conf")

    @property
    def paths(self) -> list[str]:
        """All of it that is there."""
        directories = [os.path.join(self.home, one, self.site) for one in ("live", "archive")]
        notes = [os.path.join(self.home, "state", self.site + end) for end in (".json", ".renewal.json")]
        return [path for path in [self.renewal, *directories, *notes] if os.path.lexists(path)]

    def server(self) -> str:
        """The authority that it is from."""
        try:
            with open(self.renewal, encoding="utf-8") as file:
                found = re.search(r"^server = (.*)$", file.read(), re.MULTILINE)
                return found.group(1).strip() if found else ""
        except OSError:
            return ""

    def remove(self) -> None:
        """Forget it: it is not renewed any more. Accounts stay."""
        for path in self.paths:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)


class Notes:
    """What earlier attempts for a site came to."""

    def __init__(self, site: str, home: str = HOME) -> None:
        self.path = os.path.join(home, "state", site + ".json")
        self.renewal_path = os.path.join(home, "state", site + ".renewal.json")

    @staticmethod
    def _load(path: str) -> dict[str, Any]:
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def failure(self) -> dict[str, Any]:
        """The last order that failed: signature, kind, words, time and until; empty where none did."""
        return self._load(self.path)

    def renewal(self) -> dict[str, Any]:
        """The last renewal by the timer, where it failed: time and words."""
        return self._load(self.renewal_path)

    def write(self, **values: Any) -> None:
        """Note a failure."""
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with open(
            os.open(self.path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(values, file)
        os.replace(self.path + ".new", self.path)

    def clear(self) -> None:
        """All went well."""
        for path in (self.path, self.renewal_path):
            if os.path.exists(path):
                os.unlink(path)


def signature(domains: list[str], account: Mapping[str, Any]) -> str:
    """Tells whether an order is the one that failed."""
    text = json.dumps([sorted(domains), dict(account)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Situation(NamedTuple):
    """All that a decision about one site is made from."""

    domains: list[str]
    directory: str  # of the authority
    lineage: Pem | None
    server: str  # that the lineage is from
    installed: bool  # whether what serves is the lineage's
    renewal: dict[str, Any]
    now: float


def decide(one: Situation) -> tuple[str, str]:
    """``ok``, ``install`` or ``order``, and why."""
    if one.lineage is None:
        return "order", "it has none yet"
    if one.lineage.names != frozenset(map(name, one.domains)):
        return "order", "its domains changed"
    if one.server != one.directory:
        return "order", "it is of another authority (%s)" % one.server
    if one.lineage.left(one.now) < 0:
        return "order", "it has expired"
    if one.lineage.late(one.now):
        return "order", "its renewal is late"
    if one.renewal:
        return "order", "its last renewal failed"
    return ("ok", "") if one.installed else ("install", "another one serves")
