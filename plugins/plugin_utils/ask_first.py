# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Actions that ask a shell first: Python, which takes longer to start there than most questions take, is needed only to change something."""

from __future__ import annotations

from typing import Any, Callable

Args = dict[str, Any]


def ask_first(
    action: Any,
    spec: Args,
    task_vars: Args | None,
    question: Callable[[Args], str],
    answer: Callable[[Args, str], Args | None],
) -> Args:
    """The result of a shell, or of the module that has the name of the action where the shell's is not enough.

    Args:
        action: the ActionModule.
        spec: its options.
        task_vars: the variables of the task.
        question: makes a script for sh of the options; it changes nothing, and fails where something is to be done.
        answer: makes a result of the options and the output of a script that did not fail; None where the module is needed.
    """
    _result, args = action.validate_argument_spec(argument_spec=spec)
    # As input, since it may be longer than a command line.
    done = action._low_level_execute_command("sh", in_data=question(args).encode())
    found = answer(args, done["stdout"].replace("\r\n", "\n")) if done["rc"] == 0 else None
    if found is not None:
        return found
    name = action._task.action.rpartition(".")[2]
    return dict(
        action._execute_module(
            module_name=f"webstack.django.{name}", module_args=action._task.args, task_vars=task_vars
        )
    )
