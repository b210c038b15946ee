#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: site_status
short_description: Tell how sites and their server are
version_added: 0.1.0
description:
  - Reads releases, processes, health, certificates, disks, ports, the last deployment and the last backup, in one round
    trip. Changes nothing, and reads no arguments and no environment of a process.
options:
  sites:
    description: The sites, as the filter P(webstack.django.site_brief#filter) gives them.
    type: list
    elements: dict
    required: true
  tiers:
    description: What this server serves.
    type: list
    elements: str
    choices: [database, cache, app, web]
    default: [database, cache, app, web]
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Ask
  webstack.django.site_status:
    sites: "{{ webstack_sites_given | webstack.django.site_brief(webstack_selected) }}"
    tiers: "{{ webstack_tiers }}"
  become: true
"""

RETURN = r"""
now:
  description: The clock of this server, in seconds since the epoch.
  returned: success
  type: float
tiers:
  description: As given.
  returned: success
  type: list
  elements: str
sites:
  description: By name of the site, its release, processes, health and so on, as far as this server has them.
  returned: success
  type: dict
host:
  description: Ports, disks, services and failed units.
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import host_status, site_status

TIERS = ["database", "cache", "app", "web"]


def main():
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "tiers": {"type": "list", "elements": "str", "choices": TIERS, "default": TIERS},
        },
        supports_check_mode=True,
    )
    tiers, now = module.params["tiers"], time.time()
    sites = {site["name"]: site_status.of_site(site, tiers, now) for site in module.params["sites"]}
    module.exit_json(changed=False, now=now, tiers=tiers, sites=sites, host=host_status.of_host())


if __name__ == "__main__":
    main()
