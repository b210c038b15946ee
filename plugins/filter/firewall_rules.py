# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: firewall_rules
short_description: Openings of a firewall as rules of nftables
version_added: 0.1.0
description:
  - Gives the lines of a chain that accept what the openings say, for both address families.
  - A port, an address or a comment that cannot be is an error, which names it.
options:
  _input:
    description:
      - The openings, with C(port) (any if not given), C(protocol) (tcp if not given), C(from) (anybody if empty) and C(comment).
    type: list
    elements: dict
    required: true
  verdict:
    description: What becomes of such packets.
    type: str
    default: accept
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: The database is for one server
  ansible.builtin.debug:
    msg: "{{ [{'port': 5432, 'from': ['10.0.0.2']}] | webstack.django.firewall_rules }}"
    # ip saddr { 10.0.0.2 } tcp dport 5432 accept
"""

RETURN = r"""
_value:
  description: One rule for each opening and address family.
  type: list
  elements: str
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webstack.django.plugins.plugin_utils import openings


def firewall_rules(given: Iterable[Mapping[str, Any]], verdict: str = "accept") -> list[str]:
    """The rules."""
    try:
        return openings.rules(given, verdict)
    except openings.OpeningError as error:
        raise AnsibleFilterError(f"firewall: {error}") from None


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"firewall_rules": firewall_rules}
