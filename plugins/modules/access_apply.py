#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: access_apply
short_description: The half of access that runs on the server
version_added: 0.1.0
description:
  - Called by the action plugin P(webstack.django.access#module); not meant to be used by itself.
options:
  step:
    description:
      - V(look) compares and puts back what an earlier run left unconfirmed. V(trial) starts an sshd that sees the new files,
        V(trial_end) stops it. V(change) starts the timer, writes the files and makes them live. V(services) brings the units into
        their state afterwards, which V(look) does where nothing else is to be done.
    type: str
    choices: [look, trial, trial_end, change, services]
    required: true
  payload:
    description: The rendered files and the other options of the action; JSON, compressed, in base64.
    type: str
    required: true
attributes:
  check_mode:
    description: Only V(look) is asked for in check mode. It predicts exactly what would change.
    support: full
  diff_mode:
    description: Shows a diff for each file unless the file says otherwise.
    support: full
author: webstack.django maintainers (@webstack)
seealso:
  - module: webstack.django.access
"""

EXAMPLES = r"""
- name: Use the action plugin
  webstack.django.access:
    files:
      - path: /etc/ssh/sshd_config.d/00-example.conf
        content: "MaxAuthTries 3\n"
    apply: [[systemctl, reload, ssh.service]]
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
actions:
  description: What was, or would be, done with the units.
  returned: with units, and with step=look or step=services
  type: list
  elements: str
not_live:
  description: Why the running state is not that of the files.
  returned: always
  type: list
  elements: str
undone:
  description: Whether a change of an earlier run, which nobody had confirmed, was put back first.
  returned: always
  type: bool
applied:
  description: Exit status of what makes the files live; null where it is not known yet.
  returned: with step=change
  type: int
log:
  description: What that, or the sshd of the trial, said.
  returned: with step=change and step=trial_end
  type: str
unavailable:
  description: Why there can be no trial.
  returned: with step=trial
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import (
    access,
    access_trial,
    checkers,
    config_files,
    config_files_checked,
    drift,
    services,
    services_run,
)
from ansible_collections.webstack.django.plugins.module_utils.config_files_declared import declared, refused, unpacked
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import (
    Transaction,
    explain,
    pending,
)

_STEPS = ["look", "trial", "trial_end", "change", "services"]


def _changes(module, payload, view=None):
    items = [declared(raw, module.check_mode) for raw in payload["files"]]
    return config_files.plan(items, payload["prune"], view)


def _look(module, payload, result):
    """What differs, and whether the checkers are content with what is to come."""
    deadman = access.Deadman()
    undone = deadman.pending() if module.check_mode else deadman.heal()
    # What a run that was killed while it wrote has left is undone before anything is written.
    journals = [journal for name, journal in pending() if name.startswith("undo-")]
    changes = _changes(module, payload, config_files.View([step for journal in journals for step in journal["steps"]]))
    manager = services.Manager(module.run_command)
    running = []
    # Where files change, all of it is made live anyway; a check says what differs by now as well.
    look = module.check_mode or not changes
    not_live = access.stale(payload["live"], manager.units, running) if look else []
    paths = [change.item.path for change in changes]
    if module._diff:
        result["diff"] = [change.as_diff() for change in changes]
        result["diff"] += [{"before": "", "after": f"make it live: {reason}\n"} for reason in not_live]
    result["drift"] = [change.as_drift() for change in changes]
    result["drift"] += running
    if undone or journals:
        result["drift"].append(drift.entry(access.STATE_DIR, "no change waits", "a change that nobody confirmed"))
    result.update(
        changed=bool(changes or not_live or undone or journals), changed_paths=paths, not_live=not_live, undone=undone
    )
    checks = checkers.wanted(payload["checks"], paths)
    if module.check_mode:
        checks = [check for check in checks if checkers.installed(check)]
    if changes:
        outcome = config_files_checked.settle(changes, checks, Transaction(), check_mode=True)
        result["checked"], refusal = outcome.checked, outcome.refusal
    else:
        refusal = checkers.run_all(checks) if not_live else None
    if refusal is not None:
        refused(module, refusal, changes, result)
    if payload["services"] and (module.check_mode or not (changes or not_live)):
        services_run.add(module, payload["services"], result)


def _change(module, payload, result):
    """Arm, write, apply."""
    deadman = access.Deadman()
    transaction = Transaction()
    try:
        healed = transaction.open()
        changes = _changes(module, payload)
        paths = [change.item.path for change in changes]
        result.update(changed_paths=paths, healed=healed)
        deadman.arm(
            changes,
            payload["token"],
            payload["seconds"],
            payload["apply"],
            payload["undo"],
            payload["live"],
            payload["save"],
        )
        try:
            checks = checkers.wanted(payload["checks"], paths) if changes else []
            outcome = config_files_checked.settle(changes, checks, transaction, check_mode=False)
        except BaseException:
            deadman.disarm()
            raise
    finally:
        transaction.close()
    result["checked"] = outcome.checked
    if outcome.refusal is not None:
        deadman.disarm()
        refused(module, outcome.refusal, changes, result)
    result["applied"], result["log"] = deadman.apply()
    result["changed"] = True


def main():
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "required": True, "choices": _STEPS},
            "payload": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    payload, result = unpacked(module)
    try:
        if module.params["step"] == "look":
            _look(module, payload, result)
        elif module.params["step"] == "trial":
            result["unavailable"] = access_trial.start(_changes(module, payload), payload["token"])
        elif module.params["step"] == "trial_end":
            result["log"] = access_trial.end(payload["token"])
        elif module.params["step"] == "services":
            services_run.add(module, payload["services"], result)
        else:
            _change(module, payload, result)
    except (config_files.ConfigError, access.AccessError, services.ServiceError) as error:
        result.update(changed=False, changed_paths=[])
        module.fail_json(msg=str(error), **result)
    except OSError as error:
        result.update(changed=False, changed_paths=[])
        module.fail_json(msg=explain("", error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
