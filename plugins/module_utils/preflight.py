# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read-only questions to a server, asked before the first change. Every answer says what to do."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterable, Mapping

from ansible_collections.webstack.django.plugins.module_utils import sockets

SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04", "26.04")}
FREE_MB = {"/": 1024, "/var": 1024, "/srv": 512, "/tmp": 64}  # packages and one build of an ordinary project
FREE_INODES = 20000
BUILT = 1767225600  # 2026-01-01 in seconds since the epoch: no server's clock is before it


def os_release(text: str) -> dict[str, str]:
    """The fields of /etc/os-release."""
    found = re.findall(r"^([A-Z_]+)=([\"']?)(.*)\2$", text, re.MULTILINE)
    return {name: value for name, _quote, value in found}


def system(fields: Mapping[str, str]) -> list[str]:
    """Whether the distribution is one that the roles know."""
    name, version = fields.get("ID", "unknown"), fields.get("VERSION_ID", "")
    if version in SUPPORTED.get(name, ()):
        return []
    found = fields.get("PRETTY_NAME") or f"{name} {version}".strip()
    known = "Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04"
    return [f"the operating system is {found}; supported are {known}. Reinstall the server with one of these."]


def root(uid: int) -> list[str]:
    """Whether we are root by now."""
    if uid == 0:
        return []
    return ["the tasks do not run as root; log in as root, or as a user with sudo and `become: true`."]


def init(comm: str) -> list[str]:
    """Whether systemd runs the machine."""
    if comm == "systemd":
        return []
    return [f"systemd is not process 1 but {comm or 'something unknown'}; the roles need systemd."]


def clock(now: float) -> list[str]:
    """Whether the clock is plausible: certificates and package signatures depend on it."""
    if now >= BUILT:
        return []
    shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
    return [f"the clock says {shown} UTC; set it right (`timedatectl set-time`), or downloads cannot be verified."]


def converges_itself(since: str) -> list[str]:
    """What is said where the server's own run (role os, os_pull) does not end."""
    return [
        f"the server has been converging itself since {since} (webstack-pull.service); run this again when that has ended. "
        "`journalctl -u webstack-pull` on the server shows what it does, `systemctl stop webstack-pull` ends it."
    ]


def disks(thresholds: Mapping[str, int]) -> list[str]:
    """File systems with too little room, each named once."""
    problems = []
    seen: dict[int, int] = {}
    for path, wanted in thresholds.items():
        existing = path if os.path.isdir(path) else "/"
        device = os.stat(existing).st_dev
        if seen.get(device, 0) >= wanted:
            continue
        seen[device] = wanted
        info = os.statvfs(existing)
        free = info.f_bavail * info.f_frsize // (1024 * 1024)
        if free < wanted:
            problems.append(
                f"the disk of {existing} has {free} MB free; at least {wanted} MB are needed. Free some space."
            )
        elif info.f_files and info.f_favail < FREE_INODES and not _in_memory(existing):
            problems.append(f"the file system of {existing} has {info.f_favail} inodes left; remove many small files.")
    return problems


def _in_memory(path: str) -> bool:
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = [line.split()[1:3] for line in file]
    return any(point == path and kind == "tmpfs" for point, kind in mounts)


def listeners(tables: Iterable[str]) -> dict[int, set[str]]:
    """Inodes of listening sockets by TCP port, from the texts of /proc/net/tcp and tcp6."""
    found: dict[int, set[str]] = {}
    for _address, port, inode, _user in sockets.listeners(tables):
        found.setdefault(port, set()).add(inode)
    return found


def listening() -> dict[int, set[str]]:
    """``listeners`` of this host."""
    return listeners(sockets.tables())


def _programs(inodes: set[str]) -> list[str]:
    """``name (pid N)`` of the processes that hold sockets."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            if wanted & links:
                with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                    found.append(f"{file.read().strip()} (pid {pid})")
        except OSError:
            continue
    return sorted(found)


def left(paths: Iterable[str], keep: Iterable[str]) -> list[str]:
    """The paths (or what globs match) that are there, but for those to keep."""
    kept = set(keep)
    return [path for pattern in paths for path in sorted(glob.glob(pattern)) if path not in kept]


def ports(wanted: Mapping[int, Iterable[str]], leaving: Iterable[str] = ()) -> list[str]:
    """Ports that another program holds than those that may.

    Args:
        wanted: for each TCP port the names of the programs that are to have it.
        leaving: programs that hold it rightly until their successor starts.
    """
    busy = listening()
    problems = []
    for port, ours in wanted.items():
        holders = _programs(busy.get(port, set()))
        others = [one for one in holders if one.split(" ")[0] not in {*ours, *leaving}]
        if others:
            problems.append(
                f"port {port}, which {' or '.join(ours)} is to have, is taken by {', '.join(others)}; stop that program, or "
                "keep this server out of the tier"
            )
    return problems
