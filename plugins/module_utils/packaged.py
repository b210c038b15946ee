# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files came with a package, as dpkg knows them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable


def _names(path: str) -> set[str]:
    """A path and what it leads to; dpkg may know either with or without the /usr before /lib."""
    found = {path, os.path.realpath(path)}
    return found | {one[4:] for one in found if one.startswith("/usr/lib/")}


def packaged(paths: Iterable[str]) -> set[str]:
    """Those of some paths that a package brought, or that are links to something that one brought."""
    names = {path: _names(path) for path in paths}
    asked = sorted({name for some in names.values() for name in some if not set(name) & set("*?[\\")})
    if not asked:
        return set()
    try:
        done = subprocess.run(
            ["dpkg-query", "--search", *asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )
    except OSError:
        return set(names)  # it is not known, so nothing is taken away
    known = {line.rpartition(": ")[2] for line in done.stdout.splitlines() if not line.startswith("diversion ")}
    return {path for path, some in names.items() if some & known}
