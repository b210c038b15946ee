#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: services
short_description: Bring a list of systemd units into their state, judged by the state of the host
version_added: 0.1.0
description:
  - Enables, starts, reloads, restarts, stops and masks systemd units in one round trip.
  - A unit is reloaded or restarted when one of its files changed after its process started, not because an earlier
    task of the same run changed something. A run that was killed in between is healed by the next one, and no handler
    is needed.
  - A unit that is not up a second after it was started is an error, which shows its status and its last lines.
  - Of a unit that is to run, drop-ins and copies of a packaged unit file that nobody declared are removed, and it is restarted
    without them. They stay where one of their first 20 lines holds C(webstack.django&#58; keep), and so does what all units
    share, like C(/etc/systemd/system/service.d).
  - Runs C(systemctl daemon-reload) first where systemd has read older unit files than those on disk.
options:
  services:
    description: The units, in the order in which they are handled.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name of the unit, for instance V(nginx.service).
        type: str
        required: true
      state:
        description: Whether it runs.
        type: str
        choices: [started, stopped]
        default: started
      enabled:
        description: Whether it starts at boot.
        type: bool
        default: true
      masked:
        description: Whether it is masked, which also stops it.
        type: bool
        default: false
      ports:
        description:
          - Of a unit that is stopped to make room for another one, the TCP ports that it leaves. Its end is not waited for
            as soon as nobody listens on them; the requests that it still has, it finishes meanwhile.
        type: list
        elements: int
        default: []
      reload_on:
        description:
          - Files, directories (with all that is in them) or globs. If one changed since the process last read its
            configuration, it is reloaded; a unit that cannot reload is restarted.
          - The change time (ctime) counts, and that of a link itself.
        type: list
        elements: str
        default: []
      restart_on:
        description: The same, where only a restart helps. It is compared with the start of the process.
        type: list
        elements: str
        default: []
      listens:
        description:
          - Unix sockets that it makes. Where one is gone although the unit runs, it is restarted. (Of a unit that is a socket
            itself this is known, as is who may connect.)
        type: list
        elements: path
        default: []
      run_if:
        description: The unit is only started when this path exists; else it is left alone.
        type: path
      retried:
        description:
          - Its unit file says that systemd starts it again for as long as it fails. Where it has been failing before, that
            is a warning and no error, since what cures it (a new release) may come later in the run.
        type: bool
        default: false
attributes:
  check_mode:
    description: Says what would be done. A unit that does not exist yet is reported as to be started.
    support: full
  diff_mode:
    description: Shows the actions.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Run nginx with the configuration that is on disk
  webstack.django.services:
    services:
      - name: nginx.service
        reload_on: [/etc/nginx]
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
  sample: [daemon-reload, reload nginx.service]
unmet:
  description: >-
    Units that systemd skips on this host because of a condition in them, for instance C(ConditionVirtualization=!container).
    A warning names them.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils.services import ServiceError
from ansible_collections.webstack.django.plugins.module_utils.services_run import UNIT, run


def main():
    module = AnsibleModule(
        argument_spec={"services": {"type": "list", "elements": "dict", "required": True, "options": UNIT}},
        supports_check_mode=True,
    )
    try:
        result = run(module, module.params["services"])
    except ServiceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
