# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs of a site: its units or programs, whether they run the wanted release, and whether the site answers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.processes import environ, started
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.health import ask, good
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_PAUSE = 0.5  # seconds between two questions
_LOOKS = 3  # a second apart; what is seen to have failed that often does not come back by itself
_JOURNAL_LINES = 30
_LOG_BYTES = 100_000
_PATIENCE = 10.0  # seconds that a site may go on giving wrong answers, once it answers


class Process:
    """A process of a site as its process manager sees it now."""

    manager = ""  # the command that it is restarted with

    def __init__(self, name: str, waited: bool = True) -> None:
        self.name = name
        self.waited = waited  # whether the activation waits for its restart, and goes back where it fails
        self.read()

    def read(self) -> None:
        """Ask the manager again."""
        raise NotImplementedError

    @property
    def exists(self) -> bool:
        """Whether the manager knows it."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The main process; 0 where there is none."""
        raise NotImplementedError

    @property
    def failed(self) -> bool:
        """Whether it ended with an error, and the manager has given it up or tries it again later."""
        raise NotImplementedError

    @property
    def up(self) -> bool:
        """Whether it is meant to run and does."""
        raise NotImplementedError

    @property
    def changing(self) -> bool:
        """Whether it is on its way by itself: it was told to end and finishes what it is at, or is being started again."""
        raise NotImplementedError

    @property
    def job(self) -> bool:
        """Whether it ends by itself."""
        return False

    def journal(self, since: float) -> str:
        """The last that it said since a moment."""
        raise NotImplementedError

    def stop_command(self) -> list[str]:
        """What stops it."""
        raise NotImplementedError

    def stale(self, wanted: dict[str, str], paths: list[str]) -> str | None:
        """Why this does not run what it should; None where it does, or will without our help."""
        if self.job or (self.changing and not self.waited):
            return None
        if not self.up or not self.pid:
            return "%s is not running" % self.name
        found = environ(self.pid)
        if "WEBSTACK_RELEASE" in found:
            if any(found.get(name) != value for name, value in wanted.items()):
                return "%s runs release %s with another configuration" % (self.name, found["WEBSTACK_RELEASE"])
            return None
        # A program may overwrite its environment with its title: then the times tell.
        began = started(self.pid)
        if began and any(os.path.lexists(path) and os.lstat(path).st_mtime > began for path in paths):
            return "%s is older than its configuration" % self.name
        return None


class Unit(Process):
    """A systemd unit."""

    manager = "systemctl"

    def read(self) -> None:
        """Ask systemd again."""
        names = "LoadState,ActiveState,SubState,MainPID,Type,Job"
        done = subprocess.run(
            ["systemctl", "show", "--property=" + names, "--", self.name], capture_output=True, text=True, check=False
        )
        self.values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    @property
    def exists(self) -> bool:
        """Whether systemd knows it."""
        return self.values.get("LoadState") == "loaded"

    @property
    def pid(self) -> int:
        """The main process; 0 where there is none."""
        return int(self.values.get("MainPID") or 0)

    @property
    def failed(self) -> bool:
        """Whether systemd has given it up, or waits before it tries again: who starts it now waits no longer for that."""
        return self.values.get("ActiveState") == "failed" or self.values.get("SubState", "").startswith("auto-restart")

    @property
    def up(self) -> bool:
        """Whether it is active."""
        return self.values.get("ActiveState") == "active"

    @property
    def changing(self) -> bool:
        """Whether it is being stopped or started, or will be: a restart that was not waited for is a job."""
        pending = self.values.get("Job", "0") not in ("", "0")
        return pending or self.values.get("ActiveState") in ("deactivating", "activating")

    @property
    def job(self) -> bool:
        """Whether it ends by itself."""
        return self.values.get("Type") == "oneshot"

    def stale(self, wanted: dict[str, str], paths: list[str]) -> str | None:
        """As of any process; a timer has none, and only has to be there."""
        if self.name.endswith(".timer"):
            return None if self.up or self.changing else "%s is not running" % self.name
        return super().stale(wanted, paths)

    def journal(self, since: float) -> str:
        """The last that it said since a moment."""
        # Without this the last lines, which tell the cause, may still be on their way.
        subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)
        argv = ["journalctl", "--unit=" + self.name, "--since=@%d" % int(since), "--output=cat", "--no-pager"]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        # Not --lines: with --since, systemd 252 takes it for the first lines.
        return _tail(done.stdout)

    def stop_command(self) -> list[str]:
        """What stops it; one that may take long is not waited for."""
        return ["systemctl", *["--no-block"] * (not self.waited), "stop", "--", self.name]


