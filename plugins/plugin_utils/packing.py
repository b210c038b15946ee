# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pack a module for its server beside other work.

Ansible packs a module with all that it imports when a task first needs it, and keeps that for the rest of the run. For a large
module it takes as long as a small task.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

PATIENCE = 2.0  # seconds; whoever needs the module packs it then


@contextlib.contextmanager
def beside(action: Any, module: str, variables: Mapping[str, Any]) -> Iterator[None]:
    """Pack a module in a process of its own, which has ended when the block has.

    Args:
        action: an action plugin of a host that will get the module.
        module: its full name.
        variables: of the task.
    """
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            # Which Python it will be is of no account, but must not be looked for now.
            action._configure_module(module, {}, {**variables, "ansible_python_interpreter": "/usr/bin/python3"})
        os._exit(0)
    try:
        yield
    finally:
        _end(pid)


def _end(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
