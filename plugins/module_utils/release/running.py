# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs of a site: its units, whether they run the wanted release, and whether the site answers."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_PAUSE = 0.5  # seconds between two questions
_JOURNAL_LINES = 30
_PATIENCE = 10.0  # seconds that a site may go on giving wrong answers, once it answers


class Unit:
    """A systemd unit as it is now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """Ask systemd again."""
        names = "LoadState,ActiveState,SubState,MainPID,Type"
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
        """Whether systemd has given it up."""
        return self.values.get("ActiveState") == "failed"

    def stale(self, wanted: dict[str, str], paths: list[str]) -> str | None:
        """Why this unit does not run what it should; None where it does."""
        if self.values.get("Type") == "oneshot":
            return None
        if self.values.get("ActiveState") != "active" or not self.pid:
            return "%s is not running" % self.name
        found = _environ(self.pid)
        if "WEBSTACK_RELEASE" in found:
            if any(found.get(name) != value for name, value in wanted.items()):
                return "%s runs release %s with another configuration" % (self.name, found["WEBSTACK_RELEASE"])
            return None
        # A program may overwrite its environment with its title: then the times tell.
        started = _started(self.pid)
        if started and any(os.path.lexists(path) and os.lstat(path).st_mtime > started for path in paths):
            return "%s is older than its configuration" % self.name
        return None

    def journal(self, since: float) -> str:
        """The last that it said since a moment."""
        # Without this the last lines, which tell the cause, may still be on their way.
        subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)
        argv = ["journalctl", "--unit=" + self.name, "--since=@%d" % int(since), "--output=cat", "--no-pager"]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        # Not --lines: with --since, systemd 252 takes it for the first lines.
        return "\n".join("    " + line for line in done.stdout.splitlines()[-_JOURNAL_LINES:])


def _environ(pid: int) -> dict[str, str]:
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            raw = file.read().decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(one.split("=", 1) for one in raw.split("\0") if "=" in one)


def _started(pid: int) -> float | None:
    """When a process was started, in seconds of the wall clock (proc(5): field 22 of stat, in clock ticks)."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="utf-8") as file:
            uptime = float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def units(site: Site) -> list[Unit]:
    """The units that the site's activation restarts or reloads, as far as they are there."""
    names: list[str] = []
    for argv in site["activate"]:
        if os.path.basename(argv[0]) == "systemctl":
            words = [word for word in argv[1:] if not word.startswith("-")]
            names += [word for word in words[1:] if word not in names]
    return [unit for unit in map(Unit, names) if unit.exists]


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(health: dict[str, Any], timeout: float) -> int:
    """The status of one answer of the site, asked as its web server would. Raises ``OSError`` or ``HTTPException``."""
    connection: http.client.HTTPConnection
    if health["socket"]:
        connection = _SocketConnection(health["socket"], timeout)
    else:
        host, _colon, port = str(health["address"]).rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "Connection": "close"}
    headers["User-Agent"] = "webstack-health-check"
    if health["host"]:
        headers["Host"] = str(health["host"]).replace("*.", "health-check.")
    try:
        connection.request("GET", health["path"], headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def good(status: int, wanted: list[int]) -> bool:
    """Whether a status means health: one that was asked for, or anything that is neither 400 nor an error of the server."""
    return status in wanted if wanted else status < 500 and status != 400


def unhealthy(site: Site, watched: list[Unit], patience: float | None = None) -> str | None:
    """Ask until the site answers well; None then, else what is wrong."""
    health = site["health"]
    if health is None or not (health["socket"] or health["address"]):
        return None
    limit = float(health["timeout"] if patience is None else patience)
    deadline = time.monotonic() + limit
    answered: float | None = None
    words = "it does not answer"
    while True:
        try:
            status = ask(health, max(1.0, min(30.0, deadline - time.monotonic())))
            if good(status, health["status"]):
                return None
            words = "%s answers with status %d" % (health["path"], status)
            if status == 400:
                words += " (is %s among the project's ALLOWED_HOSTS?)" % health["host"]
            answered = answered if answered is not None else time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            words = "%s: %s" % (health["socket"] or health["address"], error or type(error).__name__)
        now = time.monotonic()
        if answered is not None and now - answered > _PATIENCE:
            return words
        for unit in watched:
            unit.read()
            if unit.failed:
                return "%s has failed" % unit.name
        if now + _PAUSE > deadline:
            return "%s, for %d seconds" % (words, limit)
        time.sleep(_PAUSE)
