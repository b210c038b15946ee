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
import time
from collections.abc import Iterator
from typing import Any, Callable

LOADED_DIR = "/run/webstack/loaded"
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,CanReload,"
    "ExecMainStartTimestamp,ActiveEnterTimestamp,InactiveExitTimestamp,ConditionResult,Triggers,FragmentPath,Result"
)
_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias", "transient")
_UP = ("active", "activating", "reloading")

Runner = Callable[[list[str]], tuple[int, str, str]]


class ServiceError(Exception):
    """A unit could not be brought into its state; the message is for the user."""


def newest(patterns: list[str]) -> float:
    """The latest change time (seconds since the epoch) of files, links, directories (recursive) and globs.

    The inode's change time: a file that was put in place by a rename, even an old one from a backup, is
    new to a daemon whatever its modification time says.
    """
    latest = 0.0
    for pattern in patterns:
        for path in glob.glob(pattern) if any(mark in pattern for mark in "*?[") else [pattern]:
            for entry in _walk(path):
                try:
                    latest = max(latest, os.lstat(entry).st_ctime)
                except FileNotFoundError:
                    continue
    return latest


def _walk(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for directory, directories, files in os.walk(path):
            for name in directories + files:
                yield os.path.join(directory, name)


def _seconds(value: str) -> float:
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
        self.name: str = declared["name"]
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
        """Whether the unit is active or on its way."""
        return self.shown.get("ActiveState") in _UP

    @property
    def enabled(self) -> bool:
        """Whether the unit starts at boot (static units count: nothing can be enabled)."""
        return self.shown.get("UnitFileState") in _ENABLED

    @property
    def runnable(self) -> bool:
        """Whether the path that the unit waits for is there."""
        path = self.declared.get("run_if")
        return not path or os.path.exists(path)

    def started(self) -> float:
        """When the main process (or, of units without one, the unit) started, in seconds."""
        times = [_seconds(self.shown.get("ExecMainStartTimestamp", ""))]
        if not times[0]:
            times = [_seconds(self.shown.get(key, "")) for key in ("InactiveExitTimestamp", "ActiveEnterTimestamp")]
        return max(times)

    def loaded(self, directory: str = LOADED_DIR) -> float:
        """When the running invocation last read its configuration: its start, or its last reload by us."""
        try:
            with open(os.path.join(directory, self.name), encoding="utf-8") as file:
                invocation, moment = file.read().split()
        except (OSError, ValueError):
            return self.started()
        same = invocation == self.shown.get("InvocationID")
        return max(self.started(), float(moment)) if same else self.started()


def decide(unit: Unit, directory: str = LOADED_DIR) -> list[str]:
    """The verbs that bring a unit into its state, in order; empty where it is in it already."""
    declared = unit.declared
    verbs = []
    if declared.get("masked"):
        if unit.up:
            verbs.append("stop")
        return [*verbs, "mask"] if not unit.masked else verbs
    if unit.masked:
        verbs.append("unmask")
    wants_enabled = declared.get("enabled", True)
    if wants_enabled and not unit.enabled:
        verbs.append("enable")
    if not wants_enabled and unit.shown.get("UnitFileState") in ("enabled", "enabled-runtime"):
        verbs.append("disable")
    if declared.get("state", "started") == "stopped":
        return [*verbs, "stop"] if unit.up else verbs
    if not unit.runnable:
        return verbs
    if not unit.up:
        return [*verbs, "start"]
    if newest(declared.get("restart_on") or []) > unit.started():
        return [*verbs, "restart"]
    if newest(declared.get("reload_on") or []) > unit.loaded(directory):
        return [*verbs, "reload" if unit.shown.get("CanReload") == "yes" else "restart"]
    return verbs


class Manager:
    """Runs systemctl for a list of declared units."""

    def __init__(self, run: Runner, loaded_dir: str = LOADED_DIR) -> None:
        self.run = run
        self.loaded_dir = loaded_dir

    def _systemctl(self, *words: str) -> str:
        code, output, error = self.run(["systemctl", *words])
        if code != 0:
            raise ServiceError("systemctl {}: {}".format(" ".join(words), (error or output).strip()))
        return output

    def show(self, names: list[str]) -> dict[str, dict[str, str]]:
        """The properties of all units in one call, by the name asked for."""
        if not names:
            return {}
        output = self._systemctl("show", "--timestamp=us+utc", "--property=" + _PROPERTIES, "--", *names)
        blocks = output.strip("\n").split("\n\n")
        shown = {}
        for name, block in zip(names, blocks):
            shown[name] = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        return shown

    def units(self, declared: list[dict[str, Any]]) -> list[Unit]:
        """The declared units with what systemd says of them."""
        shown = self.show([item["name"] for item in declared])
        return [Unit(item, shown.get(item["name"], {})) for item in declared]

    def daemon_reload_needed(self, units: list[Unit]) -> bool:
        """Whether systemd has read unit files that are older than those on disk."""
        return any(
            unit.shown.get("NeedDaemonReload") == "yes"
            or (not unit.exists and os.path.exists("/etc/systemd/system/" + unit.name))
            for unit in units
        )

    def converge(self, declared: list[dict[str, Any]], check_mode: bool) -> list[str]:
        """Bring all units into their state; returns what was (or would be) done."""
        actions = []
        units = self.units(declared)
        if self.daemon_reload_needed(units):
            actions.append("daemon-reload")
            if not check_mode:
                self._systemctl("daemon-reload")
                units = self.units(declared)
        for unit in units:
            verbs = self._decide(unit, check_mode)
            actions += [f"{verb} {unit.name}" for verb in verbs]
            if not check_mode:
                for verb in verbs:
                    self._do(verb, unit)
        return actions

    def _decide(self, unit: Unit, check_mode: bool) -> list[str]:
        gone = unit.declared.get("state") == "stopped" or unit.declared.get("masked")
        if not unit.exists and not (unit.declared.get("masked") and not gone):
            if unit.declared.get("state") == "stopped":
                return []
            if check_mode:
                return ["start"] if unit.runnable else ["enable"]
            raise ServiceError(
                f"{unit.name}: systemd knows no such unit; is its package installed and its unit file in place?"
            )
        return decide(unit, self.loaded_dir)

    def _do(self, verb: str, unit: Unit) -> None:
        name = unit.name
        if verb in ("start", "restart"):
            self.run(["systemctl", "reset-failed", "--", name])
        if verb == "restart" and name.endswith(".socket"):
            self._restart_socket(unit)
        else:
            moment = time.time()
            code, output, error = self.run(["systemctl", verb, "--", name])
            if code != 0:
                raise ServiceError(self._explain(verb, name, (error or output).strip()))
            if verb == "reload":
                self._remember(unit, moment)
        if verb in ("start", "restart", "reload"):
            self._verify(verb, name)

    def _restart_socket(self, unit: Unit) -> None:
        """A socket cannot restart while its service runs: stop both, start the socket, then the service."""
        services = [name for name in unit.shown.get("Triggers", "").split() if name.endswith(".service")]
        running = [name for name in services if self.run(["systemctl", "is-active", "--quiet", name])[0] == 0]
        self._systemctl("stop", "--", *running, unit.name)
        self._systemctl("start", "--", unit.name)
        if running:
            self._systemctl("start", "--no-block", "--", *running)

    def _verify(self, verb: str, name: str) -> None:
        shown = self.show([name])[name]
        idle = shown.get("ActiveState") == "inactive" and shown.get("Result") == "success"
        if shown.get("ActiveState") in _UP or (idle and name.endswith(".service") and self._oneshot(name)):
            return
        if idle and shown.get("ConditionResult") == "no":
            return
        state = "{} ({})".format(shown.get("ActiveState"), shown.get("SubState"))
        raise ServiceError(self._explain(verb, name, f"it is {state} afterwards"))

    def _oneshot(self, name: str) -> bool:
        return self._systemctl("show", "--property=Type", "--value", "--", name).strip() == "oneshot"

    def _remember(self, unit: Unit, moment: float) -> None:
        os.makedirs(self.loaded_dir, mode=0o755, exist_ok=True)
        path = os.path.join(self.loaded_dir, unit.name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("{} {:.6f}\n".format(unit.shown.get("InvocationID", "-"), moment))
        os.rename(path + ".new", path)

    def _explain(self, verb: str, name: str, words: str) -> str:
        journal = self.run(["journalctl", "--no-pager", "--quiet", "-n", "20", "-o", "cat", "-u", name])[1].strip()
        return f"systemctl {verb} {name}: {words}\nIts last lines (journalctl -u {name}):\n{journal}"
