# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Units brought into their state, as the result of a module."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.services import Manager, ServiceError
from ansible_collections.webstack.django.plugins.module_utils.services_drift import entries

UNIT = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "enabled": {"type": "bool", "default": True},
    "masked": {"type": "bool", "default": False},
    "ports": {"type": "list", "elements": "int", "default": []},
    "reload_on": {"type": "list", "elements": "str", "default": []},
    "restart_on": {"type": "list", "elements": "str", "default": []},
    "listens": {"type": "list", "elements": "path", "default": []},
    "run_if": {"type": "path"},
    "retried": {"type": "bool", "default": False},
}


def run(module: Any, services: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the units into their state; raises ServiceError.

    Args:
        module: the AnsibleModule, for its commands, its warnings and its modes.
        services: what is declared, in the shape of ``UNIT``.
    """
    if not os.path.isdir("/run/systemd/system"):
        raise ServiceError(
            "systemd is not running on this host, so no service can be managed: webstack.django needs a host "
            "that was booted with systemd (a container with /lib/systemd/systemd as its first process is one)"
        )
    manager = Manager(module.run_command)
    actions = manager.converge(services, module.check_mode)
    if manager.unmet:
        module.warn(
            "Left out on this host, where a condition of the unit is not met (in a container, for instance): "
            + ", ".join(manager.unmet)
        )
    if manager.crashing:
        module.warn(
            "Failing again and again since before this run (journalctl -u NAME says why): "
            + ", ".join(manager.crashing)
        )
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "unmet": manager.unmet,
        "drift": manager.removed + entries(manager.found),
    }
    if module._diff and actions:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in actions)}
    return result


def add(module: Any, services: list[dict[str, Any]], result: dict[str, Any]) -> None:
    """Do it after something else in the same module; where a unit fails, what was done stays, and the next run goes on."""
    try:
        done = run(module, services)
    except ServiceError as error:
        module.fail_json(msg=str(error), **result)
    result.update(actions=done["actions"], unmet=done["unmet"], changed=result["changed"] or done["changed"])
    result["drift"] = result.get("drift", []) + done["drift"]
    if "diff" in done:
        result["diff"] = [*result.get("diff", []), done["diff"]]
