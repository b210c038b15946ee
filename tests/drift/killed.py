"""Two servers that are to become the same one; ansible-playbook is killed in the middle on one of them.

The points are generated: tasks of an undisturbed run, spread evenly over it.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import drifted
from servers import ROOT, Server, command, inventory

# What stays of a mutation: a changed release comes back under another id, and a role with too many rights loses them only.
STAYS = re.compile(r"/srv/plain/(current|releases|environments)\b.*|cd: eve\|f\|f")


@dataclass(frozen=True)
class Point:
    """So many seconds after a task has begun."""

    task: str
    seconds: float


class Shape:
    """Two servers that are to become the same one."""

    def __init__(self, directory: Path) -> None:
        self.calm, self.disturbed = [
            drifted.make("first", Server(f"drift-{name}", "debian13", "drift", directory, called="first"))
            for name in ("calm", "disturbed")
        ]
        self.tasks: list[Point] = []

    def run(self, one: drifted.Drifting, until: Point | None = None) -> list[Point]:
        """A converge, killed with SIGKILL at a point; the tasks that it came to, with the half of the time that each took."""
        argv = command("site", inventory([one.server], one.sites, **one.variables))
        process = subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout
        seen: list[tuple[str, float]] = []
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith(("TASK [", "PLAY RECAP")):
                seen.append((line.partition("]")[0].removeprefix("TASK ["), time.monotonic()))
                if until and seen[-1][0] == until.task:
                    self._kill(process, until)
                    break
        else:
            assert not until, f"the converge ended before {until}:\n{output[-6000:]}"
            assert process.wait() == 0, output[-8000:]
        return [Point(one[0], (after[1] - one[1]) / 2) for one, after in zip(seen, seen[1:])]

    def _kill(self, process: subprocess.Popen[str], point: Point) -> None:
        time.sleep(point.seconds)
        assert process.poll() is None, f"the converge ended within {point.seconds} s after {point.task!r}"
        process.send_signal(signal.SIGKILL)
        # Its workers die with it or go on for a moment, as they would for a user; nobody reads what they say.
        assert process.stdout
        threading.Thread(target=process.stdout.read, daemon=True).start()
        process.wait()

    def points(self, number: int | None, bare: bool) -> list[Point]:
        """So many of the tasks (or all), the first and the last among them; those of a bare server, or of one that is set up."""
        tasks = self.tasks
        if not bare:
            again = {one.task for one in self.run(self.calm)}
            tasks = [one for one in tasks if one.task in again]
        last = len(tasks) - 1
        return tasks if number is None else [tasks[round(index * last / (number - 1))] for index in range(number)]

    def disturb(self, points: list[Point], each: bool) -> None:
        """Kill a converge at every point, then (or after each of them) let one end."""
        for point in points:
            self.run(self.disturbed, point)
            if each:
                self.run(self.disturbed)
        self.run(self.disturbed)

    def differences(self, mutated: bool) -> list[str]:
        """What one server has and the other one has not."""
        calm, disturbed = [
            {line for line in one.state() if not mutated or not STAYS.match(line)}
            for one in (self.calm, self.disturbed)
        ]
        assert len(calm) > 1000
        return [f"- {line}" for line in sorted(calm - disturbed)] + [f"+ {line}" for line in sorted(disturbed - calm)]
