# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: site_layout
short_description: Where everything of a site lies on a server
version_added: 0.1.0
description:
  - Gives name, state, user, group, paths and environment of each item of C(django_app_sites), with the same defaults as
    the module M(webstack.django.release).
options:
  _input:
    description: The sites.
    type: list
    elements: dict
    required: true
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Show where the site blog lies
  ansible.builtin.debug:
    msg: "{{ ([{'name': 'blog'}] | webstack.django.site_layout | first).root }}"
"""

RETURN = r"""
_value:
  description: One dictionary for each site; C(environment) is the text of its EnvironmentFile.
  type: list
  elements: dict
"""

from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release.site import Site, environment_file


def site_layout(sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Names and paths of sites."""
    result = []
    for given in sites:
        site = Site(given)
        inside = site.media_root.startswith(site.releases + "/")
        result.append(
            {
                "name": site.name,
                "state": site["state"],
                "user": site.user,
                "group": site.group,
                "root": site.root,
                "media": site.path("shared", "media") if inside else site.media_root,
                "cache": site.cache,
                "settings": site.settings_directory,
                "environment": environment_file(site.variables, ""),
            }
        )
    return result


class FilterModule:
    """The filter for Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"site_layout": site_layout}
