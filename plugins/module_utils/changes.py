# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When files changed last."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator


def newest(patterns: list[str]) -> float:
    """The latest change time (seconds since the epoch) of files, links, directories (recursive) and globs.

    The inode's change time: a file that was put in place by a rename, even an old one from a backup, is
    new to a daemon whatever its modification time says.
    """
    return latest(patterns)[0]


def latest(patterns: list[str]) -> tuple[float, str]:
    """The same, and whose it is."""
    found = (0.0, "")
    for pattern in patterns:
        for path in glob.glob(pattern) if any(mark in pattern for mark in "*?[") else [pattern]:
            for entry in _walk(path):
                try:
                    found = max(found, (os.lstat(entry).st_ctime, entry))
                except (FileNotFoundError, NotADirectoryError):
                    continue
    return found


def _walk(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for directory, directories, files in os.walk(path):
            for name in directories + files:
                yield os.path.join(directory, name)
