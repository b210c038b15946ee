#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: config_files_apply
short_description: The half of config_files that runs on the server
version_added: 0.1.0
description:
  - Called by the action plugin P(webstack.django.config_files#module); not meant to be used by itself.
options:
  payload:
    description: The rendered files, directories to prune, checkers, and units; JSON, compressed, in base64.
    type: str
    required: true
attributes:
  check_mode:
    description: Predicts exactly what would change, including what a checker would say.
    support: full
  diff_mode:
    description: Shows a diff for each file unless the file says otherwise.
    support: full
author: webstack.django maintainers (@webstack)
seealso:
  - module: webstack.django.config_files
"""

EXAMPLES = r"""
- name: Use the action plugin
  webstack.django.config_files:
    files:
      - path: /etc/motd
        content: "Welcome\n"
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
changed_paths:
  description: What was, or would be, changed.
  returned: always
  type: list
  elements: str
healed:
  description: Paths of an earlier run that was killed half-way, put back before this one began.
  returned: when there were any
  type: list
  elements: str
checked:
  description: >-
    Where the checkers ran. V(preview) is a private view of the file system before the live files changed, V(live) is
    after the change with a roll-back on refusal, V(no) is not at all.
  returned: always
  type: str
refused_paths:
  description: What would have been changed if the checker had been content.
  returned: when a checker refused
  type: list
  elements: str
checker:
  description: The command of the checker that refused.
  returned: when a checker refused
  type: list
  elements: str
rc:
  description: Its exit status; null where it was not started or did not end in time.
  returned: when a checker refused
  type: int
actions:
  description: What was, or would be, done to units.
  returned: when there are units
  type: list
  elements: str
unmet:
  description: Units that systemd skips on this host because of a condition in them.
  returned: when there are units
  type: list
  elements: str
stdout:
  description: What it said, standard error included. Values from files with C(diff=false) are hidden.
  returned: when a checker refused
  type: str
"""

import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import (
    checkers,
    config_files,
    config_files_checked,
    drift,
)
from ansible_collections.webstack.django.plugins.module_utils.config_files_declared import declared, refused, unpacked
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import (
    Transaction,
    explain,
    pending,
)

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def _converge(module, payload, transaction, result):
    if module.check_mode:
        journals = [journal for name, journal in pending() if name.startswith("undo-")]
        view = config_files.View([step for journal in journals for step in journal["steps"]])
        healed = [step["path"] for journal in journals for step in journal["steps"]]
    else:
        healed = transaction.open()
        view = None
    if healed:
        result["healed"] = healed
    items = [declared(raw, module.check_mode) for raw in payload["files"]]
    changes = config_files.plan(items, payload["prune"], view)
    paths = [change.item.path for change in changes]
    if module._diff:
        result["diff"] = [change.as_diff() for change in changes]
    result["drift"] = [change.as_drift() for change in changes]
    result["drift"] += [drift.entry(path, "whole", "left half-written by a run that was killed") for path in healed]
    checks = checkers.wanted(payload["checks"], paths) if changes else []
    if module.check_mode:
        checks = [check for check in checks if checkers.installed(check)]
    outcome = config_files_checked.settle(changes, checks, transaction, module.check_mode)
    result["checked"] = outcome.checked
    if outcome.no_preview:
        result["no_preview"] = outcome.no_preview
    result.update(changed=bool(changes or healed), changed_paths=paths)
    if outcome.refusal is not None:
        refused(module, outcome.refusal, changes, result)


def _interrupted(number, _frame):
    raise config_files.ConfigError(f"interrupted by signal {number}; run it again")


def main():
    module = AnsibleModule(
        argument_spec={"payload": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    payload, result = unpacked(module)
    result["checked"] = "no"
    for number in _SIGNALS:
        signal.signal(number, _interrupted)
    transaction = Transaction()
    try:
        _converge(module, payload, transaction, result)
    except config_files.ConfigError as error:
        result.update(changed=False, changed_paths=[])
        module.fail_json(msg=str(error), **result)
    except OSError as error:
        result.update(changed=False, changed_paths=[])
        module.fail_json(msg=explain("", error), **result)
    finally:
        transaction.close()
    if payload.get("services"):
        from ansible_collections.webstack.django.plugins.module_utils import services_run  # needed by few

        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        services_run.add(module, payload["services"], result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
