# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare versions of Python with what a project asks for (the part of PEP 440 that is used for that)."""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"(===|==|!=|~=|>=|<=|>|<)\s*v?(\d+(?:\.\d+)*)(\.\*)?[a-z0-9.]*")


def _parts(version: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", version)]


def _compare(left: list[int], right: list[int]) -> int:
    size = max(len(left), len(right))
    one, other = left + [0] * (size - len(left)), right + [0] * (size - len(right))
    return (one > other) - (one < other)


def _holds(version: list[int], operator: str, wanted: list[int], prefix: bool) -> bool:
    if prefix:
        same = version[: len(wanted)] == wanted
        return same if operator == "==" else not same
    order = _compare(version, wanted)
    if operator == "~=":
        return order >= 0 and version[: len(wanted) - 1] == wanted[:-1]
    return {
        "==": order == 0,
        "===": order == 0,
        "!=": order != 0,
        ">=": order >= 0,
        "<=": order <= 0,
        ">": order > 0,
        "<": order < 0,
    }[operator]


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version such as ``3.11.2`` fits ``>=3.10,<4``; a clause that cannot be read is passed over."""
    own = _parts(version)[:3]
    for clause in specifier.split(","):
        found = _CLAUSE.fullmatch(clause.strip())
        if found and not _holds(own, found.group(1), _parts(found.group(2)), bool(found.group(3))):
            return False
    return True
