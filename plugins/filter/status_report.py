# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: status_report
short_description: Make one text of what servers say of their sites
version_added: 0.1.0
description: Marks what is wrong, and repeats it at the end.
options:
  _input:
    description: The results of M(webstack.django.site_status) by server, also those of servers that cannot be reached.
    type: dict
    required: true
  sites:
    description: Names of the sites, in order.
    type: list
    elements: str
    required: true
  format:
    description: A table for people, or JSON for programs.
    type: str
    choices: [text, json]
    default: text
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Print how the site is
  webstack.django.say:
    text: "{{ {inventory_hostname: result} | webstack.django.status_report(['blog']) }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.plugin_utils.day2 import status


def status_report(results: Mapping[str, Mapping[str, Any]], sites: Sequence[str], format: str = "text") -> str:
    """One text of all results."""
    if format not in ("text", "json"):
        raise AnsibleFilterError(f"format: {format!r} is not one of text, json")
    return status.as_json(results, sites) if format == "json" else status.table(results, sites)


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"status_report": status_report}
