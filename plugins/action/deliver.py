# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Test, commit and push working copies on the controller; no connection is opened."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils import deliver
from ansible_collections.webstack.django.plugins.plugin_utils.plan.inventory import Inventory, mistakes
from ansible_collections.webstack.django.plugins.plugin_utils.plan.selection import override, select


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={
                "steps": {"type": "list", "elements": "str", "choices": list(deliver.STEPS), "default": deliver.STEPS},
                "site": {"type": "raw", "default": []},
                "version": {"type": "raw", "default": ""},
                "message": {"type": "str", "default": ""},
            }
        )
        inventory = Inventory(variables, self._templar)
        sites = inventory.sites(list(variables.get("ansible_play_hosts_all") or variables["groups"]["all"]))
        selected, wrong = select(sites, args["site"])
        errors = inventory.errors + (wrong or override(selected, args["version"]))
        if errors:
            raise AnsibleActionFail(mistakes(errors))
        changed, text = deliver.deliver(args["steps"], selected, args["message"], self._task.check_mode, self._display)
        result.update(changed=changed, msg=text or ["no site has a working copy here"])
        return result
