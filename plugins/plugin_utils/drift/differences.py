# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the result of one task says of what differs.

Modules of this collection say it themselves, in ``drift``. Of any other one it is read from what they return: ``diff``,
``actions``, and at last their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.drift import entry, lines, of, short

HIDDEN = "not shown (no_log)"
_NAMES = ("path", "dest", "name", "unit", "service", "key", "src", "cmd")
_APT = ("ansible.builtin.apt", "ansible.legacy.apt", "apt")
_USER = ("ansible.builtin.user", "ansible.legacy.user", "user")
_OF_A_USER = ("uid", "comment", "home", "shell")


def differences(result: Mapping[str, Any], action: str, task: str) -> list[dict[str, Any]]:
    """Each thing that differs: ``thing``, ``expected``, ``found``, ``since`` and, where the module says it, ``site``.

    Args:
        result: of a task or of one item of its loop, as callbacks get it.
        action: the name of the module.
        task: the name of the task, for results that say nothing more.
    """
    told = result.get("drift")
    if isinstance(told, list):
        entries = [_whole(one) for one in told if isinstance(one, dict)]
        if entries or not result.get("changed"):
            return entries
    if not result.get("changed"):
        return []
    for found in (_of_packages(result, action), _of_user(result, action), _of_diff(result), _of_actions(result)):
        entries = [_whole(one) for one in found]
        if entries:
            return entries
    hidden = result.get("_ansible_no_log") or "censored" in result
    return [entry(_named(result) or task, HIDDEN if hidden else "as declared", HIDDEN if hidden else "different")]


def _whole(one: Mapping[str, Any]) -> dict[str, Any]:
    texts = [str(one.get(key) or "") for key in ("thing", "expected", "found")]
    return entry(texts[0], texts[1], texts[2], one.get("since"), one.get("site"))


def _arguments(result: Mapping[str, Any]) -> Mapping[str, Any]:
    arguments = (result.get("invocation") or {}).get("module_args")
    return arguments if isinstance(arguments, dict) else {}


def _named(result: Mapping[str, Any]) -> str:
    """What the task is about, in the words of its result or arguments."""
    for source in (result, _arguments(result)):
        for key in _NAMES:
            value = source.get(key)
            if isinstance(value, list):
                value = ", ".join(str(one) for one in value)
            if value and isinstance(value, (str, int)):
                return str(value)
    return ""


def _of_actions(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    actions = result.get("actions")
    return of([str(one) for one in actions]) if isinstance(actions, list) else []


def _of_diff(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    given = result.get("diff")
    parts = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]
    if result.get("actions") and not any(one.get("after_header") for one in parts):
        return  # they say the same
    for one in parts:
        thing = str(one.get("before_header") or one.get("after_header") or _named(result))
        thing = re.sub(r" \((?:content|file)\)$", "", thing)
        before, after = one.get("before"), one.get("after")
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _of_values(before, after, thing)
        elif before is not None or after is not None:
            expected, found = lines(_text(before), _text(after))
            yield entry(thing, expected, found)
        elif one.get("prepared"):
            yield entry(thing, short(str(one["prepared"]).strip().splitlines()), "different")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _of_values(before: Mapping[str, Any], after: Mapping[str, Any], thing: str) -> Iterator[dict[str, Any]]:
    """Modules such as ``file`` show dictionaries: those keys that differ."""
    differ = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if differ:
        words = [", ".join(f"{key} {one.get(key)}" for key in differ) for one in (after, before)]
        yield entry(str(after.get("path") or before.get("path") or thing), words[0], words[1])


def _of_packages(result: Mapping[str, Any], action: str) -> list[dict[str, Any]]:
    """Packages, of what apt-get would do those that were asked for."""
    prepared = (result.get("diff") or {}).get("prepared") if isinstance(result.get("diff"), dict) else None
    if action not in _APT or not prepared:
        return []
    given = _arguments(result).get("name") or _arguments(result).get("package") or []
    names = {str(one).partition("=")[0] for one in (given if isinstance(given, list) else [given])}
    absent = _arguments(result).get("state") == "absent"
    found: dict[str, str] = {}
    words = ""
    for line in str(prepared).splitlines():
        if not line.startswith(" "):
            kind = re.search(r"NEW packages|REMOVED|upgraded|DOWNGRADED", line)
            words = (
                {"NEW packages": "missing", "REMOVED": "installed"}.get(kind.group(0), "another version")
                if kind
                else ""
            )
        elif words:
            found.update((one.rstrip("*"), words) for one in line.split())
    asked = [one for one in found if one in names] or list(found)
    return [entry(f"package {one}", "absent" if absent else "installed", found[one]) for one in sorted(asked)]


def _of_user(result: Mapping[str, Any], action: str) -> list[dict[str, Any]]:
    """An account; the module returns what it is after the change that check mode does not make."""
    wanted = _arguments(result)
    if action not in _USER or not wanted.get("name"):
        return []
    thing = f"user {wanted['name']}"
    if wanted.get("state") == "absent":
        return [entry(thing, "absent", "there")]
    if "uid" not in result:
        return [entry(thing, "there", "missing")]
    differ = [key for key in _OF_A_USER if wanted.get(key) is not None and str(wanted[key]) != str(result.get(key))]
    if not differ:
        groups = wanted.get("groups")
        text = ", ".join(groups) if isinstance(groups, list) else groups
        return [entry(thing, f"groups {text}" if text else "as declared", "other groups" if text else "different")]
    words = [", ".join(f"{key} {one.get(key)}" for key in differ) for one in (wanted, result)]
    return [entry(thing, words[0], words[1])]
