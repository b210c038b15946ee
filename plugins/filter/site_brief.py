# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: site_brief
short_description: Take from sites what a module needs that asks about them
version_added: 0.1.0
description: Leaves out everything that may be a secret, such as the environment.
options:
  _input:
    description: Sites, validated and with all defaults.
    type: list
    elements: dict
    required: true
  names:
    description: Which of them. Those that are to be there if not given.
    type: list
    elements: str
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Ask how a site is
  webstack.django.site_status:
    sites: "{{ webstack_sites_given | webstack.django.site_brief(['blog']) }}"
"""

RETURN = r"""
_value:
  description: The sites with name, domains, host, path, status, protocol, engine and database.
  type: list
  elements: dict
"""

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.day2.brief import briefs


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"site_brief": briefs}
