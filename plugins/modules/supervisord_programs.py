#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: supervisord_programs
short_description: Bring the programs of supervisord into their state, judged by the state of the host
version_added: 0.1.0
description:
  - Compares what supervisord runs with what is on disk, takes over what differs, and starts and restarts programs
    whose files are newer than they are. Programs of others are left alone.
  - Programs that an earlier run declared, and that are neither declared nor on disk any more, are stopped and removed.
  - A program that was started or restarted and does not stay up is an error, which shows the end of its log. One that
    has been failing before, and that nothing changed for, is a warning.
  - Needs the command C(webstack-supervisord), which the role P(webstack.django.supervisord#role) lays down.
options:
  programs:
    description: The programs, in the order in which they are handled.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the program.
        type: str
        required: true
      run_if:
        description: The program is only started when this path exists; else it is left alone.
        type: path
      restart_on:
        description:
          - Files, directories (with all that is in them) or globs. If one changed after the start of the process, it is restarted.
          - The change time (ctime) counts, and that of a link itself.
        type: list
        elements: str
        default: []
      socket:
        description: Its unix socket. Where that is not as given, the program is replaced.
        type: dict
        suboptions:
          path:
            description: Path.
            type: path
            required: true
          user:
            description: Owner.
            type: str
            required: true
          group:
            description: Group.
            type: str
            required: true
          mode:
            description: Mode.
            type: str
            default: "0660"
  replaces:
    description:
      - Units of systemd that did the same until now. They are stopped and disabled just before supervisord takes over,
        those without a socket first.
    type: list
    elements: str
    default: []
  services:
    description: Units that are brought into their state in between, in the shape of M(webstack.django.services).
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Says what would be done, as far as the files on disk tell.
    support: full
  diff_mode:
    description: Shows the actions.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Run the programs that are on disk
  webstack.django.supervisord_programs:
    services:
      - name: supervisor.service
    programs:
      - name: blog-web
        run_if: /srv/blog/current/release.json
        restart_on: [/etc/webstack/blog/env]
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was, or would be, done.
  returned: always
  type: list
  elements: str
  sample: [start supervisor.service, add blog-web, restart blog-worker]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils.services import ServiceError
from ansible_collections.webstack.django.plugins.module_utils.supervisord import ProgramError, Programs


def main():
    socket = {
        "path": {"type": "path", "required": True},
        "user": {"type": "str", "required": True},
        "group": {"type": "str", "required": True},
        "mode": {"type": "str", "default": "0660"},
    }
    program = {
        "name": {"type": "str", "required": True},
        "run_if": {"type": "path"},
        "restart_on": {"type": "list", "elements": "str", "default": []},
        "socket": {"type": "dict", "options": socket},
    }
    module = AnsibleModule(
        argument_spec={
            "programs": {"type": "list", "elements": "dict", "required": True, "options": program},
            "replaces": {"type": "list", "elements": "str", "default": []},
            "services": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    programs = Programs(module.run_command)
    try:
        actions = programs.converge(given["programs"], given["replaces"], given["services"], module.check_mode)
    except (ProgramError, ServiceError) as error:
        module.fail_json(msg=str(error))
    for words in programs.warnings:
        module.warn(words)
    result = {"changed": bool(actions), "actions": actions, "drift": programs.drift}
    if module._diff and actions:
        result["diff"] = {"before": "", "after": "".join("%s\n" % action for action in actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
