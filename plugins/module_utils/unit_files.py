# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of systemd units that nobody declared, and sockets that are not what their unit says.

A drop-in beside the packaged unit, or a copy of it in /etc, changes how a service runs without a trace in any file that we
write. An administrator who wants one says so in it, by a comment with the words of `KEEP`.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import stat
from collections.abc import Mapping

from ansible_collections.webstack.django.plugins.module_utils import removed
from ansible_collections.webstack.django.plugins.module_utils.config_files import KEEP

# Where people and `systemctl edit`, `set-property` and `edit --full` write; packages have theirs in /usr.
PLACES = (
    "/etc/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system",
    "/run/systemd/system.control",
)
PACKAGED = ("/usr/lib/systemd/system", "/lib/systemd/system")
OURS = "webstack.django."
_LINES = 20


def names(unit: str) -> list[str]:
    """The names under which a unit has files: its own, its template's, and the beginnings of its own up to each dash.

    Not among them is what all units of its kind share (service.d): that is no change of this service.
    """
    stem, _dot, suffix = unit.rpartition(".")
    found = [unit]
    if "@" in stem:
        found.append(re.sub(r"@.*$", "@", stem) + "." + suffix)
    found += [f"{stem[: match.end()]}.{suffix}" for match in re.finditer("-", stem[:-1])]
    return found


def _says(path: str, words: tuple[str, ...]) -> bool:
    """Whether the first lines of a file hold one of these words."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line for _number, line in zip(range(_LINES), file)]
    except OSError:
        return False
    return any(word in line for line in lines for word in words)


def _ours(path: str) -> bool:
    return os.path.basename(path).startswith("webstack") and not os.path.islink(path) and _says(path, (OURS,))


def undeclared(unit: str, places: tuple[str, ...] = PLACES, packaged: tuple[str, ...] = PACKAGED) -> list[str]:
    """Drop-ins of a unit, and copies that take the place of a packaged one, which neither we nor a package brought."""
    found = []
    for place in places:
        for name in names(unit):
            for path in sorted(glob.glob(os.path.join(glob.escape(os.path.join(place, name + ".d")), "*.conf"))):
                if not _ours(path) and not _says(path, (KEEP,)):
                    found.append(path)
        path = os.path.join(place, unit)
        brought = any(os.path.exists(os.path.join(base, name)) for base in packaged for name in names(unit)[:2])
        if brought and os.path.isfile(path) and not os.path.islink(path) and not _says(path, (OURS, KEEP)):
            found.append(path)
    return found


def remove(path: str, kept: str = removed.DIRECTORY) -> None:
    """Take such a file away, and its directory where nothing else is in it; a copy stays below another directory."""
    removed.keep(path, kept)
    os.unlink(path)
    directory = os.path.dirname(path)
    if directory.endswith(".d") and not os.listdir(directory):
        os.rmdir(directory)


def deaf(shown: Mapping[str, str]) -> str:
    """What is wrong with the file of a listening socket unit; empty where nothing is.

    The file of a socket can be removed while the unit goes on listening, where nobody can reach it.

    Args:
        shown: properties of the unit, as `systemctl show` has them.
    """
    path = shown.get("Listen", "").partition(" ")[0]
    if not path.startswith("/"):
        return ""
    words = missing(path)
    if words:
        return words
    info = os.lstat(path)
    wrong = []
    mode = shown.get("SocketMode", "")
    if mode and stat.S_IMODE(info.st_mode) != int(mode, 8):
        wrong.append(f"mode {stat.S_IMODE(info.st_mode):04o} instead of {mode}")
    user, group = shown.get("SocketUser", ""), shown.get("SocketGroup", "")
    try:
        if user and info.st_uid != pwd.getpwnam(user).pw_uid:
            wrong.append(f"owner {info.st_uid} instead of {user}")
        if group and info.st_gid != grp.getgrnam(group).gr_gid:
            wrong.append(f"group {info.st_gid} instead of {group}")
    except KeyError:
        return ""  # systemd says what is wrong then
    return f"{path} has {', '.join(wrong)}" if wrong else ""


def missing(path: str) -> str:
    """Why nobody can connect to the socket at a path; empty where it is there."""
    try:
        there = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        there = False
    return "" if there else f"{path} is gone"
