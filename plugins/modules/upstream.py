#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: upstream
short_description: Take an application server out of a site's virtual host for a while, or back into it
version_added: 0.1.0
description:
  - Runs on a web server that the role P(webstack.django.nginx#role) or P(webstack.django.apache#role) has set up. A drained
    application server gets no new requests of that site; those that it has, it finishes.
  - A file for each drained application server is in C(/run/webstack-drained). It counts at once, without a reload, so no
    connection of a visitor is closed.
  - The next run of the role, and a restart of the machine, bring every application server back.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  address:
    description: The application server as it is in the virtual host - address and port, or the path of a unix socket.
    type: str
    required: true
  state:
    description:
      - Whether it gets requests (V(active)) or none any more (V(drained)).
      - The last one is never drained, nor are more than two at the same time.
    type: str
    choices: [active, drained]
    required: true
  together:
    description:
      - For V(drained), the application servers that may be drained at the same time. Others get requests again, as a run
        that was killed leaves them.
      - Without it, all others stay as they are.
    type: list
    elements: str
attributes:
  check_mode:
    description: Predicts the change.
    support: full
  diff_mode:
    description: Shows the files that come and go.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Send no more requests to the second application server
  webstack.django.upstream:
    site: blog
    address: 10.0.0.5:8001
    state: drained
"""

RETURN = r"""
servers:
  description: The application servers of the site, and whether they get requests afterwards.
  returned: success
  type: list
  elements: dict
  sample: [{address: "10.0.0.4:8001", active: true}, {address: "10.0.0.5:8001", active: false}]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import config_files_checked, vhosts
from ansible_collections.webstack.django.plugins.module_utils.config_files import ConfigError, Declared, plan
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import Transaction, explain


def _flags(site, servers):
    """The files as they are to be, and no directory without any."""
    flags = {vhosts.flag_file(site, one.number): one for one in servers}
    try:
        others = {os.path.join(vhosts.DRAINED, name) for name in os.listdir(vhosts.DRAINED)} - set(flags)
    except FileNotFoundError:
        others = set()
    if not others and all(one.active for one in servers):
        return [Declared(vhosts.DRAINED, "absent")]
    declared = [Declared(vhosts.DRAINED, "directory", mode=0o755)]
    for path, one in flags.items():
        content = None if one.active else f"{one.address}\n".encode()
        declared.append(Declared(path, "absent" if one.active else "file", content))
    return declared


def _switch(module, transaction):
    site, address = module.params["site"], module.params["address"]
    if not module.check_mode:
        transaction.open()
    vhost = vhosts.find(site, lambda unit: module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0)
    after = vhost.switched(address, module.params["state"] == "active", module.params["together"])
    changes = plan(_flags(site, after), [])
    config_files_checked.settle(changes, [], transaction, module.check_mode)
    result = {"changed": bool(changes)}
    result["servers"] = [{"address": one.address, "active": one.active} for one in after]
    if module._diff:
        result["diff"] = [change.as_diff() for change in changes]
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["active", "drained"], "required": True},
            "together": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    transaction = Transaction()
    try:
        result = _switch(module, transaction)
    except (vhosts.VhostError, ConfigError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=explain("", error))
    finally:
        transaction.close()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
