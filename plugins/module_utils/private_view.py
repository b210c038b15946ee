# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A private view of the file system in which changes can be tried.

A child process enters a mount namespace of its own and lays an overlay, whose upper layer is memory, on
each directory that would be changed. No other process ever sees what happens there, and nothing of it
is left. Where the kernel or the container does not allow this, ``Unavailable`` says so.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import safe_fs
from ansible_collections.webstack.django.plugins.module_utils.checkers import die_with_parent
from ansible_collections.webstack.django.plugins.module_utils.config_files_undo import mount_points

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000  # linux/mount.h
_MNT_DETACH = 2
_BASES = ("/mnt", "/media", "/opt", "/srv", "/run")  # one of them holds the memory while the view is made


class Unavailable(Exception):
    """A private view of the file system cannot be made here."""


def run(paths: list[str], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do ``work`` in a private view in which ``paths`` may be changed; returns its answer.

    Raises ``Unavailable`` where no private view can be made, or where ``work`` raised something.
    """
    if os.geteuid() != 0:
        raise Unavailable("only root can make a private view")
    roots = _roots(paths)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, Any]
        try:
            os.close(reader)
            die_with_parent()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            _enter(roots, set(paths))
            answer = {"answer": work()}
        except Unavailable as error:
            answer = {"unavailable": str(error)}
        except BaseException as error:  # the caller's own attempt will say it
            answer = {"unavailable": f"{type(error).__name__}: {error}"}
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            raw = stream.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    answer = json.loads(raw) if raw else {"unavailable": "the process in the private view died"}
    if "unavailable" in answer:
        raise Unavailable(answer["unavailable"])
    return dict(answer["answer"])


def _roots(paths: list[str]) -> list[str]:
    """The fewest existing directories that hold all paths, outer ones first; one for each file system.

    They are directories that nobody but root can move: else a user could have the work done beside the overlay.
    """
    directories = {safe_fs.anchor(path) for path in paths}
    if "/" in directories:
        raise Unavailable("a changed path lies in the root directory")
    mounts = mount_points()
    return sorted(
        one
        for one in directories
        if not any(
            _below(one, other) and not any(_below(point, other) and _within(one, point) for point in mounts)
            for other in directories
        )
    )


def _below(path: str, directory: str) -> bool:
    return path.startswith(directory + "/")


def _within(path: str, directory: str) -> bool:
    return path == directory or _below(path, directory)


def _enter(roots: list[str], changed: set[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise Unavailable(f"unshare: {os.strerror(ctypes.get_errno())}")
    _mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    base = next(
        (
            base
            for base in _BASES
            if os.path.isdir(base)
            and not os.path.islink(base)
            and not any(_within(root, base) or _within(base, root) for root in roots)
        ),
        None,
    )
    if base is None:
        raise Unavailable("there is no directory for the overlays")
    # What is mounted below a changed directory would be hidden by the overlay: it is mounted there again.
    inner = {
        root: sorted(point for point in mount_points() if _below(point, root) and point not in changed)
        for root in roots
    }
    _mount("tmpfs", base, "tmpfs", 0, "mode=0700")
    for number, root in enumerate(roots):
        places = []
        for index, point in enumerate(inner[root]):
            place = os.path.join(base, f"m{number}.{index}")
            if os.path.isdir(point):
                os.mkdir(place)
            else:
                os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            _mount(point, place, "none", _MS_BIND)
            places.append((place, point))
        _overlay(root, os.path.join(base, str(number)))
        for place, point in places:
            _mount(place, point, "none", _MS_BIND)
    # The overlays keep the memory; the directory itself is as it was.
    if libc.umount2(base.encode(), _MNT_DETACH) != 0:
        raise Unavailable(f"umount {base}: {os.strerror(ctypes.get_errno())}")


def _overlay(root: str, memory: str) -> None:
    if any(mark in root for mark in ",:\\"):
        raise Unavailable(f"{root} cannot be named in mount options")
    upper, work = os.path.join(memory, "upper"), os.path.join(memory, "work")
    os.makedirs(upper)
    os.makedirs(work)
    info = os.stat(root)
    os.chown(upper, info.st_uid, info.st_gid)
    os.chmod(upper, info.st_mode & 0o7777)
    _mount("overlay", root, "overlay", 0, f"lowerdir={root},upperdir={upper},workdir={work}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()) != 0:
        raise Unavailable(f"mount {kind} on {target}: {os.strerror(ctypes.get_errno())}")