class Program(Process):
    """A program of supervisord, seen through the command of our role."""

    manager = "webstack-supervisord"

    def __init__(self, name: str, waited: bool = True, command: str = "webstack-supervisord") -> None:
        self.command = command
        super().__init__(name, waited)
        self._log_before = self._log_size()

    def read(self) -> None:
        """Ask supervisord again."""
        self.values: dict[str, Any] = {}
        try:
            argv = [self.command, "--json", "status", self.name]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            self.values = json.loads(done.stdout).get(self.name, {})
        except (OSError, ValueError):  # no such command, or supervisord does not answer
            return

    @property
    def exists(self) -> bool:
        """Whether supervisord knows it."""
        return bool(self.values)

    @property
    def pid(self) -> int:
        """The main process; 0 where there is none."""
        return int(self.values.get("pid") or 0)

    @property
    def failed(self) -> bool:
        """Whether supervisord has given it up, or waits before it tries again."""
        return self.values.get("state") in ("FATAL", "BACKOFF")

    @property
    def up(self) -> bool:
        """Whether it runs; one that starts counts, as a unit of Type=exec does."""
        return self.values.get("state") in ("RUNNING", "STARTING")

    @property
    def changing(self) -> bool:
        """Whether it was told to end, is being stopped, or is tried again."""
        return bool(self.values.get("told")) or self.values.get("state") in ("STOPPING", "BACKOFF", "STARTING")

    def _log_size(self) -> int:
        try:
            return os.stat(self.values["log"]).st_size
        except (OSError, KeyError):
            return 0

    def journal(self, since: float) -> str:
        """The last that it wrote into its log since this object was made: the lines have no times."""
        try:
            with open(self.values["log"], "rb") as file:
                size = os.fstat(file.fileno()).st_size
                begin = self._log_before if self._log_before <= size else 0  # it was put aside meanwhile
                file.seek(max(begin, size - _LOG_BYTES))
                return _tail(file.read().decode("utf-8", "replace"))
        except (OSError, KeyError):
            return ""

    def stop_command(self) -> list[str]:
        """What stops it."""
        return [self.command, "stop", self.name]


_KINDS: dict[str, type[Process]] = {kind.manager: kind for kind in (Unit, Program)}


def _tail(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines()[-_JOURNAL_LINES:])


def names(argv: list[str]) -> list[str]:
    """The units or programs in a command of ``activate``, like ``systemctl --no-block restart blog-worker.service``."""
    return [word for word in argv[1:] if not word.startswith("-")][1:]


def managed(argv: list[str]) -> bool:
    """Whether a command is one of a process manager that we know."""
    return os.path.basename(argv[0]) in _KINDS


def processes(site: Site) -> list[Process]:
    """What the site's activation restarts or reloads, as far as it is there."""
    found: dict[tuple[str, str], Process] = {}
    for argv in site["activate"]:
        kind = _KINDS.get(os.path.basename(argv[0]))
        for name in names(argv) if kind else []:
            key = (kind.manager, name) if kind else ("", name)
            waited = "--no-block" not in argv
            if kind is Program:
                found.setdefault(key, Program(name, waited, argv[0]))
            elif kind:
                found.setdefault(key, kind(name, waited))
    return [one for one in found.values() if one.exists]


def _failed(watched: Sequence[Process]) -> str | None:
    """Which of the processes that are waited for has failed."""
    for one in watched:
        if one.waited:
            one.read()
            if one.failed:
                return "%s has failed" % one.name
    return None


def _ask(health: dict[str, Any], timeout: float, proof: str | None, watched: Sequence[Process]) -> tuple[int, bool]:
    """The same as ``ask``, given up when who is to answer has failed: a socket that is held for it takes the request all the same."""
    answers: list[tuple[int, bool]] = []
    errors: list[Exception] = []

    def answer() -> None:
        try:
            answers.append(ask(health, timeout, proof))
        except Exception as error:
            errors.append(error)

    asking = threading.Thread(target=answer, daemon=True)
    asking.start()
    looks = 0
    while not (answers or errors) and looks < _LOOKS:
        asking.join(1.0)
        looks = looks + 1 if not (answers or errors) and _failed(watched) else 0
    if answers:
        return answers[0]
    raise errors[0] if errors else ConnectionError("nobody is there to answer")


def unhealthy(
    site: Site,
    watched: Sequence[Process],
    patience: float | None = None,
    release: str = "",
    health: dict[str, Any] | None = None,
) -> str | None:
    """Ask until the site answers well; None then, else what is wrong.

    Args:
        site: the site.
        watched: its processes; there is no use in waiting for one that has failed.
        patience: seconds to wait, instead of those of the health check.
        release: the release that has to answer, instead of the wanted one.
        health: where and how it is asked, instead of the site's own.
    """
    health = health or site["health"]
    if health is None or not (health["socket"] or health["address"]):
        return None
    limit = float(health["timeout"] if patience is None else patience)
    deadline = time.monotonic() + limit
    asked = release or site.release_id
    known = files.load(os.path.join(site.releases, asked))
    proof = asked if health["proof"] and known.get("serves") else None
    answered: float | None = None
    words = "it does not answer"
    while True:
        try:
            status, proved = _ask(health, max(1.0, min(30.0, deadline - time.monotonic())), proof, watched)
            healthy = good(status, health["status"])
            if healthy and (proved or not proof):
                return None
            words = "%s answers with status %d" % (health["path"], status)
            if healthy:
                words = "the answer does not come from release %s" % proof
            if status == 400:
                words += " (is %s among the project's ALLOWED_HOSTS?)" % health["host"]
            answered = answered if answered is not None else time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            words = "%s: %s" % (health["socket"] or health["address"], error or type(error).__name__)
        now = time.monotonic()
        if answered is not None and now - answered > _PATIENCE:
            return words
        broken = _failed(watched)
        if broken:
            return broken
        if now + _PAUSE > deadline:
            return "%s, for %d seconds" % (words, limit)
        time.sleep(_PAUSE)
