# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say which run this is, and show what was done."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.plugin_utils.run import ask, this_run


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = {**self._task.args, "run": this_run("rollback")}
        return ask(
            lambda: self._execute_module(module_args=args, task_vars=task_vars), args["run"], self._display.display
        )
