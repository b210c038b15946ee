# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel settings at run time: compare with /proc/sys, write what differs, name what cannot be written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift

ROOT = "/proc/sys"
MISSING = "this kernel has no such setting"
LOCKED = "cannot be written here (%s)"


class SysctlError(Exception):
    """The kernel refuses a value; the message is for the user."""


@dataclass
class Outcome:
    """What differs, and what is out of reach on this host (key to reason)."""

    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def path_of(key: str, root: str = ROOT) -> str:
    """The file of a key. Like sysctl(8): where the first separator is a slash, dots are part of a name."""
    dot, slash = key.find("."), key.find("/")
    if slash == -1 or (dot != -1 and dot < slash):
        key = key.translate(str.maketrans("./", "/."))
    return os.path.join(root, key)


def normal(value: object) -> str:
    """A value as the kernel compares it; YAML's true is 1."""
    return " ".join(str(int(value) if isinstance(value, bool) else value).split())


def _read(path: str) -> tuple[str, str]:
    """The value, or the reason why it cannot be had."""
    try:
        with open(path, encoding="utf-8") as file:
            return normal(file.read()), ""
    except FileNotFoundError:
        return "", MISSING
    except OSError as error:
        return "", f"cannot be read here ({error.strerror})"


def _locked(path: str) -> str:
    """Why it cannot be written, empty where it can: opening changes nothing yet."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        return LOCKED % error.strerror
    return ""


def compare(settings: dict[str, object], root: str = ROOT) -> Outcome:
    """What would have to be written. Reads only."""
    outcome = Outcome()
    for key, raw in settings.items():
        wanted = normal(raw)
        path = path_of(key, root)
        found, reason = _read(path)
        if not reason and found != wanted:
            reason = _locked(path)
        if reason:
            outcome.skipped[key] = reason
        elif found != wanted:
            outcome.changed[key] = (found, wanted)
    return outcome


def apply(outcome: Outcome, root: str = ROOT) -> None:
    """Write what differs. What the kernel does not permit after all moves to ``skipped``."""
    for key, (_found, wanted) in list(outcome.changed.items()):
        try:
            with open(path_of(key, root), "w", encoding="utf-8") as file:
                file.write(wanted)
        except PermissionError as error:
            del outcome.changed[key]
            outcome.skipped[key] = LOCKED % error.strerror
        except OSError as error:
            raise SysctlError(
                f"{key} = {wanted}: the kernel refuses this value ({error.strerror}); correct it in the settings"
            ) from error


def result(outcome: Outcome) -> dict[str, Any]:
    """What the module returns, without its warnings and its diff."""
    return {
        "changed": bool(outcome.changed),
        "changed_keys": list(outcome.changed),
        "skipped_keys": outcome.skipped,
        "drift": [drift.entry(key, wanted, found) for key, (found, wanted) in outcome.changed.items()],
    }


def warnings(outcome: Outcome) -> list[str]:
    """What is out of reach, and why."""
    found = []
    for reason in sorted(set(outcome.skipped.values())):
        keys = [key for key in sorted(outcome.skipped) if outcome.skipped[key] == reason]
        found.append(f"Kernel settings left as they are: {', '.join(keys)}: {reason}")
    return found
