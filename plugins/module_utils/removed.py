# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run takes away of what somebody else wrote stays in a place where nothing reads it, for who misses it."""

from __future__ import annotations

import os

from ansible_collections.webstack.django.plugins.module_utils import safe_fs

DIRECTORY = "/var/lib/webstack/removed"
_OURS = b"webstack.django."
_FIRST = 2000  # bytes that our header is in


def keep(path: str, directory: str = DIRECTORY) -> None:
    """Copy a file that goes away to the same path below a directory, where the newest one of each path is.

    What one of our roles wrote is not kept, and neither are links: who knows the path knows them.
    """
    try:
        content = safe_fs.read(path)
    except OSError:
        return
    if _OURS in content[:_FIRST]:
        return
    target = directory + path
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    with open(os.open(target + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.rename(target + ".new", target)
