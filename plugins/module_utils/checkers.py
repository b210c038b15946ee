# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running checkers (``nginx -t`` ...) on a configuration before it becomes the live one.

The changes are made in a private mount namespace, on overlays whose upper layer is memory, and the
checkers run in there. No other process ever sees that state. Where the kernel or the container does
not allow it, ``Unavailable`` tells the caller to check in place and to roll back.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
from typing import Any, Callable

CLONE_NEWNS = 0x00020000  # linux/sched.h
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
DEFAULT_TIMEOUT = 30  # seconds


class Unavailable(Exception):
    """A private view of the file system cannot be made here."""


def wanted(checks: list[dict[str, Any]], changed: list[str]) -> list[dict[str, Any]]:
    """The checkers that concern one of the changed paths."""
    return [
        check
        for check in checks
        if not check.get("when_paths")
        or any(path.startswith(prefix) for path in changed for prefix in check["when_paths"])
    ]


def installed(check: dict[str, Any]) -> bool:
    """Whether the checker's program is on this host."""
    return shutil.which(str(check["argv"][0])) is not None


def run(check: dict[str, Any]) -> str:
    """Run one checker; returns an error message, empty where it is content."""
    argv = [str(word) for word in check["argv"]]
    if not installed(check):
        if check.get("missing_ok"):
            return ""
        return f"{argv[0]}: the program is not installed; install its package before the configuration"
    timeout = float(check.get("timeout") or DEFAULT_TIMEOUT)
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
    )
    try:
        output, _rest = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "{} did not end within {:g} seconds and was stopped".format(" ".join(argv), timeout)
    if process.returncode == 0:
        return ""
    words = output.decode("utf-8", "replace").strip()
    return "%s refused the new configuration (exit status %d):\n%s" % (
        " ".join(argv),
        process.returncode,
        words,
    )


def run_all(checks: list[dict[str, Any]]) -> str:
    """Run checkers in order until one is not content; its message, or an empty string."""
    for check in checks:
        message = run(check)
        if message:
            return message
    return ""


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()) != 0:
        code = ctypes.get_errno()
        raise Unavailable(f"mount {kind} on {target}: {os.strerror(code)}")


def _mount_points() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line.split()[4] for line in file]


def _roots(paths: list[str]) -> list[str]:
    """The fewest existing directories that hold all paths."""
    directories = set()
    for path in paths:
        directory = os.path.dirname(path)
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        directories.add(os.path.realpath(directory))
    roots = [
        one for one in directories if not any(one != other and one.startswith(other + "/") for other in directories)
    ]
    if "/" in roots:
        raise Unavailable("a changed path lies in the root directory")
    for root in roots:
        if any(point.startswith(root + "/") for point in _mount_points()):
            raise Unavailable(f"another file system is mounted below {root}")
    return roots


def _private_view(roots: list[str], memory: str) -> None:
    """Enter a mount namespace with a writable overlay on each root, kept in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Unavailable(f"unshare: {os.strerror(ctypes.get_errno())}")
    _mount("none", "/", "none", MS_REC | MS_PRIVATE, "")
    _mount("tmpfs", memory, "tmpfs", 0, "mode=0700")
    for number, root in enumerate(roots):
        upper, work = os.path.join(memory, "u%d" % number), os.path.join(memory, "w%d" % number)
        os.mkdir(upper, 0o755)
        os.mkdir(work, 0o755)
        if any(mark in root for mark in ",:\\"):
            raise Unavailable(f"{root} cannot be named in mount options")
        info = os.stat(root)
        os.chown(upper, info.st_uid, info.st_gid)
        os.chmod(upper, info.st_mode & 0o7777)
        _mount("overlay", root, "overlay", 0, f"lowerdir={root},upperdir={upper},workdir={work}")


def preview(paths: list[str], apply: Callable[[], None], checks: list[dict[str, Any]]) -> str:
    """Make the changes in a private view, run the checkers there; returns their message.

    Raises ``Unavailable`` where no private view can be made.
    """
    roots = _roots(paths)
    memory = tempfile.mkdtemp(prefix="webstack-preview-")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, Any] = {}
        try:
            os.close(reader)
            if os.geteuid() != 0:
                raise Unavailable("only root can")
            _private_view(roots, memory)
            apply()
            answer = {"message": run_all(checks)}
        except Unavailable as error:
            answer = {"unavailable": str(error)}
        except BaseException as error:  # the parent reports it, from its own attempt
            answer = {"unavailable": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        raw = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(raw) if raw else {"unavailable": "the preview process died"}
    os.rmdir(memory)
    if "unavailable" in answer:
        raise Unavailable(answer["unavailable"])
    return str(answer["message"])
