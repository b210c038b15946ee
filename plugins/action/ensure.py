# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the tests by a shell first; Python, which takes longer to start than they take, is needed only where one fails."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.module_utils.ensure import SPEC
from ansible_collections.webstack.django.plugins.plugin_utils.ask_first import ask_first


def question(steps: list[dict[str, Any]]) -> str:
    """A script for sh that ends with 0 where every state holds."""
    lines = ["cd / || exit 1"]
    for step in steps:
        variables = {"LC_ALL": "C.UTF-8", **(step["environment"] or {})}
        words = ["env", *(f"{name}={value}" for name, value in variables.items())]
        words += ["timeout", str(step["timeout"]), *step["unless"]]
        lines.append(f"{shlex.join(words)} </dev/null >/dev/null 2>&1 || exit 1")
    return "\n".join(lines) + "\n"


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        nothing = {"changed": False, "actions": [], "drift": []}
        return ask_first(self, SPEC, task_vars, lambda args: question(args["steps"]), lambda _args, _said: nothing)
