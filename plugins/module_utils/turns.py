# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A run from a controller and one of the server itself (role os, os_pull) do not converge it at the same time.

Each writes down that it is there, and looks for the other one after that, so that of two who begin at once no both go on. The
controller's run leaves a note and no lock, since it ends without a word: it counts for as long as the connection is there by
which the run came, which a controller that was killed or cut off loses within minutes.

The role os lays this file down beside its program as well: standard library only, and nothing of the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Callable

DIRECTORY = "/run"  # a boot clears it
QUIET = 600.0  # seconds for which a note counts without its connection: Ansible may have been told to keep none open
LONGEST = 7200.0  # and with it: somebody keeps connections open for days
PATIENCE = 300.0  # seconds for which a controller waits for a run of the server itself


def note_path() -> str:
    """Where the run of a controller leaves its note."""
    return os.path.join(DIRECTORY, "webstack-converge.json")


def lock_path() -> str:
    """The lock of the run of the server itself."""
    return os.path.join(DIRECTORY, "webstack-pull.lock")


def inside() -> bool:
    """Whether this process was started by the run of the server itself, whatever unit or session it is in by now."""
    known = load(lock_path())
    wanted, pid = (int(_number(known.get("pid"))), known.get("started")), os.getpid()
    while pid > 1:
        _name, parent, started = _stat(pid)
        if (pid, started) == wanted:
            return True
        pid = parent
    return False


# The run of a controller -------------------------------------------------------------------------


def leave_note(now: float | None = None) -> None:
    """Say that a run of a controller is there; once more each time, since none of them takes its note away."""
    pid, started = session(os.getpid())
    note = {"pid": pid, "started": started, "since": now or time.time(), "who": os.environ.get("SUDO_USER") or "root"}
    part = "%s.%d" % (note_path(), os.getpid())
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(note, file)
    os.rename(part, note_path())


def controller(now: float | None = None) -> str:
    """Who converges the server from elsewhere, in words; empty where nobody does."""
    now = now or time.time()
    note = load(note_path())
    since = _number(note.get("since"))
    age = now - since
    connected = bool(note.get("pid")) and _started(int(_number(note["pid"]))) == note.get("started")
    if 0 <= age < (LONGEST if connected else QUIET):
        return "a run by %s is at it since %s" % (note.get("who"), _clock(since))
    for path in sorted(glob.glob(os.path.join(DIRECTORY, "webstack-deploy-*.json"))):
        lock = load(path)
        if 0 <= now - _number(lock.get("touched")) < QUIET:
            site = os.path.basename(path)[len("webstack-deploy-") : -len(".json")]
            return "site %s is being deployed by %s since %s" % (
                site,
                lock.get("who"),
                _clock(_number(lock.get("since"))),
            )
    return ""


def session(pid: int) -> tuple[int, str]:
    """The process of sshd that holds the connection by which a process came in, and when it began; 0 where there is none.

    It is the nearest of the ancestors that are sshd's: it serves all commands of one connection and ends with it.
    """
    while pid > 1:
        name, parent, started = _stat(pid)
        if name in ("sshd", "sshd-session"):
            return (pid, started) if parent != 1 else (0, "")
        pid = parent
    return 0, ""


# The run of the server itself --------------------------------------------------------------------


class Busy(Exception):
    """Another run of the server itself has the lock."""


@contextlib.contextmanager
def own_turn() -> Iterator[Callable[[], None]]:
    """The lock of the server's own run; it ends with the process, however that ends.

    Gives a function that says that changes are about to be made: a controller waits from then on, and not while something is fetched.

    Raises:
        Busy: another one has it.
    """
    descriptor = os.open(lock_path(), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def tell(mode: str) -> None:
        note = {"mode": mode, "since": time.time(), "pid": os.getpid(), "started": _started(os.getpid())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)

    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("another run of this server itself is at it") from None
        tell("look")
        yield lambda: tell("converge")
    finally:
        os.close(descriptor)


def pulling() -> str:
    """Since when the server converges itself, in words; empty where it does not, or only looks."""
    try:
        descriptor = os.open(lock_path(), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except OSError:
        known = load(lock_path())
        return _clock(_number(known.get("since"))) if known.get("mode") == "converge" else ""
    finally:
        os.close(descriptor)


def wait(seconds: float = PATIENCE) -> str:
    """Wait until the server has ended converging itself; empty where it has, else since when it has been at it."""
    deadline = time.monotonic() + seconds
    while True:
        since = pulling()
        if not since or time.monotonic() > deadline:
            return since
        time.sleep(0.5)


# Processes ---------------------------------------------------------------------------------------


def _stat(pid: int) -> tuple[str, int, str]:
    """Name of a process, its parent and when it began, in ticks since the boot."""
    text = _read("/proc/%d/stat" % pid)
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20:
        return "", 0, ""
    return text[text.index("(") + 1 : text.rindex(")")], int(fields[1]), fields[19]


def _started(pid: int) -> str | None:
    return _stat(pid)[2] or None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def load(path: str) -> dict[str, Any]:
    """What a file of JSON holds; nothing where there is none."""
    try:
        found = json.loads(_read(path) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
