# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: terminal_refusal
short_description: Say why a management command needs a terminal
version_added: 0.1.0
description: Gives an empty text for a command that asks nothing, else what to do instead.
options:
  _input:
    description: The command with its arguments.
    type: str
    required: true
  site:
    description: Name of the site.
    type: str
    required: true
  host:
    description: A server that has it.
    type: str
    required: true
  variables:
    description: The variables of that server, of which those of its connection are read.
    type: dict
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Refuse what asks questions
  ansible.builtin.fail:
    msg: "{{ 'createsuperuser' | webstack.django.terminal_refusal('blog', 'web1', hostvars['web1']) }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.day2.shell import refusal


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"terminal_refusal": refusal}
