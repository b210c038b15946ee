# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which programs of supervisord have to be added, removed, started or restarted, judged by the state of the host.

What supervisord runs is compared with what is on disk, and the start of each process with the files that it read.
Talks to supervisord through the command ``webstack-supervisord``, which the role lays down.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.changes import latest, newest
from ansible_collections.webstack.django.plugins.module_utils.processes import started
from ansible_collections.webstack.django.plugins.module_utils.services import Manager, Runner, full_name
from ansible_collections.webstack.django.plugins.module_utils.services_drift import entries

COMMAND = "/usr/local/sbin/webstack-supervisord"
SERVICE = "supervisor.service"
RECORD = "/run/webstack/programs"  # names of the programs that are ours, as long as supervisord may know them
_UP = ("RUNNING", "STARTING", "BACKOFF", "STOPPING")


class ProgramError(Exception):
    """A program could not be brought into its state; the message is for the user."""


def runnable(program: dict[str, Any]) -> bool:
    """Whether the path that the program waits for is there."""
    return not program.get("run_if") or os.path.exists(program["run_if"])


def wrong_socket(wanted: dict[str, Any] | None) -> bool:
    """Whether a unix socket is missing or not of the wanted owner, group and mode; supervisord itself compares only its path."""
    if not wanted or not wanted.get("path"):
        return False
    try:
        found = os.lstat(wanted["path"])
        ids = (pwd.getpwnam(wanted["user"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid)
    except (OSError, KeyError):
        return True
    mode = int(str(wanted["mode"]), 8)
    return (
        not stat.S_ISSOCK(found.st_mode) or (found.st_uid, found.st_gid) != ids or stat.S_IMODE(found.st_mode) != mode
    )


def decide(program: dict[str, Any], found: dict[str, Any]) -> str | None:
    """The verb that brings a program into its state; None where it is in it already."""
    if not runnable(program):
        return None
    if found["state"] not in _UP or found["socket"] not in (None, "RUNNING", "STARTING"):
        return "start"
    if wrong_socket(program.get("socket")):
        return "replace"
    changed = newest(program.get("restart_on") or [])
    if found["state"] == "BACKOFF":
        # It is tried again and again, later and later. Only a change is a reason to hurry.
        return "restart" if changed > found["start"] + 1 else None
    # One that was told to end reads the new files when it starts again.
    begin = started(found["pid"]) if found["pid"] else None
    return "restart" if begin and changed > begin and not found["told"] else None


def _explain(verb: str, program: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What a program should be and is, in the words of a report."""
    name, state = program["name"], str(found.get("state") or "unknown to supervisord")
    if verb == "restart":
        when, path = latest(program.get("restart_on") or [])
        return drift.entry(name, f"runs with its files as they are ({path})", "has not read it since it changed", when)
    if verb == "replace":
        sockets = wrong_socket(program.get("socket"))
        other = "its socket is missing or has another owner or mode" if sockets else "supervisord has read an older one"
        return drift.entry(name, "runs as its configuration says", other)
    return drift.entry(name, "running", state)


class Programs:
    """Runs systemctl and webstack-supervisord for a list of declared programs."""

    def __init__(self, run: Runner, manager: Manager | None = None, record: str = RECORD) -> None:
        self.run = run
        self.manager = manager or Manager(run)
        self.record = record
        self.warnings: list[str] = []
        self.drift: list[dict[str, Any]] = []  # for a report

    def _command(self, *words: str) -> str:
        code, output, error = self.run([COMMAND, *words])
        if code != 0:
            raise ProgramError((error or output).strip() or "`%s %s` failed" % (COMMAND, " ".join(words)))
        return output

    def _ours(self) -> set[str]:
        try:
            with open(self.record, encoding="utf-8") as file:
                return set(file.read().split())
        except OSError:
            return set()

    def _remember(self, names: set[str]) -> None:
        if names == self._ours():
            return
        os.makedirs(os.path.dirname(self.record), mode=0o755, exist_ok=True)
        with open(self.record + ".new", "w", encoding="utf-8") as file:
            file.write("".join(name + "\n" for name in sorted(names)))
        os.rename(self.record + ".new", self.record)

    def replace_units(self, names: list[str], check_mode: bool) -> list[str]:
        """Stop and disable units whose work supervisord takes over: those that serve nobody first, which may take long."""
        names = [full_name(name) for name in names]
        units = self.manager.units([{"name": name, "state": "stopped", "enabled": False} for name in names])
        active = [
            unit.name for unit in units if unit.exists and (unit.up or unit.shown.get("SubState") == "auto-restart")
        ]
        enabled = [unit.name for unit in units if unit.shown.get("UnitFileState") in ("enabled", "enabled-runtime")]
        known = {unit.name for unit in units if unit.exists}
        listening = {name for name in names if name.rpartition(".")[0] + ".socket" in known}
        batches = [[name for name in active if (name in listening) == wanted] for wanted in (False, True)]
        if not check_mode:
            # Before anything stops: nothing may start them again.
            for words in [["disable", *enabled]] * bool(enabled) + [["stop", *batch] for batch in batches if batch]:
                code, output, error = self.run(["systemctl", words[0], "--", *words[1:]])
                if code != 0:
                    raise ProgramError("systemctl {}: {}".format(" ".join(words), (error or output).strip()))
        return ["disable " + name for name in enabled] + ["stop " + name for batch in batches for name in batch]

    def _answers(self) -> bool:
        active = self.run(["systemctl", "is-active", "--quiet", "--", SERVICE])[0] == 0
        return active and os.path.exists(COMMAND)

    def converge(
        self, programs: list[dict[str, Any]], replaces: list[str], services: list[dict[str, Any]], check_mode: bool
    ) -> list[str]:
        """Bring all programs into their state; returns what was (or would be) done."""
        actions = self.replace_units(replaces, check_mode) if replaces else []
        stopped = list(actions)
        done = self.manager.converge(services, check_mode) if services else []
        actions += done
        self.drift += [drift.entry(words.partition(" ")[2], "stopped and disabled", words) for words in stopped]
        self.drift += self.manager.removed + entries(self.manager.found)
        fresh = any(action in ("start " + SERVICE, "restart " + SERVICE) for action in done)
        if not self._answers():
            waiting = [program["name"] for program in programs if check_mode and runnable(program)]
            self.drift += [drift.entry(name, "running", "supervisord does not answer") for name in waiting]
            return actions + ["start " + name for name in waiting]
        wanted = {program["name"] for program in programs}
        ours = self._ours()
        if not check_mode:
            self._remember(ours | wanted)  # before anything is added, so that a run that dies leaves no stranger behind
        differs = json.loads(self._command("diff"))
        found = json.loads(self._command("--json", "status"))
        for name in differs["removed"]:
            if name in ours - wanted:
                actions.append("remove " + name)
                self.drift.append(drift.entry(name, "no such program", "a program of ours that is not declared"))
                if not check_mode:
                    self._command("update", name)
        problems = []
        for program in programs:
            verbs = self._verbs(program, differs, found.get(program["name"]))
            actions += [verb + " " + program["name"] for verb in verbs]
            self.drift += [_explain(verb, program, found.get(program["name"]) or {}) for verb in verbs]
            if verbs or fresh:
                problems += [] if check_mode else self._do(program, verbs)
            elif found.get(program["name"], {}).get("state") == "BACKOFF" and runnable(program):
                self.warnings.append(
                    "%s does not stay up; its log is %s" % (program["name"], found[program["name"]]["log"])
                )
        if not check_mode:
            self._remember(wanted)
        if problems:
            raise ProgramError("\n\n".join(problems))
        return actions

    def _verbs(self, program: dict[str, Any], differs: dict[str, list[str]], found: dict[str, Any] | None) -> list[str]:
        name = program["name"]
        if name in differs["changed"]:
            return ["replace"]
        if name in differs["added"]:
            return ["add"]
        verb = decide(program, found) if found else None
        return [verb] if verb else []

    def _do(self, program: dict[str, Any], verbs: list[str]) -> list[str]:
        """Run the verbs, and wait until the program is up; what went wrong."""
        name = program["name"]
        try:
            for verb in verbs:
                if verb in ("add", "replace"):
                    self._command("--force", "update", name)
                elif verb == "restart":
                    self._command("restart", name)
            if runnable(program):
                self._command("start", name)
        except ProgramError as error:
            return [str(error)]
        return []
