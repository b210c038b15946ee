#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Deploy sites, step by step
version_added: 0.1.0
description:
  - Brings the code of Django sites to a host, builds it, prepares it, switches to it and tidies up after it.
  - What is to be done is judged by the state of the host, so a run that died is completed by the next one.
  - Until the switch nothing that serves is touched. A release that does not answer after it is taken back.
options:
  sites:
    description:
      - The sites, as the role C(webstack.django.django_app) describes them in O(webstack.django.django_app#role:main:django_app_sites).
      - They hold secrets, so their values are never shown, logged or put on a command line.
    type: list
    elements: dict
    required: true
  step:
    description:
      - V(accounts) makes the system users of the sites, and takes absent sites away.
      - V(probe) only says what there is to do.
      - V(fetch) brings the code, makes the virtual environment and runs the build commands.
      - V(prepare) checks the project, collects its static files, migrates its database and tries the release.
      - V(stage) is V(fetch) and V(prepare) in one.
      - V(activate) tries the release where V(prepare) did not, publishes the static files, switches, restarts, goes back where the site does not
        answer, and removes old releases.
      - V(deploy) is V(stage) and V(activate) in one.
      - V(unlock) gives the sites back that a run that failed still has.
      - V(served) runs on a web server that keeps pages (C(page_cache) of the site), which are not served any more.
      - V(static_missing) and V(static_receive) run on a web server that is another machine, V(static_pack) on the
        server of the application in between. They bring the static files of a release to the web server.
    type: str
    choices: [accounts, probe, fetch, prepare, stage, activate, deploy, unlock, static_missing, static_pack, static_receive, served]
    required: true
  only:
    description: For V(static_pack) and V(static_receive), the names of the sites that the other side lacks.
    type: list
    elements: str
  retry:
    description: Whether a release that did not serve is tried again.
    type: bool
    default: false
  unlock:
    description: Whether a site is taken from another run that deploys it.
    type: bool
    default: false
  skip:
    description: For V(prepare) and V(stage), steps to leave out. The next run does them.
    type: list
    elements: str
  needs:
    description:
      - For V(probe), V(stage) and V(deploy), what the server has to have before anything is done - names of the C(processes) of these
        sites, all of them, and of C(packages). Otherwise the task fails, and C(lacks) says what is missing.
    type: dict
  half:
    description: Whether V(prepare) ends before the migration; the next call goes on there.
    type: bool
    default: false
  friends:
    description:
      - Accounts that may be in the groups of sites, and groups that the users of sites may be in, with V(accounts). Any other
        membership ends.
    type: list
    elements: str
    default: []
author: webstack.django maintainers (@webstack)
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: full
    description: Shows the actions.
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu with systemd.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
"""

EXAMPLES = r"""
- name: Bring the code to the host
  webstack.django.release:
    sites: "{{ django_app_sites }}"
    step: fetch
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: always
  sample: ["blog: switch to release 0123456789ab-01234567"]
todo:
  description: Sites that need the next step.
  type: list
  elements: str
  returned: always
lacks:
  description: Missing C(processes) or such that are to be there no more, and missing C(packages).
  type: dict
  returned: failure for want of them
switch:
  description: Sites that serve another release than the wanted one, or none.
  type: list
  elements: str
  returned: for V(probe)
"""
