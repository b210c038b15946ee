# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is of a site on this host, told by the files that the roles wrote and by nothing else.

So it is known without the project, whose repository may be out of reach. A site ``blog`` has nothing to do with
``blog-api-web``, whose name only begins like those of its own: each file is looked into.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass

from ansible_collections.webstack.django.plugins.module_utils.vhosts import WEB_SERVERS

UNITS = "etc/systemd/system"
PROGRAMS = "etc/supervisor/conf.d"
LAUNCHERS = "etc/supervisor/webstack"
CRON = "etc/cron.d"
PURPOSES = ("cache", "broker")


@dataclass(frozen=True)
class Process:
    """One process of a site: how its manager calls it, and whether it runs at times only."""

    process: str  # web, worker ...
    manager: str  # systemd, supervisord or cron
    name: str  # blog-web
    timed: bool = False


@dataclass(frozen=True)
class Store:
    """One cache or broker of a site."""

    purpose: str
    server: str  # redis, valkey or memcached
    unit: str
    paths: tuple[str, ...]


def read(path: str) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _named(directory: str, pattern: str, suffix: str, root: str) -> list[str]:
    """Names (without prefix ``webstack-`` and suffix) of the files in a directory."""
    prefix = "webstack-" if "webstack-" in pattern else ""
    paths = sorted(glob.glob(os.path.join(root, directory, pattern + suffix)))
    return [os.path.basename(path)[len(prefix) : len(os.path.basename(path)) - len(suffix)] for path in paths]


def processes(site: str, root: str = "/") -> list[Process]:
    """The processes of a site, web first."""
    begin, ours = glob.escape(site) + "-*", "/srv/%s/" % site
    found = []
    for name in _named(UNITS, begin, ".service", root):
        text = read(os.path.join(root, UNITS, name + ".service"))
        if "webstack.django.systemd: " + name in text and ours in text:
            timed = os.path.exists(os.path.join(root, UNITS, name + ".timer"))
            found.append(Process(name[len(site) + 1 :], "systemd", name, timed))
    for directory, suffix, manager in ((PROGRAMS, ".conf", "supervisord"), (CRON, "", "cron")):
        for name in _named(directory, "webstack-" + begin, suffix, root):
            if ours in read(os.path.join(root, LAUNCHERS, name)):
                found.append(Process(name[len(site) + 1 :], manager, name, manager == "cron"))
    return sorted(found, key=lambda one: (one.process != "web", one.process, one.manager))


def stores(site: str, root: str = "/") -> list[Store]:
    """The caches and brokers of a site."""
    found = []
    for purpose in PURPOSES:
        instance = "%s-%s" % (site, purpose)
        for server in ("redis", "valkey"):
            base = "/etc/%s/%s-%s" % (server, server, instance)
            if "webstack.django.redis" in read(root.rstrip("/") + base + ".conf"):
                unit = "%s-server@%s.service" % (server, instance)
                paths = ("/%s/%s.d" % (UNITS, unit), base + ".acl", base + ".conf")
                found.append(Store(purpose, server, unit, paths))
        unit = "memcached@%s.service" % instance
        if "webstack.django.memcached" in read(os.path.join(root, UNITS, unit)):
            found.append(Store(purpose, "memcached", unit, ("/%s/%s" % (UNITS, unit),)))
    return found


def web_servers(site: str, root: str = "/") -> list[str]:
    """The web servers that have a virtual host of the site."""
    return [web.name for web in WEB_SERVERS if os.path.lexists(root.rstrip("/") + web.file.format(site))]


def endpoint(site: str, root: str = "/") -> dict[str, str | None]:
    """Where the web process listens, as it is configured: ``socket`` or ``address``; both None where it is not."""
    name = site + "-web"
    unit = re.search(r"^ListenStream=(.+)$", read(os.path.join(root, UNITS, name + ".socket")), re.MULTILINE)
    program = re.search(
        r"^socket=(?:unix|tcp)://(.+)$", read(os.path.join(root, PROGRAMS, "webstack-%s.conf" % name)), re.MULTILINE
    )
    found = unit or program
    place = found.group(1).strip() if found else None
    return {"socket": place, "address": None} if place and place.startswith("/") else {"socket": None, "address": place}
