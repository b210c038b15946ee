# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The last lines that the processes of a site wrote, and those of the web server's error log that are about it."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Iterable
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import site_parts

ERROR_LOGS = {"nginx": "/var/log/nginx/error.log", "apache": "/var/log/apache2/error.log"}
PROGRAM_LOG = "/var/log/supervisor/%s.log"
_TAIL = 2_000_000  # bytes of a log file that are looked at


class LogError(Exception):
    """The logs cannot be read as asked for; the message is for the user."""


def journal(what: list[str], count: int, since: str | None) -> list[str]:
    """The last lines of the journal of some units or identifiers."""
    argv = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "--output=short-iso", *what]
    # With --since, --lines is taken for the first lines by systemd 252.
    argv += ["--since=" + since] if since else ["--lines=%d" % count]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as done:
        lines = deque((line.rstrip("\n") for line in done.stdout or ()), maxlen=count)
        words = done.stderr.read().strip() if done.stderr else ""
    if done.returncode != 0:
        if since and "timestamp" in words:
            raise LogError(
                "since: %r is no time that journalctl knows; write it like '1 hour ago', 'today' or '2026-11-29 10:00'"
                % since
            )
        raise LogError("journalctl: %s" % (words or "status %d" % done.returncode))
    return list(lines)


def tail(path: str, count: int, names: Iterable[str] | None = None) -> list[str]:
    """The last lines of a file; of those that have one of these texts in them, where any are given."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()[1 if size > _TAIL else 0 :]
    except OSError:
        return []
    if names is not None:
        wanted = re.compile("|".join(map(re.escape, names)))
        lines = [line for line in lines if wanted.search(line)]
    return lines[-count:]


def about(site: str, domains: Iterable[str]) -> list[str]:
    """What tells that a line of an error log is about a site: its paths, its names as nginx says them."""
    own = [domain for name in domains for domain in ('host: "%s"' % name, "server: %s," % name)]
    return ["/srv/%s/" % site, "/run/webstack/%s/" % site, "/etc/webstack/tls/%s/" % site, *own]


def known(site: str) -> list[str]:
    """What can be asked for on this host."""
    stores = [one.purpose for one in site_parts.stores(site)]
    return [*dict.fromkeys([one.process for one in site_parts.processes(site)]), *stores, *site_parts.web_servers(site)]


def logs(
    site: str, domains: Iterable[str], only: str | None, count: int, since: str | None = None
) -> list[dict[str, Any]]:
    """Name and lines of each log: of one process, or of all and of the web server (but not of caches)."""
    found = []
    for one in site_parts.processes(site):
        if only in (None, one.process):
            if one.manager == "supervisord":
                lines = tail(PROGRAM_LOG % one.name, count)
            elif one.manager == "cron":
                lines = journal(["--identifier=" + one.name], count, since)
            else:
                lines = journal(["--unit=" + one.name + ".service"], count, since)
            found.append({"process": one.process, "lines": lines})
    for store in site_parts.stores(site):
        if only == store.purpose:
            found.append({"process": store.purpose, "lines": journal(["--unit=" + store.unit], count, since)})
    for name in site_parts.web_servers(site):
        if only in (None, name):
            found.append({"process": name, "lines": tail(ERROR_LOGS[name], count, about(site, domains))})
    return found
