# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: firewall_logins
short_description: Log-in pages as regular expressions of fail2ban
version_added: 0.1.0
description:
  - Gives the expressions that find a refused log-in in the access log of nginx or Apache, in the format that the roles write.
options:
  _input:
    description: The sites (C(site)), with C(domains), and the paths of their log-in pages - C(forms) and C(apis).
    type: list
    elements: dict
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Django's own log-in page
  ansible.builtin.debug:
    msg: "{{ [{'site': 'blog', 'domains': ['blog.example.com'], 'forms': ['/admin/login/']}] | webstack.django.firewall_logins }}"
"""

RETURN = r"""
_value:
  description: The expressions.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils import logins


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"firewall_logins": logins.patterns}
