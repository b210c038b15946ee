#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Ask a server whether it can be converged, before the first change
version_added: 0.1.0
description:
  - Reads the operating system, the rights of the user, the room on the disks, the clock and who holds the ports, in one
    round trip. Changes nothing and fails with all problems at once, each with what to do.
  - Leaves a note in C(/run) that a run is at it, so that the server does not converge itself meanwhile (role os, C(os_pull)), and waits
    up to five minutes where it does already.
options:
  ports:
    description: TCP ports that must be free, or held by the program that is to have them.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The number.
        type: int
        required: true
      programs:
        description: Names of the programs that may hold it, as in C(/proc/<pid>/comm).
        type: list
        elements: str
        required: true
  retired:
    description: What is not to be on this server any more.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What is returned in RV(leftovers) if it is there.
        type: str
        required: true
      paths:
        description: Files or globs, of which one tells that it is there.
        type: list
        elements: str
        required: true
      keep:
        description: Paths that tell nothing.
        type: list
        elements: str
        default: []
      programs:
        description: Programs that may hold any of the ports if it is there.
        type: list
        elements: str
        default: []
  databases:
    description: >-
      Databases that sites want. One in another engine, or of another name, than that of the release that serves is a
      problem, since its data would be left behind.
    type: list
    elements: dict
    default: []
    suboptions:
      site:
        description: Name of the site.
        type: str
        required: true
      engine:
        description: Django's name of it.
        type: str
        required: true
      name:
        description: The database.
        type: str
        required: true
      host:
        description: Where it is.
        type: str
      switch_from:
        description: The engine that may serve until now.
        type: str
  free_mb:
    description: Free space in MB that is needed, by directory.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Nothing is ever changed. There is no note then, and nothing to wait for.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Look before the first change
  webstack.django.preflight:
    ports:
      - {port: 80, programs: [nginx]}
      - {port: 443, programs: [nginx]}
    retired:
      - {name: apache, paths: [/etc/systemd/system/apache2.service.d/webstack.conf], programs: [apache2]}
  become: true
"""

RETURN = r"""
problems:
  description: What is in the way.
  returned: failure
  type: list
  elements: str
leftovers:
  description: The names in O(retired) of which something is there.
  returned: success
  type: list
  elements: str
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import preflight, turns
from ansible_collections.webstack.django.plugins.module_utils.release import database
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _left_behind(databases):
    """What the deployment would refuse later, said before anything is changed."""
    problems = []
    for one in databases:
        wanted = {key: value for key, value in one.items() if key != "site"}
        try:
            database.same(Site({"name": one["site"], "database": wanted}))
        except ReleaseError as error:
            problems.append(str(error))
    return problems


def main():
    module = AnsibleModule(
        argument_spec={
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "programs": {"type": "list", "elements": "str", "required": True},
                },
            },
            "retired": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "paths": {"type": "list", "elements": "str", "required": True},
                    "keep": {"type": "list", "elements": "str", "default": []},
                    "programs": {"type": "list", "elements": "str", "default": []},
                },
            },
            "databases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "site": {"type": "str", "required": True},
                    "engine": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "host": {"type": "str"},
                    "switch_from": {"type": "str"},
                },
            },
            "free_mb": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    problems = preflight.system(preflight.os_release(_read("/etc/os-release")))
    problems += preflight.root(os.geteuid())
    problems += preflight.init(_read("/proc/1/comm").strip())
    problems += preflight.clock(time.time())
    thresholds = {**preflight.FREE_MB, **{path: int(mb) for path, mb in module.params["free_mb"].items()}}
    problems += preflight.disks(thresholds)
    problems += _left_behind(module.params["databases"])
    if not problems and not module.check_mode and not turns.inside():
        turns.leave_note()
        since = turns.wait()
        problems += preflight.converges_itself(since) if since else []
    found = [one for one in module.params["retired"] if preflight.left(one["paths"], one["keep"])]
    ours = [program for one in found for program in one["programs"]]
    problems += preflight.ports({one["port"]: one["programs"] for one in module.params["ports"]}, ours)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        module.fail_json(
            msg=f"this server cannot be converged as it is; nothing was changed:\n{lines}", problems=problems
        )
    module.exit_json(changed=False, leftovers=[one["name"] for one in found])


if __name__ == "__main__":
    main()
