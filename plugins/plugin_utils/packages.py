# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the database of dpkg says of packages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.drift import entry

# Names alone, without a version, an architecture or a pattern.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# Of what apt has noted (apt-mark), the packages that were asked for.
_AUTOMATIC = """
/^Package: / { name = $2 }
/^Auto-Installed: 1/ && index(asked, " " name " ") { print "automatic", name }
"""


def query(names: Iterable[str]) -> str:
    """The command whose output `missing` reads."""
    asked = " ".join(name for name in names if _NAME.fullmatch(name))
    awk = shlex.join(["awk", "-v", f"asked= {asked} ", _AUTOMATIC, "/var/lib/apt/extended_states"])
    return f"{{ dpkg-query -W -f='${{db:Status-Status}} ${{Package}}\\n' {asked}; {awk}; }} 2>/dev/null"


def missing(names: Iterable[str], said: str) -> list[str]:
    """The packages to ask apt for: those that are not installed, and those that only came with another one.

    An ``apt autoremove`` would take the latter away. What is more than a name is always apt's to say.
    """
    lines = [line.split(" ") for line in said.splitlines() if line.count(" ") == 1]
    installed = {name for status, name in lines if status == "installed"}
    automatic = {name for status, name in lines if status == "automatic"}
    return [name for name in names if name not in installed - automatic]


# The last change of each package, with its time, which is local.
_LOGGED = """
$3 == "status" { split($5, one, ":"); if (index(asked, " " one[1] " ")) last[one[1]] = $1 " " $2 }
END { for (name in last) print name, last[name] }
"""
_FOUND = {
    "config-files": "removed",
    "installed": "installed with another package only, and so removed by an autoremove",
}


def history(names: Iterable[str]) -> str:
    """The command that asks the log of dpkg when these packages changed, for `differences`."""
    asked = " ".join(name for name in names if _NAME.fullmatch(name))
    awk = shlex.join(["awk", "-v", f"asked= {asked} ", _LOGGED])
    return (
        f"{{ cat /var/log/dpkg.log.1; cat /var/log/dpkg.log; }} 2>/dev/null | {awk} | "
        'while read -r name day clock; do echo "$name $(date -u -d "@$(date -d "$day $clock" +%s)" +%FT%TZ)"; done'
    )


def differences(wanted: Iterable[str], said: str, logged: str) -> list[dict[str, Any]]:
    """What differs of the packages to ask apt for, for a report; ``logged`` is what `history` printed."""
    lines = [line.split(" ") for line in said.splitlines() if line.count(" ") == 1]
    states = {name: status for status, name in lines if status != "automatic"}
    times = dict(line.split(" ") for line in logged.splitlines() if line.count(" ") == 1)
    entries = []
    for name in wanted:
        state = states.get(name, "")
        found = _FOUND.get(state) or (state if state not in ("", "not-installed") else "missing")
        entries.append(entry(f"package {name}", "installed", found, times.get(name)))
    return entries
