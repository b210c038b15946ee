# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take one site off this host, with nothing known of its project or of the other sites, which go on serving.

Visitors first (the virtual host), then the processes and releases, then the caches, and the data where that was asked
for. What is there decides what is done: a run that was cut is completed by the next one.
"""

from __future__ import annotations

import glob
import grp
import json
import os
import pwd
import re

from ansible_collections.webstack.django.plugins.module_utils import site_parts, supervisord
from ansible_collections.webstack.django.plugins.module_utils.acme.state import Lineage
from ansible_collections.webstack.django.plugins.module_utils.release import accounts, backup, files, lock
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site
from ansible_collections.webstack.django.plugins.module_utils.services import Manager, Runner
from ansible_collections.webstack.django.plugins.module_utils.vhosts import WEB_SERVERS, page_file

_WILDCARDS = "/etc/apache2/sites-available/webstack_wildcards.conf"
_TLS = "/usr/local/lib/webstack/tls.json"
_LOGINS = "/etc/fail2ban/filter.d/webstack-logins.conf"
_VHOST = re.compile(r"^<VirtualHost [^>]*>\n.*?^</VirtualHost>\n", re.MULTILINE | re.DOTALL)
_NAMES = re.compile(r"^\s*Server(?:Name|Alias) (\S+)", re.MULTILINE)
_ENABLED = "/etc/apache2/sites-enabled/webstack-{}.conf"
_WEB_READS = {"nginx.service": "/etc/nginx", "apache2.service": "/etc/apache2"}
_SETTINGS = ("gunicorn.conf.py", "uwsgi.ini")


class RemovalError(Exception):
    """Something could not be removed; the message is for the user."""


def without_domains(text: str, domains: list[str]) -> str:
    """Apache's virtual hosts of wildcards without those that have a name of a site."""
    return _VHOST.sub(lambda found: "" if set(domains) & set(_NAMES.findall(found.group(0))) else found.group(0), text)


def without_logins(text: str, site: str) -> str:
    """The role firewall's filter of fail2ban without the log-in pages of a site."""
    head, key, lines = text.partition("failregex = ")
    kept = [line for line in lines.rstrip("\n").split("\n") if not line.endswith("(?#%s)" % site)]
    return head + key + "\n".join(kept or ["^<ADDR> nothing$"]).lstrip() + "\n" if key else text


def own(paths: list[str], site: str, others: list[str]) -> list[str]:
    """Of files that begin with the name of a site those that are not of another one (``blog`` and ``blog-api``)."""
    longer = tuple(one + "-" for one in others if one.startswith(site + "-"))
    return [path for path in paths if not os.path.basename(path).startswith(longer or ("\0",))]


