# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: site_hooks
short_description: The task files of sites at one place of their deployment
version_added: 0.1.0
description:
  - Says which files of tasks the sites that get another release want to have run now.
positional: at, names
options:
  _input:
    description: The sites, as the role C(webstack.django.django_app) describes them.
    type: list
    elements: dict
    required: true
  at:
    description: The place, like V(before_switch).
    type: str
    required: true
  names:
    description: Names of the sites that get another release.
    type: list
    elements: str
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Run the task files of the user
  ansible.builtin.include_tasks: "{{ item.file }}"
  loop: "{{ django_app_sites | webstack.django.site_hooks('before_switch', ['blog']) }}"
"""

RETURN = r"""
_value:
  description: C(site), C(file) and C(release) of each.
  type: list
  elements: dict
"""

from typing import Any


def site_hooks(sites: list[dict[str, Any]], at: str, names: list[str]) -> list[dict[str, str]]:
    """Task files of some sites, in the order of the sites."""
    return [
        {"site": site["name"], "file": file, "release": site.get("release_id") or ""}
        for site in sites
        if site["name"] in names
        for file in (site.get("hooks") or {}).get(at) or []
    ]


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"site_hooks": site_hooks}
