#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: deployable
short_description: See whether a server is set up for the releases that are to be deployed
version_added: 0.1.0
description:
  - A new commit may bring processes (in its Procfile) or need packages that the server does not have.
  - Fails for a site that the server does not know at all.
options:
  sites:
    description: Names of the sites.
    type: list
    elements: str
    required: true
  processes:
    description: Names of the processes of these sites that this server is to run.
    type: list
    elements: str
    required: true
  packages:
    description: Packages of the distribution that the sites need to run.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to show.
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu with systemd.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: See that the server is set up for these releases
  webstack.django.deployable:
    sites: [blog]
    processes: [blog-web, blog-worker]
    packages: [libmagic1]
"""

RETURN = r"""
processes:
  description: Processes of the sites that the server lacks, or has and is to have no more.
  type: list
  elements: str
  returned: success
packages:
  description: Packages that it lacks.
  type: list
  elements: str
  returned: success
"""

from collections.abc import Iterable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import site_parts


def known(sites: Iterable[str], root: str = "/") -> set[str]:
    """Names of the processes of some sites that are set up here."""
    return {one.name for site in sites for one in site_parts.processes(site, root)}


def main() -> None:
    strings = {"type": "list", "elements": "str"}
    module = AnsibleModule(
        argument_spec={
            "sites": {**strings, "required": True},
            "processes": {**strings, "required": True},
            "packages": {**strings, "default": []},
        },
        supports_check_mode=True,
    )
    sites = module.params["sites"]
    here = known(sites)
    strange = [name for name in sites if name + "-web" not in here]
    if strange:
        module.fail_json(
            msg="site %s is not set up on this server; set it up first: ansible-playbook webstack.django.site"
            % ", ".join(strange)
        )
    packages = module.params["packages"]
    installed = set()
    if packages:
        argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages]
        _status, out, _err = module.run_command(argv)
        installed = {line.partition(" ")[2] for line in out.splitlines() if line.startswith("installed ")}
    module.exit_json(
        changed=False,
        processes=sorted(here ^ set(module.params["processes"])),
        packages=sorted(set(packages) - installed),
    )


if __name__ == "__main__":
    main()
