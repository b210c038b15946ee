#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Turn django_sites, the topology and facts into the variables of every role
version_added: 0.1.0
description:
  - Runs on the controller and opens no connection to a server.
  - With O(phase=validate) it checks everything that can be checked before a server is touched - the keys and values of
    C(django_sites), names of variables, tier groups, repositories, versions and the projects in them - and fails with
    a list of all mistakes, each with its site, its key and what to do.
  - With O(phase=host) it gives the server its slice as the fact C(webstack_plan).
options:
  phase:
    description: What to do. V(validate) comes first, once; V(host) needs the facts of the server.
    type: str
    choices: [validate, host]
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
notes:
  - The results hold passwords and are never printed. Use the playbook C(webstack.django.plan) to see the plan without them.
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Find every mistake
  webstack.django.plan:
    phase: validate
  run_once: true

- name: Hand this server its slice of the plan
  webstack.django.plan:
    phase: host
"""

RETURN = r"""
ansible_facts:
  description: C(webstack_sites) after V(validate), C(webstack_plan) after V(host).
  returned: success
  type: dict
"""
