# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: log_text
short_description: Make one text of the logs that servers sent
version_added: 0.1.0
description: Each line says which server and which process it is of, where there are several.
options:
  _input:
    description: The results of M(webstack.django.site_logs) by server.
    type: dict
    required: true
  site:
    description: Name of the site, for messages.
    type: str
    required: true
  process:
    description: The process that was asked for. It is an error if no server has it.
    type: str
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Print the lines
  webstack.django.say:
    text: "{{ {inventory_hostname: result} | webstack.django.log_text('blog') }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.plugin_utils.day2 import logs


def log_text(results: Mapping[str, Mapping[str, Any]], site: str, process: str | None = None) -> str:
    """One text of all results."""
    try:
        return logs.text(results, site, process or None)
    except logs.UnknownProcess as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"log_text": log_text}
