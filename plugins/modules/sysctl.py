#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl
short_description: Bring kernel settings of the running system into their state
version_added: 0.1.0
description:
  - Compares a list of settings with what the kernel says now and writes what differs, in one round trip. What somebody
    changed on the running system is found and put back.
  - Settings that this kernel lacks, or that a container may not write, are left out and named in a warning.
  - Writes no file; settings that survive a reboot belong into a file in C(/etc/sysctl.d).
options:
  settings:
    description: Keys and values, as in sysctl.conf(5).
    type: dict
    required: true
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows old and new values.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Let Redis fork although memory is short
  webstack.django.sysctl:
    settings:
      vm.overcommit_memory: 1
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
changed_keys:
  description: What was, or would be, written.
  returned: always
  type: list
  elements: str
skipped_keys:
  description: The keys that are out of reach on this host, each with the reason.
  returned: always
  type: dict
  sample: {"vm.swappiness": "cannot be written here (Read-only file system)"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils.sysctl import (
    SysctlError,
    apply,
    compare,
    result,
    warnings,
)


def main():
    module = AnsibleModule(argument_spec={"settings": {"type": "dict", "required": True}}, supports_check_mode=True)
    outcome = compare(module.params["settings"])
    try:
        if not module.check_mode:
            apply(outcome)
    except SysctlError as error:
        module.fail_json(msg=str(error))
    done = result(outcome)
    for words in warnings(outcome):
        module.warn(words)
    if module._diff:
        done["diff"] = {
            "before": "".join(f"{key} = {found}\n" for key, (found, _wanted) in outcome.changed.items()),
            "after": "".join(f"{key} = {wanted}\n" for key, (_found, wanted) in outcome.changed.items()),
        }
    module.exit_json(**done)


if __name__ == "__main__":
    main()
