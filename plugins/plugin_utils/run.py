# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which run of Ansible this is, and whether another one on this machine still runs."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def _started(pid: int) -> str | None:
    """When a process began, in the words of its machine; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    else:
        return None if fields[0] == "Z" else fields[19]
    try:  # no /proc: macOS
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"


def _machine() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text().strip()[:12]
        except OSError:
            continue
    return platform.node()


def this_run(what: str, over: str = "") -> dict[str, Any]:
    """Identity of this run for the lock of a site.

    Args:
        what: what it does: ``deploy`` or ``rollback``.
        over: the run whose lock does not count, ``*`` for any.
    """
    pid = os.getppid()  # a worker's parent is ansible-playbook
    boot = _started(pid)
    return {
        "id": f"{_machine()}:{platform.node()}:{pid}:{boot}",
        "who": f"{os.environ.get('WEBSTACK_WHO') or getpass.getuser()}@{platform.node()}",
        "what": what,
        "over": over,
    }


def ask(module: Callable[[], dict[str, Any]], run: dict[str, Any], show: Callable[[str], None]) -> dict[str, Any]:
    """Run a module that takes the lock of a site: once more where a dead run has it, and show what it did.

    Args:
        module: runs it, with ``run`` among its arguments.
        run: the identity of this run, in which the dead one is noted.
        show: prints a line.
    """
    result = module()
    held = result.get("held")
    if held and ended(held):
        run["over"] = held["id"]
        result = module()
    for words in (result.get("actions") or []) if result.get("changed") else []:
        show(f"  {words}")
    return result


def ended(held: Mapping[str, Any]) -> bool:
    """Whether the run that wrote a lock was one of this machine and is gone."""
    machine, _colon, rest = str(held.get("id")).partition(":")
    node, _colon, rest = rest.partition(":")
    pid, _colon, boot = rest.partition(":")
    if (machine, node) != (_machine(), platform.node()) or not pid.isdigit():
        return False
    return _started(int(pid)) != boot
