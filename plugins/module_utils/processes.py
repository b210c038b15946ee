# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel says of a process."""

from __future__ import annotations

import os
import time


def started(pid: int) -> float | None:
    """When a process was started, in seconds of the wall clock (proc(5): field 22 of stat, in clock ticks since the boot)."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def environ(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where it is not to be seen."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            raw = file.read().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(one.split("=", 1) for one in raw.split("\0") if "=" in one)
