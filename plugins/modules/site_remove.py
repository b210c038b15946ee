#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: site_remove
short_description: Take one site off a server
version_added: 0.1.0
description:
  - Removes what the roles made for one site, told by their files. Neither the project of the site nor anything of the other
    sites has to be known, and these go on serving.
  - The data stays, unless O(purge) is set.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  parts:
    description: What is removed - the virtual host, processes and releases, caches and brokers, and with O(purge) the data.
    type: list
    elements: str
    choices: [web, app, stores, data]
    default: [web, app, stores, data]
  domains:
    description: Names of the site, by which Apache's virtual hosts of wildcards are known.
    type: list
    elements: str
    default: []
  others:
    description: Names of the other sites, whose files may begin like those of this one.
    type: list
    elements: str
    default: []
  purge:
    description: Whether uploads, database, backups, logs, the certificate and the account are removed as well, for good.
    type: bool
    default: false
  engine:
    description: What serves the database, with O(purge) on the server that has it.
    type: str
    choices: [postgresql, mysql, sqlite3, none]
    default: none
  database:
    description: Name of the database. The name of the site if not given.
    type: str
attributes:
  check_mode:
    description: Says what it would do.
    support: full
  diff_mode:
    description: Lists what it does.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Take the blog away, and keep its data
  webstack.django.site_remove:
    site: blog
  become: true
"""

RETURN = r"""
actions:
  description: What was, or would be, done.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import site_database, site_removal
from ansible_collections.webstack.django.plugins.module_utils.mariadb import MariadbError
from ansible_collections.webstack.django.plugins.module_utils.postgresql import PostgresqlError
from ansible_collections.webstack.django.plugins.module_utils.release.commands import locked
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError
from ansible_collections.webstack.django.plugins.module_utils.services import ServiceError

PARTS = ["web", "app", "stores", "data"]
ENGINES = {"postgresql": site_database.postgresql, "mysql": site_database.mysql}


def remove(params, removal):
    """Do all that was asked for, in order; returns warnings."""
    warnings = []
    if "web" in params["parts"]:
        removal.web(params["domains"])
    if "app" in params["parts"]:
        removal.app()
    if "stores" in params["parts"]:
        removal.stores()
    if "data" in params["parts"] and params["purge"]:
        drop = ENGINES.get(params["engine"])
        if drop:
            done, warnings = drop(params["site"], params["database"] or params["site"], removal.check_mode)
            removal.actions += done
        removal.data(params["others"])
    return warnings


def main():
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "parts": {"type": "list", "elements": "str", "choices": PARTS, "default": PARTS},
            "domains": {"type": "list", "elements": "str", "default": []},
            "others": {"type": "list", "elements": "str", "default": []},
            "purge": {"type": "bool", "default": False},
            "engine": {"type": "str", "choices": [*ENGINES, "sqlite3", "none"], "default": "none"},
            "database": {"type": "str"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    params = module.params
    removal = site_removal.Removal(params["site"], module.run_command, module.check_mode, params["purge"])
    try:
        with locked(removal.site):
            warnings = remove(params, removal)
    except (site_removal.RemovalError, ReleaseError) as error:
        module.fail_json(msg=str(error), actions=removal.actions)
    except (ServiceError, PostgresqlError, MariadbError, OSError) as error:
        module.fail_json(
            msg=f"site {params['site']}: {error}; run this again once that is repaired", actions=removal.actions
        )
    for warning in warnings:
        module.warn(f"site {params['site']}: {warning}")
    result = {"changed": bool(removal.actions), "actions": removal.actions}
    if module._diff:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in removal.actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
