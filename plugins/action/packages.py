# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install packages; apt, which takes its time to read its lists, is asked only where one is missing."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils.packages import differences, history, missing, query

_DAY = 86400  # seconds that a list of packages is good for


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={
                "name": {"type": "list", "elements": "str", "required": True},
                "start_services": {"type": "bool", "default": True},
            }
        )
        said = self._low_level_execute_command(query(args["name"]))["stdout"]
        wanted = missing(args["name"], said)
        if not wanted:
            return {**result, "changed": False}
        arguments = {
            "name": args["name"],
            "update_cache": True,
            "cache_valid_time": _DAY,
            "install_recommends": False,
            "lock_timeout": 600,  # seconds: a new server is often upgrading itself
            **({} if args["start_services"] else {"policy_rc_d": 101}),
        }
        done = self._apt(arguments, task_vars)
        if done.get("failed") and self._task.check_mode and self._unprepared(done):
            done = {"changed": True, "diff": {"prepared": "install " + " ".join(wanted)}}
        elif done.get("failed") and not self._task.check_mode and not done.get("cache_updated"):
            # The lists are gone, or name files that the mirror has replaced since.
            done = self._apt({**arguments, "cache_valid_time": 0}, task_vars)
        if done.get("changed"):
            logged = "" if not self._task.check_mode else self._low_level_execute_command(history(wanted))["stdout"]
            done["drift"] = differences(wanted, said, logged)
        return {**result, **done}

    def _apt(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.apt", module_args=arguments, task_vars=task_vars
        )
        return done

    def _unprepared(self, done: dict[str, Any]) -> bool:
        """Whether the host lacks what apt needs for an answer, and what a run would get first: python3-apt, lists."""
        if "to use check mode" in str(done.get("msg")):
            return True
        return bool(self._low_level_execute_command("ls /var/lib/apt/lists/*_Packages*")["rc"])
