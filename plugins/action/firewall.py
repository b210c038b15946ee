# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell the module by which connection this run came in; sudo keeps that from it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        said = self._low_level_execute_command('echo "$SSH_CONNECTION"', sudoable=False)
        result: dict[str, Any] = self._execute_module(
            module_name="webstack.django.firewall",
            module_args={**self._task.args, "connection": said["stdout"].strip()},
            task_vars=task_vars,
        )
        return result