class Removal:
    """One site that goes away. ``actions`` collects what was done, or in check mode would be."""

    def __init__(self, name: str, run: Runner, check_mode: bool, purge: bool = False) -> None:
        self.site = Site({"name": name, "state": "absent", "purge": purge})
        self.name = name
        self.run = run
        self.check_mode = check_mode
        self.purge = purge
        self.manager = Manager(run)
        self.actions: list[str] = []

    def _must(self, *argv: str) -> str:
        code, output, error = self.run(list(argv))
        if code != 0:
            words = (error or output).strip() or "status %d" % code
            raise RemovalError("site %s: `%s`: %s" % (self.name, " ".join(argv), words))
        return output

    def _remove(self, paths: list[str]) -> bool:
        """Remove what is there of some paths."""
        there = [path for path in paths if os.path.lexists(path)]
        for path in there:
            self.actions.append("remove " + path)
            if not self.check_mode:
                files.remove(path)
        return bool(there)

    def _rewrite(self, path: str, before: str, after: str) -> bool:
        """Write a file that other sites have a part in, where it differs."""
        if after == before:
            return False
        self.actions.append("write " + path)
        if not self.check_mode:
            files.write(path, after, 0o644)
        return True

    def _stop(self, units: list[str]) -> None:
        declared = [{"name": name, "state": "stopped", "enabled": False} for name in units]
        self.actions += self.manager.converge(declared, self.check_mode) if declared else []

    def _forget(self, removed: bool) -> None:
        if removed and not self.check_mode:
            self._must("systemctl", "daemon-reload")

    # Visitors ------------------------------------------------------------------------------------

    def web(self, domains: list[str]) -> None:
        """The virtual host, and the static files that a web server on another machine has."""
        files_of_ours = [_ENABLED, *(web.file for web in WEB_SERVERS)]
        pages = "/var/cache/nginx/webstack/" + self.name
        self._remove([*(path.format(self.name) for path in files_of_ours), page_file(self.name), pages])
        self._certificate()
        self._logins()
        before = files.read_text(_WILDCARDS) or ""
        self._rewrite(_WILDCARDS, before, without_domains(before, domains))
        for unit, directory in _WEB_READS.items():
            ours = os.path.exists("/etc/systemd/system/%s.d/webstack.conf" % unit)
            if not ours or self.run(["systemctl", "is-active", "--quiet", "--", unit])[0] != 0:
                continue
            self.actions += self.manager.converge([{"name": unit, "reload_on": [directory]}], self.check_mode)

    def _certificate(self) -> None:
        """Its renewal, which would be tried for ever."""
        self._remove(Lineage(self.name).paths)
        before = files.read_text(_TLS) or "{}"
        config = json.loads(before)
        if config.get("certificates", {}).pop(self.name, None) is not None:
            self._rewrite(_TLS, before, json.dumps(config, indent=4, sort_keys=True) + "\n")

    def _logins(self) -> None:
        """Its log-in pages, which the firewall watches."""
        before = files.read_text(_LOGINS) or ""
        if self._rewrite(_LOGINS, before, without_logins(before, self.name)):
            jail = {"name": "fail2ban.service", "restart_on": [_LOGINS]}
            self.actions += self.manager.converge([jail], self.check_mode)

    # The application -----------------------------------------------------------------------------

    def app(self) -> None:
        """The processes, the releases and their configuration."""
        found = site_parts.processes(self.name)
        names = [one.name for one in found if one.manager == "systemd"]
        paths = [
            "/%s/%s.%s" % (site_parts.UNITS, name, kind) for name in names for kind in ("timer", "socket", "service")
        ]
        paths = [path for path in paths if os.path.exists(path)]
        # A socket before its service: a request must not start again what is being stopped.
        order = sorted(map(os.path.basename, paths), key=lambda one: one.endswith(".service"))
        self._stop(order)
        # The service last: by it the others are known to be the site's.
        removed = [self._remove([path + ".d", path]) for path in paths]
        self._forget(any(removed))
        if any(removed) and not self.check_mode:
            self.run(["systemctl", "reset-failed", "--", *order])  # those that had failed are still listed
        self._programs([one for one in found if one.manager != "systemd"])
        settings = [os.path.join(self.site.settings_directory, one) for one in _SETTINGS]
        self._remove([*settings, "/etc/tmpfiles.d/webstack-uwsgi-%s.conf" % self.name])
        self.actions += [words.partition(": ")[2] for words in accounts.remove(self.site, self.check_mode)]
        self._remove(["/run/webstack/" + self.name])

    def _programs(self, found: list[site_parts.Process]) -> None:
        """Programs of supervisord, and what cron starts; their launchers go last, by which they are known."""
        directories = {
            "supervisord": "/%s/webstack-%%s.conf" % site_parts.PROGRAMS,
            "cron": "/%s/webstack-%%s" % site_parts.CRON,
        }
        self._remove([directories[one.manager] % one.name for one in found])
        for name in self._gone(found):
            self.actions.append("stop program " + name)
            if not self.check_mode:
                self._must(supervisord.COMMAND, "update", name)
        self._remove(["/%s/%s" % (site_parts.LAUNCHERS, one.name) for one in found])

    def _gone(self, found: list[site_parts.Process]) -> list[str]:
        """Programs of the site that supervisord runs and that have no file any more (or, in check mode, would have none)."""
        if self.check_mode:
            return [one.name for one in found if one.manager == "supervisord"]
        active = self.run(["systemctl", "is-active", "--quiet", "--", supervisord.SERVICE])[0] == 0
        if not active or not os.path.exists(supervisord.COMMAND):
            return []
        gone = json.loads(self._must(supervisord.COMMAND, "diff"))["removed"]
        return [name for name in gone if name.startswith(self.name + "-")]

    # Caches, and what is left --------------------------------------------------------------------

    def stores(self) -> None:
        """Caches and brokers."""
        found = site_parts.stores(self.name)
        self._stop([one.unit for one in found])
        removed = [self._remove(list(one.paths)) for one in found]
        self._forget(any(removed))

    def data(self, others: list[str]) -> None:
        """Everything of a site that is purged, but for its database: logs, backups, certificate, account."""
        logs = glob.glob(os.path.join(lock.LOG, glob.escape(self.name) + "-*"))
        logs += glob.glob("/var/log/supervisor/%s-*.log*" % glob.escape(self.name))
        instances = ["%s-%s" % (self.name, purpose) for purpose in site_parts.PURPOSES]
        self._remove(
            [
                *sorted(own(logs, self.name, others)),
                os.path.join(backup.DIRECTORY, self.name),
                "/etc/webstack/tls/" + self.name,
                "/var/log/webstack-acme/%s.log" % self.name,
                *("/var/lib/%s/%s" % (server, one) for server in ("redis", "valkey") for one in instances),
                self.site.root,
            ]
        )
        self._account()

    def _account(self) -> None:
        try:
            pwd.getpwnam(self.site.user)
        except KeyError:
            pass
        else:
            self.actions.append("userdel " + self.site.user)
            if not self.check_mode:
                self._must("userdel", self.site.user)
        try:
            grp.getgrnam(self.site.group)
        except KeyError:
            return
        if not self.check_mode:  # in check mode userdel would take it along
            self.actions.append("groupdel " + self.site.group)
            self._must("groupdel", self.site.group)
