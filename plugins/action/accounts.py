# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep accounts; ansible.builtin.user, which runs once for each, is called for those that differ."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils.accounts import differ, query
from ansible_collections.webstack.django.plugins.plugin_utils.drift.differences import differences

_USER = "ansible.builtin.user"
_ACCOUNT = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "system": {"type": "bool", "default": False},
    "home": {"type": "str", "required": True},
    "shell": {"type": "str", "required": True},
    "groups": {"type": "list", "elements": "str"},
}


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={"accounts": {"type": "list", "elements": "dict", "required": True, "options": _ACCOUNT}}
        )
        accounts = args["accounts"]
        result.update(changed=False, drift=[])
        if not accounts:
            return result
        for one in differ(accounts, self._low_level_execute_command(query(accounts))["stdout"]):
            arguments = {key: one[key] for key in ("name", "state", "system", "home", "shell")}
            arguments.update(create_home=not one["system"], force=True)  # absent: also while a process of it runs
            if one["groups"] is not None:
                arguments["groups"] = one["groups"]
            done = self._execute_module(module_name=_USER, module_args=arguments, task_vars=task_vars)
            if done.get("failed"):
                return {**done, "msg": f"the account {one['name']}: {done.get('msg')}"}
            result["changed"] = result["changed"] or done["changed"]
            result["drift"] += differences(done, _USER, one["name"])
        if self._task.diff:
            result["diff"] = [
                {
                    "before_header": each["thing"],
                    "after_header": each["thing"],
                    "before": f"{each['found']}\n",
                    "after": f"{each['expected']}\n",
                }
                for each in result["drift"]
            ]
        return result
