#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: accounts
short_description: Keep a list of accounts, in one round trip where all are as declared
version_added: 0.1.0
description:
  - Asks the databases of accounts and groups about all of them, and calls M(ansible.builtin.user) for those that differ.
options:
  accounts:
    description: The accounts.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name.
        type: str
        required: true
      state:
        description: Whether it is there. With V(absent) it goes also while a process of it runs; its home stays.
        type: str
        choices: [present, absent]
        default: present
      system:
        description: Whether a new one is a system account, which has no home directory made.
        type: bool
        default: false
      home:
        description: Its home directory.
        type: str
        required: true
      shell:
        description: Its shell.
        type: str
        required: true
      groups:
        description: All groups that it is in beside its own; left alone where not given.
        type: list
        elements: str
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
  diff_mode:
    description: Shows what differs of each account.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Keep the accounts of people
  webstack.django.accounts:
    accounts:
      - {name: ada, home: /home/ada, shell: /bin/bash, groups: [sudo]}
      - {name: bob, home: /home/bob, shell: /bin/bash, state: absent}
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
"""
