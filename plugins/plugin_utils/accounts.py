# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the databases of accounts say."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any


def query(accounts: Iterable[Mapping[str, Any]]) -> str:
    """The command whose output `differ` reads: accounts, groups, and the homes that are not there."""
    names, homes = [], []
    for one in accounts:
        names.append(one["name"])
        homes += [one["home"]] if one["state"] == "present" and not one["system"] else []
    gone = f'for home in {shlex.join(homes)}; do [ -e "$home" ] || printf \'gone %s\\n\' "$home"; done'
    return f"getent passwd {shlex.join(names)}; getent group; {gone}"


def differ(accounts: Iterable[Mapping[str, Any]], said: str) -> list[Mapping[str, Any]]:
    """The accounts that are not as they are declared, as `ansible.builtin.user` would see it."""
    lines = [line.split(":") for line in said.splitlines()]
    known = {line[0]: line for line in lines if len(line) == 7}
    groups = [line for line in lines if len(line) == 4]
    gone = {line.removeprefix("gone ") for line in said.splitlines() if line.startswith("gone ")}
    return [one for one in accounts if not _holds(one, known.get(one["name"]), groups, gone)]


def _holds(one: Mapping[str, Any], entry: list[str] | None, groups: list[list[str]], gone: set[str]) -> bool:
    if one["state"] == "absent" or entry is None:
        return one["state"] == "absent" and entry is None
    if entry[5:] != [one["home"], one["shell"]] or (not one["system"] and one["home"] in gone):
        return False
    if one["groups"] is None:
        return True
    primary = {name for name, _password, number, _members in groups if number == entry[3]}
    member = {name for name, _password, _number, members in groups if one["name"] in members.split(",")}
    return member - primary == set(one["groups"]) - primary
