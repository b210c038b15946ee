#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: deployable
short_description: See what a server is, and whether it is set up for the sites that are to be deployed
version_added: 0.1.0
description:
  - Gathers the facts that the plan needs, with the collectors of M(ansible.builtin.setup), and looks at what is set up, in one
    round trip.
  - A new commit may bring processes (in its Procfile) or need packages that the server does not have.
options:
  sites:
    description: Names of the sites.
    type: list
    elements: str
    required: true
  packages:
    description: Packages of the distribution that the sites need to run.
    type: list
    elements: str
    default: []
  gather_subset:
    description: The facts to gather, as M(ansible.builtin.setup) has them.
    type: list
    elements: str
    default: [distribution, python]
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to show.
  facts:
    support: full
    description: Returns facts that are known by C(ansible_facts).
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu with systemd.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.facts
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: See what there is
  webstack.django.deployable:
    sites: [blog]
    packages: [libmagic1]
  register: here
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  type: dict
  returned: success
sites:
  description: The sites that this server is set up for, as an application server.
  type: list
  elements: str
  returned: success
processes:
  description: Processes of the sites that are set up here.
  type: list
  elements: str
  returned: success
packages:
  description: Packages that are missing.
  type: list
  elements: str
  returned: success
"""

import os
import pwd
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts import ansible_collector, default_collectors
from ansible.module_utils.facts.namespace import PrefixFactNamespace
from ansible_collections.webstack.django.plugins.module_utils import site_parts

# What the role django_app makes, below the root of a site and beside it.
_DIRECTORIES = ("{0}/srv/{1}/releases", "{0}/srv/{1}/environments", "{0}/srv/{1}/public", "{0}/srv/{1}/shared",
                "{0}/etc/webstack/{1}", "{0}/var/cache/webstack/{1}")  # fmt: skip


def known(sites: Iterable[str], root: str = "/") -> set[str]:
    """Names of the processes of some sites that are set up here."""
    return {one.name for site in sites for one in site_parts.processes(site, root)}


def set_up(site: str, processes: set[str], root: str = "") -> bool:
    """Whether a site has its account, its directories and its web process."""
    try:
        pwd.getpwnam(site)
    except KeyError:
        return False
    return site + "-web" in processes and all(os.path.isdir(one.format(root, site)) for one in _DIRECTORIES)


def facts(module: AnsibleModule, subset: list[str]) -> dict[str, Any]:
    """Facts as the module setup gathers them."""
    collector = ansible_collector.get_ansible_collector(
        all_collector_classes=default_collectors.collectors,
        namespace=PrefixFactNamespace(namespace_name="ansible", prefix="ansible_"),
        gather_subset=["!all", "!min", *subset],
        gather_timeout=10,
        minimal_gather_subset=frozenset(),
    )
    found: dict[str, Any] = collector.collect(module=module)
    return found


def main() -> None:
    strings = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "sites": {**strings, "required": True},
            "packages": {**strings, "default": []},
            "gather_subset": {**strings, "default": ["distribution", "python"]},
        },
        supports_check_mode=True,
    )
    sites, packages = module.params["sites"], module.params["packages"]
    here = known(sites)
    installed = set()
    if packages:
        argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages]
        _status, out, _err = module.run_command(argv)
        installed = {line.partition(" ")[2] for line in out.splitlines() if line.startswith("installed ")}
    module.exit_json(
        changed=False,
        ansible_facts=facts(module, module.params["gather_subset"]),
        sites=[name for name in sites if set_up(name, here)],
        processes=sorted(here),
        packages=sorted(set(packages) - installed),
    )


if __name__ == "__main__":
    main()
