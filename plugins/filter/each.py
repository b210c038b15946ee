# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: each
short_description: Shape every item of a list
version_added: 0.1.0
description:
  - Gives one dictionary for each item, made from a shape in which V({key}) stands for the item's value.
  - A text that is nothing but V({key}) becomes the value itself, whatever its type; a list in a list is spliced in.
  - Items with C(state=absent) are left out unless O(state) says otherwise.
options:
  _input:
    description: The items.
    type: list
    elements: dict
    required: true
  shape:
    description: The dictionary to make of each item.
    type: dict
    required: true
  name:
    description: Name of the variable by which templates get the whole item, under C(vars).
    type: str
  defaults:
    description: Values for keys that an item lacks, or has as null.
    type: dict
    default: {}
  state:
    description: Which items are taken.
    type: str
    choices: [present, absent]
    default: present
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: One file for each site
  webstack.django.config_files:
    files: "{{ sites | webstack.django.each({'path': '/etc/x/{name}.conf', 'template': 'x.conf.j2'}, name='site') }}"
"""

RETURN = r"""
_value:
  description: One dictionary for each item.
  type: list
  elements: dict
"""

import re
from typing import Any

from ansible.errors import AnsibleFilterError

_KEY = re.compile(r"\{(\w+)\}")


def _value(item: dict[str, Any], key: str) -> Any:
    if key not in item:
        raise AnsibleFilterError(f"webstack.django.each: {item.get('name', item)} has no {key!r}")
    return item[key]


def _fill(shape: Any, item: dict[str, Any]) -> Any:
    if isinstance(shape, dict):
        return {key: _fill(one, item) for key, one in shape.items()}
    if isinstance(shape, (list, tuple)):
        result: list[Any] = []
        for one in shape:
            filled = _fill(one, item)
            result += filled if isinstance(filled, list) else [filled]
        return result
    if not isinstance(shape, str):
        return shape
    whole = _KEY.fullmatch(shape)
    if whole:
        return _value(item, whole.group(1))
    return _KEY.sub(lambda found: str(_value(item, found.group(1))), shape)


def each(
    items: list[dict[str, Any]],
    shape: dict[str, Any],
    name: str | None = None,
    defaults: dict[str, Any] | None = None,
    state: str = "present",
) -> list[dict[str, Any]]:
    """Shape every item of a list."""
    result = []
    for raw in items:
        if (raw.get("state") or "present") != state:
            continue
        item = {**(defaults or {}), **{key: one for key, one in raw.items() if one is not None}}
        made = _fill(shape, item)
        if name:
            made["vars"] = {name: item}
        result.append(made)
    return result


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"each": each}
