# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a unit should be and is, in the words of a report, out of the verbs that would bring it into its state."""

from __future__ import annotations

import glob
import os
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.changes import latest, newest
from ansible_collections.webstack.django.plugins.module_utils.services import UNIT_DIR, Unit, seconds


def entries(found: list[tuple[Unit, list[str]]]) -> list[dict[str, Any]]:
    """What a `Manager` found, in its order."""
    return [explain(unit, verbs) if verbs else outdated(unit) for unit, verbs in found]


def explain(unit: Unit, verbs: list[str]) -> dict[str, Any]:
    """One entry for all that differs of a unit; the last verb says since when."""
    expected, found = [], []
    since: float | None = None
    for verb in verbs:
        wanted, has, when = _words(unit, verb)
        expected.append(wanted)
        found += [has] if has not in found else []
        since = when or since
    return drift.entry(unit.name, ", ".join(expected), ", ".join(found), since)


def outdated(unit: Unit) -> dict[str, Any]:
    """Systemd has not read the files of a unit since they changed."""
    paths = [os.path.join(UNIT_DIR, unit.name), *unit.shown.get("DropInPaths", "").split()]
    when = newest([*paths, glob.escape(os.path.join(UNIT_DIR, unit.name)) + ".d"])
    return drift.entry(unit.name, "its files as they are on disk", "systemd has read older ones (daemon-reload)", when)


def _state(unit: Unit) -> str:
    if not unit.exists:
        return "no such unit"
    active, sub = unit.shown.get("ActiveState", "unknown"), unit.shown.get("SubState", "")
    return f"{active} ({sub})" if sub else active


def _words(unit: Unit, verb: str) -> tuple[str, str, float | None]:
    """What is expected, what is there, and since when."""
    shown, verb = unit.shown, verb.partition(" ")[0]
    if verb in ("mask", "unmask"):
        mask = os.path.join(UNIT_DIR, unit.name)
        since = drift.changed(mask) if verb == "unmask" and os.path.islink(mask) else None
        return ("masked", "not masked", None) if verb == "mask" else ("not masked", "masked", since)
    if verb in ("enable", "disable"):
        return verb + "d", "masked" if unit.masked else shown.get("UnitFileState") or "not enabled", None
    if verb == "stop":
        return "stopped", _state(unit), seconds(shown.get("ActiveEnterTimestamp", "")) or None
    if verb == "start":
        return "running", _state(unit), seconds(shown.get("InactiveEnterTimestamp", "")) or None
    if verb == "restart" and unit.deaf:
        return "can be reached", unit.deaf, None
    files = unit.declared.get("restart_on" if verb == "restart" else "reload_on") or []
    files = files or unit.declared.get("reload_on") or []
    when, path = latest(files)
    if not path:
        return "runs with its declared files", "runs with another one", None
    return f"runs with its files as they are ({path})", f"has not read it since it changed ({verb} is due)", when
