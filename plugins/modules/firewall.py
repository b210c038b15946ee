#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Ask a host what firewall it can have, or take its firewall away
version_added: 0.1.0
description:
  - Works for the role P(webstack.django.firewall#role), which writes the rules. It touches one table of nftables,
    C(inet webstack), and no other one - those of Docker, of other programs and of the user stay as they are.
options:
  state:
    description:
      - V(looked) tells whether this machine can have a firewall and by which ports SSH comes in. The address that this run comes
        from is written down, so that it is never banned; nothing else is changed.
      - V(absent) stops C(webstack-firewall.service) and removes the table.
    type: str
    choices: [looked, absent]
    required: true
  connection:
    description: What SSH_CONNECTION says on the server; the action plugin asks for it.
    type: str
    default: ""
attributes:
  check_mode:
    description: Predicts the change.
    support: full
  diff_mode:
    description: Shows the table that goes.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: See by which ports SSH comes in
  webstack.django.firewall:
    state: looked
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: when something differs
  type: list
  elements: dict
usable:
  description: Whether this machine can have a firewall; a warning says why it cannot.
  returned: for V(looked)
  type: bool
ssh_ports:
  description: The ports by which SSH comes in.
  returned: for V(looked)
  type: list
  elements: int
watched:
  description: Whether the role has set up fail2ban.
  returned: for V(looked) and V(absent)
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift, firewall


def looked(module):
    reason = firewall.unusable()
    if reason:
        module.warn(
            "This server gets no firewall, since %s. Filter its packets outside of it (on the machine that runs it, or in "
            "the provider's firewall), or set firewall_enabled: false to say that this is known." % reason
        )
    came = firewall.came_by(module.params["connection"])
    if came and not reason and not module.check_mode:
        firewall.remember(came[1])
    ports = firewall.ssh_ports(came[0] if came else None)
    return {"changed": False, "usable": not reason, "ssh_ports": ports, "watched": os.path.exists(firewall.WATCHED)}


def absent(module):
    unit = "/etc/systemd/system/" + firewall.UNIT
    changed = os.path.lexists(unit) or firewall.there()
    if changed and not module.check_mode:
        module.run_command(["systemctl", "disable", "--now", firewall.UNIT])
        firewall.nft("delete", "table", "inet", firewall.TABLE)
        if firewall.there():
            raise firewall.FirewallError("the table inet %s cannot be removed" % firewall.TABLE)
    result = {"changed": changed, "usable": False, "ssh_ports": [], "watched": os.path.exists(firewall.WATCHED)}
    if changed:
        result["drift"] = [drift.entry("the table inet %s of nftables" % firewall.TABLE, "absent", "there")]
    if module._diff and changed:
        result["diff"] = {"before": "table inet %s\n" % firewall.TABLE, "after": ""}
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["looked", "absent"], "required": True},
            "connection": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    act = {"looked": looked, "absent": absent}[module.params["state"]]
    try:
        result = act(module)
    except (firewall.FirewallError, OSError) as error:
        module.fail_json(msg="firewall: %s" % error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
