# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What this host is like: who listens where, its disks, its servers and what failed. Only asks."""

from __future__ import annotations

import glob
import os
import pwd
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.site_status import Runner, run, show
from ansible_collections.webstack.django.plugins.module_utils.sockets import listeners, tables

# What serves all sites together, where it is set up.
_SERVICES = (
    ("webstack-firewall.service", "/etc/systemd/system/webstack-firewall.service"),
    ("fail2ban.service", "/etc/systemd/system/fail2ban.service.d/webstack.conf"),
    ("nginx.service", "/etc/systemd/system/nginx.service.d/webstack.conf"),
    ("apache2.service", "/etc/systemd/system/apache2.service.d/webstack.conf"),
    ("supervisor.service", "/etc/systemd/system/supervisor.service.d/webstack.conf"),
    ("mariadb.service", "/etc/systemd/system/mariadb.service.d/webstack.conf"),
)


def owners() -> dict[str, set[str]]:
    """Names of the programs that hold a socket, by its inode."""
    found: dict[str, set[str]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid, encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
            for number in os.listdir("/proc/%s/fd" % pid):
                target = os.readlink("/proc/%s/fd/%s" % (pid, number))
                if target.startswith("socket:["):
                    found.setdefault(target[8:-1], set()).add(name)
        except OSError:
            continue
    return found


def _account(uid: int) -> str:
    try:
        return "(%s)" % pwd.getpwuid(uid).pw_name
    except KeyError:
        return "(%d)" % uid


def ports(sockets: list[tuple[str, int, str, int]], holders: dict[str, set[str]]) -> list[dict[str, Any]]:
    """One item for each port: who has it, and whether others than this host reach it.

    Where the program is not to be seen, in some containers, it is the account in parentheses.
    """
    found: dict[int, dict[str, Any]] = {}
    for place, port, inode, uid in sockets:
        one = found.setdefault(port, {"port": port, "programs": set(), "public": False})
        names = set(holders.get(inode) or {_account(uid)})
        # A process of systemd holds sockets for the service that it hands them to.
        one["programs"] |= names - {"systemd"} or names
        one["public"] = one["public"] or not (place.startswith("127.") or place == "::1")
    return [{**one, "programs": sorted(one["programs"])} for _port, one in sorted(found.items())]


def disks(paths: tuple[str, ...] = ("/", "/srv")) -> list[dict[str, Any]]:
    """Free space, each file system once."""
    found, seen = [], set()
    for path in paths:
        if not os.path.isdir(path) or os.stat(path).st_dev in seen:
            continue
        seen.add(os.stat(path).st_dev)
        info = os.statvfs(path)
        total, free = (number * info.f_frsize // 2**20 for number in (info.f_blocks, info.f_bavail))
        found.append({"path": path, "free_mb": free, "total_mb": total})
    return found


def services(runner: Runner = run) -> list[dict[str, Any]]:
    """The servers that the roles set up, and whether they run."""
    names = [unit for unit, marker in _SERVICES if os.path.exists(marker)]
    for path in sorted(glob.glob("/etc/postgresql/*/main/conf.d/webstack.conf")):
        names.append("postgresql@%s-main.service" % path.split("/")[3])
    return [
        {"name": name.rpartition(".")[0], "ok": shown.get("ActiveState") == "active", "state": shown.get("ActiveState")}
        for name, shown in show(names, runner).items()
    ]


def failed_units(runner: Runner = run) -> list[str]:
    """Units that systemd has given up."""
    _code, output, _error = runner(
        ["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"]
    )
    return [line.split()[0] for line in output.splitlines() if line.strip()]


def of_host(runner: Runner = run) -> dict[str, Any]:
    """All of it."""
    return {
        "ports": ports(listeners(tables()), owners()),
        "disks": disks(),
        "services": services(runner),
        "failed_units": failed_units(runner),
    }
