# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which systemd units have to be started, reloaded or restarted, judged by the state of the host.

A process is stale when one of its files changed after the process started (or after it last
reloaded), not when an earlier task of this run happened to change something. So a run that was
killed between writing a file and restarting its daemon is healed by the next one.
"""

from __future__ import annotations

import calendar
import glob
import os
import re
import time
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import drift, unit_files
from ansible_collections.webstack.django.plugins.module_utils.changes import newest
from ansible_collections.webstack.django.plugins.module_utils.preflight import listening

LOADED_DIR = "/run/webstack/loaded"
UNIT_DIR = "/etc/systemd/system"
HAND_OVER_SECONDS = 10.0  # in which a server that was told to end stops listening
STOP_SECONDS = 90.0  # systemd's own: what has not stopped by then is killed
LISTEN_SECONDS = 5.0  # after which a process has made the sockets that it listens on
SETTLE_SECONDS = 1.0  # a process that dies at once (wrong option, port taken) is dead by then
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,CanReload,Type,"
    "ExecMainStartTimestamp,ExecMainStartTimestampMonotonic,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,"
    "ConditionResult,ConditionTimestampMonotonic,Triggers,Result,RemainAfterExit,DropInPaths,InactiveEnterTimestamp,"
    "Listen,SocketMode,SocketUser,SocketGroup"
)
_SUFFIXES = ("service", "socket", "timer", "path", "mount", "automount", "swap", "target", "slice", "scope", "device")
_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias", "transient")
_UP = ("active", "activating", "reloading", "refreshing")

Runner = Callable[[list[str]], tuple[int, str, str]]


class ServiceError(Exception):
    """A unit could not be brought into its state; the message is for the user."""


def seconds(value: str) -> float:
    """``Tue 2026-11-24 12:00:00.123456 UTC`` (``systemctl show --timestamp=us+utc``) in seconds since the epoch."""
    words = value.split()
    if len(words) != 4:
        return 0.0
    clock, _dot, fraction = words[2].partition(".")
    moment = time.strptime(f"{words[1]} {clock}", "%Y-%m-%d %H:%M:%S")
    return calendar.timegm(moment) + float("0." + (fraction or "0"))


class Unit:
    """What is declared of a unit and what systemd says of it."""

    def __init__(self, declared: dict[str, Any], shown: dict[str, str]) -> None:
        self.name = full_name(declared["name"])
        self.declared = declared
        self.shown = shown

    @property
    def exists(self) -> bool:
        """Whether systemd knows the unit."""
        return self.shown.get("LoadState") not in (None, "", "not-found")

    @property
    def masked(self) -> bool:
        """Whether the unit is masked."""
        return self.shown.get("LoadState") == "masked"

    @property
    def up(self) -> bool:
        """Whether the unit is active or on its way; not while it crashes again and again."""
        return self.shown.get("ActiveState") in _UP and self.shown.get("SubState") != "auto-restart"

    @property
    def crashing(self) -> bool:
        """Whether it fails again and again, and systemd is to go on trying: what cures it may come later in the run."""
        return bool(self.declared.get("retried")) and self.shown.get("SubState") == "auto-restart"

    @property
    def finished(self) -> bool:
        """Whether it is a job that has been done (Type=oneshot that does not remain active)."""
        idle = self.shown.get("ActiveState") == "inactive" and self.shown.get("Result") == "success"
        job = self.shown.get("Type") == "oneshot" and self.shown.get("RemainAfterExit") != "yes"
        return idle and job and self.started() > 0

    @property
    def unmet(self) -> bool:
        """Whether systemd skipped the start because of a condition in the unit (for instance: not in a container)."""
        asked = self.shown.get("ConditionTimestampMonotonic", "0") != "0"
        return self.shown.get("ActiveState") == "inactive" and asked and self.shown.get("ConditionResult") == "no"

    @property
    def enabled(self) -> bool:
        """Whether the unit starts at boot (static units count: nothing can be enabled)."""
        return self.shown.get("UnitFileState") in _ENABLED

    @property
    def runnable(self) -> bool:
        """Whether the path that the unit waits for is there."""
        path = self.declared.get("run_if")
        return not path or os.path.exists(path)

    @property
    def outdated(self) -> bool:
        """Whether systemd has read an older version of the unit than lies on disk.

        Its own answer misses the first file in a new directory of drop-ins (systemd 252), so these are compared.
        """
        # An error: the file of a unit that runs was away for a while, and systemd has not noticed its return.
        if self.shown.get("NeedDaemonReload") == "yes" or self.shown.get("LoadState") == "error":
            return True
        if not self.exists:
            return os.path.exists(os.path.join(UNIT_DIR, self.name))
        template = re.sub(r"@.*(\.\w+)$", r"@\1", self.name)
        ours = {os.path.join(UNIT_DIR, name + ".d") for name in (self.name, template)}
        there = {path for directory in ours for path in glob.glob(glob.escape(directory) + "/*.conf")}
        there = {path for path in there if os.path.realpath(path) != os.devnull}  # masked
        return there != {path for path in self.shown.get("DropInPaths", "").split() if os.path.dirname(path) in ours}

    @property
    def deaf(self) -> str:
        """Why nobody reaches it, although it runs: the file of a socket is gone, or is not what the unit says."""
        if self.shown.get("ActiveState") != "active":
            return ""
        if self.name.endswith(".socket"):
            return unit_files.deaf(self.shown)
        if time.time() - self.started() < LISTEN_SECONDS:
            return ""
        return next(filter(None, map(unit_files.missing, self.declared.get("listens") or [])), "")

    def started(self) -> float:
        """When the main process (or, of units without one, the unit) started, in seconds since the epoch.

        Where the clock was set since then the earlier of two readings counts: at worst that is one restart
        too many, never one too few.
        """
        for key in ("ExecMainStartTimestamp", "ActiveEnterTimestamp"):
            recorded = seconds(self.shown.get(key, ""))
            if recorded:
                monotonic = int(self.shown.get(key + "Monotonic") or 0) / 1e6
                computed = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + monotonic
                return min(recorded, computed) if monotonic and abs(recorded - computed) > 0.1 else recorded
        return 0.0

    def loaded(self, directory: str = LOADED_DIR) -> float:
        """When the running invocation last read its configuration: its start, or its last reload by us."""
        try:
            with open(os.path.join(directory, self.name), encoding="utf-8") as file:
                invocation, moment = file.read().split()
                same = invocation == self.shown.get("InvocationID")
                return max(self.started(), float(moment)) if same else self.started()
        except (OSError, ValueError):
            return self.started()


def full_name(name: str) -> str:
    """The name of a unit with its suffix, as systemctl completes it."""
    return name if name.rpartition(".")[2] in _SUFFIXES else name + ".service"


def _stopping(declared: dict[str, Any], shown: dict[str, str]) -> bool:
    wanted = declared.get("state", "started") == "started" and not declared.get("masked")
    return wanted and shown.get("ActiveState") == "deactivating"


def decide(unit: Unit, directory: str = LOADED_DIR, fresh: bool = False, other: bool = False) -> list[str]:
    """The verbs that bring a unit into its state, in order; empty where it is in it already.

    ``fresh`` says that it was just started together with another unit, ``other`` that it runs with another unit file.
    """
    declared = unit.declared
    verbs = []
    if declared.get("masked"):
        if unit.up:
            verbs.append("stop")
        return verbs if unit.masked else [*verbs, "mask"]
    stopped = declared.get("state", "started") == "stopped"
    if not unit.exists and stopped:
        return []
    if unit.masked:
        verbs.append("unmask --runtime" if unit.shown.get("UnitFileState") == "masked-runtime" else "unmask")
    wants_enabled = declared.get("enabled", True)
    if wants_enabled and not unit.enabled:
        verbs.append("enable")
    if not wants_enabled and unit.shown.get("UnitFileState") in ("enabled", "enabled-runtime"):
        verbs.append("disable")
    if stopped:
        going = unit.shown.get("ActiveState") == "deactivating" or unit.shown.get("SubState") == "auto-restart"
        return [*verbs, "stop"] if unit.up or going else verbs
    if not unit.runnable:
        return verbs
    if not unit.up and not unit.finished and not unit.crashing:
        return [*verbs, "start"]
    if fresh:
        return verbs
    changed = [*(declared.get("restart_on") or []), os.path.join(directory, unit.name + ".changed")]
    if other or unit.deaf or newest(changed) > unit.started():
        return [*verbs, "restart"]
    if newest(declared.get("reload_on") or []) > unit.loaded(directory):
        return [*verbs, "reload" if unit.shown.get("CanReload") == "yes" else "restart"]
    return verbs


class Manager:
    """Runs systemctl for a list of declared units."""

    def __init__(self, run: Runner, loaded_dir: str = LOADED_DIR, settle: float = SETTLE_SECONDS) -> None:
        self.run = run
        self.loaded_dir = loaded_dir
        self.settle = settle
        self.unmet: list[str] = []  # units that systemd skips on this host, known after converge()
        self.removed: list[dict[str, Any]] = []  # unit files that nobody declared, for a report
        self.crashing: list[str] = []  # units that failed again and again before
        self.found: list[tuple[Unit, list[str]]] = []  # what differed: the units before, with the verbs; none: outdated

    def _systemctl(self, *words: str) -> str:
        code, output, error = self.run(["systemctl", *words])
        if code != 0:
            raise ServiceError("systemctl {}: {}".format(" ".join(words), (error or output).strip()))
        return output

    def show(self, names: list[str]) -> list[dict[str, str]]:
        """The properties of all units in one call, in the order of the names."""
        if not names:
            return []
        output = self._systemctl("show", "--timestamp=us+utc", "--property=" + _PROPERTIES, "--", *names)
        blocks = output.strip("\n").split("\n\n")
        return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]

    def units(self, declared: list[dict[str, Any]]) -> list[Unit]:
        """The declared units with what systemd says of them, once none that is to run is about to stop (or to restart)."""
        names = [full_name(item["name"]) for item in declared]
        shown = self.show(names)
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(_stopping, declared, shown)) and time.monotonic() < deadline:
            time.sleep(0.1)
            shown = self.show(names)
        return [Unit(item, properties) for item, properties in zip(declared, shown)]

    def converge(self, declared: list[dict[str, Any]], check_mode: bool) -> list[str]:
        """Bring all units into their state; returns what was (or would be) done."""
        actions: list[str] = []
        fresh: set[str] = set()
        started: list[Unit] = []
        others = self._plain(declared, actions, check_mode)
        units = self.units(declared)
        if others or any(unit.outdated for unit in units):
            actions.append("daemon-reload")
            self.found += [(unit, []) for unit in units if unit.outdated]
            if not check_mode:
                self._systemctl("daemon-reload")
                units = self.units(declared)
        for index, item in enumerate(declared):
            unit = units[index]
            self._require(unit, check_mode)
            verbs = decide(unit, self.loaded_dir, unit.name in fresh, check_mode and unit.name in others)
            reason = f": {unit.deaf}" if unit.deaf else ""
            if unit.crashing and unit.runnable:
                self.crashing.append(unit.name)
            if verbs[-1:] == ["start"] and unit.unmet:
                # Its condition was not met last time. That is no error, and only a change if it is met by now.
                verbs.pop()
                if not check_mode and self.run(["systemctl", "start", "--", unit.name])[0] == 0:
                    units[index] = unit = self.units([item])[0]
                    verbs += ["start"] if unit.up else []
                if not unit.up:
                    self.unmet.append(unit.name)
            elif not check_mode:
                for verb in verbs:
                    self._do(verb, unit)
            if verbs:
                self.found.append((unit, verbs))
            actions += [f"{verb} {unit.name}{reason if verb == 'restart' else ''}" for verb in verbs]
            if verbs[-1:] in (["start"], ["restart"], ["reload"]) and not unit.crashing:
                started.append(unit)
                if unit.name.endswith(".socket"):
                    fresh.update(unit.shown.get("Triggers", "").split())
            if verbs and not check_mode:
                units[index + 1 :] = self.units(declared[index + 1 :])
        if started and not check_mode:
            self._verify(started)
        return actions

    def _plain(self, declared: list[dict[str, Any]], actions: list[str], check_mode: bool) -> set[str]:
        """Take away unit files that nobody declared; the units that ran with them."""
        others: dict[str, list[str]] = {}
        for item in declared:
            if item.get("state", "started") == "started" and not item.get("masked"):
                name = full_name(item["name"])
                for path in unit_files.undeclared(name):
                    others.setdefault(path, []).append(name)
        for path, names in others.items():
            actions.append(f"remove {path}")
            self.removed.append(drift.entry(path, "absent", f"a file of {names[0]}", drift.changed(path)))
            if not check_mode:
                for name in names:  # before: a run that dies in between has the next one restart them
                    self._write(name + ".changed", path)
                unit_files.remove(path)
        return {name for names in others.values() for name in names}

    def _require(self, unit: Unit, check_mode: bool) -> None:
        wanted = unit.declared.get("state", "started") == "started" and not unit.declared.get("masked")
        if wanted and not unit.exists and not check_mode:
            raise ServiceError(
                f"{unit.name}: systemd knows no such unit. Is the package that brings it installed, or its unit file "
                f"written ({UNIT_DIR})? `systemctl list-unit-files` shows all that there are"
            )

    def _do(self, verb: str, unit: Unit) -> None:
        if verb in ("start", "restart"):
            self.run(["systemctl", "reset-failed", "--", unit.name])  # else a start limit would refuse it
            if unit.name.endswith(".socket"):
                self._start_socket(unit, verb)
                return
        if verb == "stop" and self._handed_over(unit):
            return
        moment = time.time()
        code, output, error = self.run(["systemctl", *verb.split(), "--", unit.name])
        if code != 0:
            raise ServiceError(self._explain(verb, unit.name, (error or output).strip()))
        if verb == "reload":
            self._remember(unit, moment)

    def _handed_over(self, unit: Unit) -> bool:
        """Whether it left its ports to a successor; the requests that it still has, it finishes meanwhile."""
        ports = set(unit.declared.get("ports") or [])
        if not ports:
            return False
        self._systemctl("stop", "--no-block", "--", unit.name)
        deadline = time.monotonic() + HAND_OVER_SECONDS
        while ports & set(listening()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _start_socket(self, unit: Unit, verb: str) -> None:
        """A socket cannot start while its service runs: stop both, start the socket, then the service."""
        services = [name for name in unit.shown.get("Triggers", "").split() if name.endswith(".service")]
        running = [name for name in services if self.run(["systemctl", "is-active", "--quiet", "--", name])[0] == 0]
        if running or verb == "restart":
            self._systemctl("stop", "--", *running, unit.name)
        for names in ([unit.name], running):
            if names:
                code, output, error = self.run(["systemctl", "start", "--", *names])
                if code != 0:
                    raise ServiceError(self._explain(verb, names[0], (error or output).strip()))

    def _verify(self, started: list[Unit]) -> None:
        """All that was started is still up a moment later."""
        time.sleep(self.settle)
        for unit, shown in zip(started, self.show([unit.name for unit in started])):
            now = Unit(unit.declared, shown)
            if not (now.up or now.finished or now.unmet):
                state = "{} ({})".format(shown.get("ActiveState"), shown.get("SubState"))
                raise ServiceError(self._explain("start", unit.name, f"it is {state} afterwards"))

    def _remember(self, unit: Unit, moment: float) -> None:
        self._write(unit.name, "{} {:.6f}".format(unit.shown.get("InvocationID", "-"), moment))

    def _write(self, name: str, line: str) -> None:
        os.makedirs(self.loaded_dir, mode=0o755, exist_ok=True)
        path = os.path.join(self.loaded_dir, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(line + "\n")
        os.rename(path + ".new", path)

    def _explain(self, verb: str, name: str, words: str) -> str:
        status = self.run(["systemctl", "status", "--no-pager", "--lines=0", "--full", "--", name])[1]
        journal = self.run(["journalctl", "--no-pager", "--quiet", "--lines=20", "--output=cat", "--unit=" + name])[1]
        return (
            f"systemctl {verb} {name}: {words}\n\nWhat systemd says (systemctl status {name}):\n{status.strip()}\n\n"
            f"Its last lines (journalctl -u {name}):\n{journal.strip() or '(none)'}"
        )
