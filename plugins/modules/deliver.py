#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: deliver
short_description: Test, commit and push the working copies of sites before they are deployed
version_added: 0.1.0
description:
  - The local half of a deployment. It runs on the controller, opens no connection to a server, and touches only sites that
    have a working copy on the controller - C(checkout) in C(django_sites), or a C(repo) that is one.
  - What is checked out has to be what is deployed. Where the version of a site is something else (another branch, an older
    tag), a warning says so and nothing is done for that site.
  - git is never run with C(--force), and never asks for anything; keys of an agent and credential helpers are used.
options:
  steps:
    description:
      - What is done, in this order whatever the order of the list.
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
    default: [look, tests, commit, push]
  site:
    description: The sites, as a list of names or a text with commas. All sites that are to be there if it is not given.
    type: raw
    default: []
  version:
    description: The branch, tag or commit to deploy in place of the C(version) of the site; it takes exactly one site.
    type: raw
    default: ""
  message:
    description: The message of the commit. Without it nothing is committed.
    type: str
    default: ""
attributes:
  check_mode:
    description: V(look) does the same; the other steps say what they would do.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Refuse what is not ready to be deployed
  webstack.django.deliver:
    steps: [look]
    site: blog
    message: "{{ commit_message | default('') }}"
  run_once: true

- name: Look, run the tests of the projects, and push what the central repositories lack
  webstack.django.deliver:
  run_once: true
"""

RETURN = r"""
msg:
  description: What was done, or would be done, a line for each step and site that has a working copy.
  returned: success
  type: list
  elements: str
  sample: ["site blog: pushed 3f2a9c1d7e60 to refs/heads/main of origin"]
"""
