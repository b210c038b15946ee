#!/usr/bin/env python3
"""The alternatives, their combinations, and the page with what came of them (docs/matrix.md).

cells.py      write the page from the last results
"""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from allpairspy import AllPairs

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".cache" / "matrix"
PAGE = ROOT / "docs" / "matrix.md"
# In this order the pairwise selection with both distributions is the smallest that there can be (3 x 3).
ALTERNATIVES = {
    "database": ["postgresql", "mariadb", "sqlite"],
    "web_server": ["nginx", "apache"],
    "app_server": ["gunicorn", "uwsgi"],
    "process_manager": ["systemd", "supervisord"],
    "cache": ["redis", "memcached", "none"],
}
PROGRAMS = [
    "nginx",
    "apache2",
    "postgresql-15",
    "postgresql-17",
    "mariadb-server",
    "redis-server",
    "memcached",
    "supervisor",
    "systemd",
    "python3",
]


@dataclass(frozen=True)
class Cell:
    """One combination on one distribution."""

    image: str
    database: str
    web_server: str
    app_server: str
    process_manager: str
    cache: str

    def __str__(self) -> str:
        return "-".join(astuple(self))

    @property
    def choices(self) -> dict[str, str]:
        """The keys of the site."""
        return {key: getattr(self, key) for key in ALTERNATIVES}


def every() -> list[Cell]:
    """All combinations on Debian 13, and a pairwise selection on Debian 12."""
    whole = [Cell("debian13", *choice) for choice in itertools.product(*ALTERNATIVES.values())]
    return whole + [Cell("debian12", *choice) for choice in AllPairs(list(ALTERNATIVES.values()))]


def pairwise() -> list[Cell]:
    """Any two alternatives, and each of them with each distribution, are together in one of these."""
    return [Cell(*choice) for choice in AllPairs([["debian13", "debian12"], *ALTERNATIVES.values()])]


# What nearly all other tests have: the scenarios stack_single and stack_tiers, demo, deploy, day2, drift.
USUAL = Cell("debian13", "postgresql", "nginx", "gunicorn", "systemd", "redis")


def shared() -> list[list[Cell]]:
    """The same without the usual one; those with the same distribution and web server are sites of one server."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in pairwise():
        if cell != USUAL:
            found.setdefault((cell.image, cell.web_server), []).append(cell)
    return list(found.values())


def page() -> str:
    """The table of the last results."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    good = [one for one in found if _good(one)]
    dates = sorted({one["date"] for one in found})
    lines = [
        "# Every combination",
        "",
        "<!-- Made by `make matrix` (tests/matrix/cells.py). -->",
        "",
        f"Each combination on a server of its own, {' to '.join(dict.fromkeys([dates[0], dates[-1]])) if dates else ''}: a first",
        "converge, a second one that changes nothing, a check that predicts nothing, a page and a stylesheet over HTTPS, log-in",
        "and session, a row that is there after a restart of the server, the scores of `systemd-analyze security`.",
        f"**{len(good)} of {len(found)} hold**; there are {len(every())}. `make matrix` runs all of them again, `pytest tests/matrix --full --cell apache-uwsgi` some.",
        "",
        "| distribution | database | web | application | processes | cache | first converge | no change | tasks | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cell = Cell(*one["cell"].split("-"))
        state = (
            "ok" if _good(one) else ", ".join(key for key, value in one.get("tests", {}).items() if value != "passed")
        )
        numbers = [f"{one.get('first', 0):.0f} s", f"{one.get('again', 0):.0f} s", str(one.get("tasks", ""))]
        lines.append("| " + " | ".join([*astuple(cell), *numbers, state]) + " |")
    lines.append("")
    for image in sorted({one["cell"].split("-")[0] for one in found}):
        ours = [one.get("versions", {}) for one in found if one["cell"].startswith(image)]
        versions = {key: value for one in ours for key, value in one.items()}
        lines.append(f"- {image}: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    return "\n".join(lines) + "\n"


def _good(one: dict[str, Any]) -> bool:
    tests = one.get("tests", {})
    return bool(tests) and set(tests.values()) == {"passed"}


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(ROOT)}")
    sys.exit(0)
