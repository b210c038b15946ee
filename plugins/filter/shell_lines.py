# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: shell_lines
short_description: Write the commands that lead to a site on its servers
version_added: 0.1.0
description: Nothing is run, and no password of the inventory is in the text.
options:
  _input:
    description: The site, with its name and process_manager.
    type: dict
    required: true
  variables:
    description: The variables of each server, of which C(webstack_tiers) and those of its connection are read.
    type: dict
    required: true
  hosts:
    description: The servers.
    type: list
    elements: str
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: How do I get there?
  webstack.django.say:
    text: "{{ {'name': 'blog'} | webstack.django.shell_lines(hostvars, ansible_play_hosts) }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.day2.shell import lines


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"shell_lines": lines}
