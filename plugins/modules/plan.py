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
  - With O(phase=inventory) it checks only what the variables of the server itself say. No code and no repository is looked
    at, so this works when they cannot be reached. The playbooks for daily work use it.
  - With O(phase=deploy) it takes the O(steps) of the working copies, then does V(validate), and where the inventory has one server V(host)
    as well; no facts are needed for that. Only sites with a working copy on the controller have steps - C(checkout) in C(django_sites),
    or a C(repo) that is one. What is checked out has to be what is deployed; where the version of a site is something else (another branch,
    an older tag), a warning says so and no step is taken. git is never run with C(--force), and never asks for anything; keys of an agent
    and credential helpers are used.
  - With O(phase=host) it gives the server its slice as the fact C(webstack_plan).
options:
  phase:
    description: What to do. V(validate) comes first, once; V(host) needs the facts of the server.
    type: str
    choices: [inventory, validate, host, deploy]
    required: true
  site:
    description:
      - The sites that this run is about, with V(validate), V(deploy) and V(inventory) - a list of names, or a text with commas.
        All sites that are to be there if it is not given. The plan is made of all sites in any case.
      - With O(phase=inventory) a site with C(state=absent) may be named as well.
    type: raw
    default: []
  version:
    description:
      - With V(validate) and V(deploy) the branch, tag or commit to deploy in place of the C(version) of the site. It takes exactly
        one site, in O(site) or in the inventory, and one with a C(repo).
    type: raw
    default: ""
  steps:
    description:
      - With V(deploy), what is done with the working copies, in this order whatever the order of the list.
      - V(look) refuses a merge, rebase, cherry-pick or revert that is under way, conflicts, changes that are not committed
        (unless O(message) is given), no branch where one is to be pushed, a branch that is behind its remote or has
        diverged from it, and a remote that is not the repository that is deployed. Nothing but what git has fetched is changed.
      - V(tests) runs the commands in C(checkout.tests). Not in check mode, since they may write.
      - V(commit) commits everything that git does not ignore, where O(message) is given and something is changed.
      - V(push) pushes the branch, and a tag that is the version, where the remote lacks them; then it makes sure that the
        version is now the commit that is checked out.
    type: list
    elements: str
    choices: [look, tests, commit, push]
    default: []
  message:
    description: With V(deploy), the message of the commit. Without it nothing is committed.
    type: str
    default: ""
attributes:
  check_mode:
    description: Nothing is ever changed but by V(deploy), which then says what it would do.
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

- name: Find every mistake, for a deployment of one site
  webstack.django.plan:
    phase: validate
    site: blog
    version: v1.2
  run_once: true

- name: Read the inventory, and nothing else
  webstack.django.plan:
    phase: inventory
    site: [blog, shop]

- name: Hand this server its slice of the plan
  webstack.django.plan:
    phase: host
"""

RETURN = r"""
ansible_facts:
  description:
    - C(webstack_sites) and C(webstack_selected) after V(validate) - all sites, and the names of those that the run is about.
    - C(webstack_sites_given), C(webstack_selected) and C(webstack_tiers) after V(inventory) - all sites with their defaults,
      names as above, and the tiers (C(database), C(cache), C(app), C(web)) that the server serves.
    - C(webstack_plan) after V(host).
  returned: success
  type: dict
"""
