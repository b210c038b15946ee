#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: ensure
short_description: Run commands only where the state that they bring about is not there
version_added: 0.1.0
description:
  - Takes a list of states. For each one a test says whether it holds; where it does not, commands are run and the test is
    asked again. One round trip where all hold, and one more where one does not.
  - Decides by the state of the host and not by what an earlier task changed, so a run that was killed in between is
    healed by the next one.
options:
  steps:
    description: The states, in the order in which they are brought about.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What is to hold; shown as an action and in errors.
        type: str
        required: true
      unless:
        description: A command that changes nothing and ends with 0 where the state holds. It runs in check mode, too.
        type: list
        elements: str
        required: true
      run:
        description: Commands that bring the state about. Without any the state is a requirement, and an error where it does not hold.
        type: list
        elements: list
        default: []
      hint:
        description: What to do about a failure, for the error message.
        type: str
      environment:
        description: Environment variables of all these commands.
        type: dict
        default: {}
      timeout:
        description: Seconds that each command gets.
        type: int
        default: 600
attributes:
  check_mode:
    description: Asks the tests and says what would be done.
    support: full
  diff_mode:
    description: Shows which states would be, or were, brought about.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Trust the certificates in /usr/local/share/ca-certificates
  webstack.django.ensure:
    steps:
      - name: the store of certificate authorities has example.crt
        unless: [test, -e, /etc/ssl/certs/example.pem]
        run: [[update-ca-certificates]]
        hint: Is example.crt a certificate in PEM format?
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: The names of the states that were, or would be, brought about.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.ensure import SPEC, EnsureError, converge


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        actions = converge(module.params["steps"], module.check_mode)
    except EnsureError as error:
        module.fail_json(msg=str(error))
    result = {"changed": bool(actions), "actions": actions, "drift": drift.of(actions)}
    if module._diff and actions:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
