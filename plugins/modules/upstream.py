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
  - The file of the virtual host is changed atomically and only where the web server's checker accepts it. Then the web
    server is reloaded gracefully, which fails no request.
  - The next run of the role writes what is declared, and so brings every application server back.
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
    description: Whether it gets requests (V(active)) or none any more (V(drained)). The last one is never drained.
    type: str
    choices: [active, drained]
    required: true
attributes:
  check_mode:
    description: Predicts the change, including what the checker would say.
    support: full
  diff_mode:
    description: Shows the change of the file.
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
actions:
  description: What was, or would be, done to the web server.
  returned: success
  type: list
  elements: str
  sample: [reload nginx.service]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import config_files_checked, vhosts
from ansible_collections.webstack.django.plugins.module_utils.config_files import ConfigError
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import Transaction, explain
from ansible_collections.webstack.django.plugins.module_utils.services import Manager, ServiceError


def _reload(module, vhost, changed):
    """Have the web server read the file where it has not yet; what was, or would be, done."""
    manager = Manager(module.run_command)
    unit = manager.units([{"name": vhost.web.unit}])[0]
    declared = {"name": unit.name, "enabled": unit.enabled, "reload_on": [vhost.path]}
    return manager.converge([declared], module.check_mode) or ([f"reload {unit.name}"] if changed else [])


def _switch(module, transaction):
    site, address = module.params["site"], module.params["address"]
    if not module.check_mode:
        transaction.open()
    vhost = vhosts.find(site, lambda unit: module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0)
    if not vhost.running:
        raise vhosts.VhostError(f"site {site}: {vhost.web.unit}, whose file {vhost.path} is, does not run; start it")
    text = vhost.switched(address, module.params["state"] == "active")
    changes = config_files_checked.rewritten(vhost.path, text)
    checks = [{"argv": vhost.web.check}]
    refusal = config_files_checked.settle(changes, checks, transaction, module.check_mode).refusal
    if refusal is not None:
        command = " ".join(refusal.argv)
        raise vhosts.VhostError(
            f"site {site}: {command} {refusal.reason}, so {vhost.path} stays as it was. Its words:\n{refusal.words}"
        )
    result = {"actions": _reload(module, vhost, bool(changes))}
    result["changed"] = bool(changes or result["actions"])
    after = vhosts.Vhost(site, vhost.web, vhost.path, text)
    result["servers"] = [{"address": one.address, "active": one.active} for one in after.servers()]
    if module._diff:
        result["diff"] = [change.as_diff() for change in changes]
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["active", "drained"], "required": True},
        },
        supports_check_mode=True,
    )
    transaction = Transaction()
    try:
        result = _switch(module, transaction)
    except (vhosts.VhostError, ConfigError, ServiceError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=explain("", error))
    finally:
        transaction.close()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
