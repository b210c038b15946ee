# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What differs from what is declared, in one form for all modules: the key ``drift`` of a result.

The callback ``webstack.django.drift`` makes the report of it. No entry holds a secret.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Sequence
from typing import Any

LINES = 12  # of a text, that are shown
WIDTH = 200  # of one of them


def entry(
    thing: str, expected: str, found: str, since: float | str | None = None, site: str | None = None
) -> dict[str, Any]:
    """One thing that differs.

    Args:
        thing: its path, or the name of the unit, package, role, setting.
        expected: what it should be.
        found: what it is.
        since: it has been so at least since then: seconds since the epoch, or the text of `moment`; None where that is
            not known.
        site: whose it is, where that is not plain from its name.
    """
    when = since if isinstance(since, str) or not since else moment(since)
    return {"thing": thing, "expected": expected, "found": found, "since": when or None, "site": site}


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def changed(path: str, attributes: bool = False) -> float | None:
    """When the content of a path changed, or with ``attributes`` its owner and mode; of a missing path, what it was in."""
    place = path
    while True:
        try:
            info = os.lstat(place)
        except OSError:
            above = os.path.dirname(place)
            if above == place:
                return None
            place = above
        else:
            return info.st_ctime if attributes and place == path else info.st_mtime


def lines(before: str, after: str) -> tuple[str, str]:
    """The lines that should be there and are not, and those that are there and should not be."""
    old, new = before.splitlines(), after.splitlines()
    expected: list[str] = []
    found: list[str] = []
    for kind, i, j, k, n in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            found += old[i:j]
            expected += new[k:n]
    if not any(line.strip() for line in expected + found):
        return "the declared content", "the same with other line ends or blank lines"
    return short(expected) or "without these lines", short(found) or "these lines are missing"


def short(words: Sequence[str]) -> str:
    """These lines, or the first ones of them and how many more there are."""
    kept = [line if len(line) <= WIDTH else line[:WIDTH] + "..." for line in words[:LINES]]
    more = len(words) - len(kept)
    return "\n".join([*kept, f"(and {more} more lines)"] if more else kept)


class Action(str):
    """What was or would be done, in words, which knows what differs."""

    drift: list[dict[str, Any]]

    def __new__(cls, words: str, *differs: dict[str, Any]) -> Action:
        """Args: words: shown as they are. differs: made by `entry`."""
        made = super().__new__(cls, words)
        made.drift = list(differs)
        return made


def of(actions: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of all actions; one that knows none is the thing itself."""
    found: list[dict[str, Any]] = []
    for action in actions:
        found += action.drift if isinstance(action, Action) else [entry(str(action), "done", "not done")]
    return found
