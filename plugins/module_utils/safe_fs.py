# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""File system access that a user of the machine cannot turn against root.

Every path is walked from the root one component at a time with ``O_NOFOLLOW``. A symbolic link on
the way is followed only where nobody but root could have put it there (``/var/run``); below a
directory that somebody else may write to, links are refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

_GETFLAGS = 0x80086601  # FS_IOC_GETFLAGS, linux/fs.h
_SETFLAGS = 0x40086602  # FS_IOC_SETFLAGS
_FROZEN = 0x10 | 0x20  # FS_IMMUTABLE_FL | FS_APPEND_FL
_MAX_LINKS = 40


class UnsafePathError(Exception):
    """A path leads through a link that an unprivileged user could have made."""


def _trusted(info: os.stat_result) -> bool:
    """Whether only root (or the current user, where that is not root) can change this directory."""
    return info.st_uid in (0, os.geteuid()) and not info.st_mode & 0o022


def open_parent(path: str) -> tuple[int, str]:
    """Open the directory that holds ``path``; returns its descriptor and the last component.

    Raises ``FileNotFoundError`` or ``NotADirectoryError`` like ``open``, ``UnsafePathError`` for a
    link below a directory that is writable by others.
    """
    parts = [part for part in os.path.normpath(path).split("/") if part]
    if not path.startswith("/") or not parts:
        raise ValueError(f"{path}: not an absolute path of a file")
    name = parts.pop()
    walked = "/"
    trusted = True
    links = 0
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while parts:
            trusted = trusted and _trusted(os.fstat(fd))
            part = parts.pop(0)
            current = os.path.join(walked, part)
            info = os.lstat(part, dir_fd=fd)
            if stat.S_ISLNK(info.st_mode):
                if not trusted:
                    raise UnsafePathError(
                        f"{path}: {current} is a symbolic link below a directory that users other than root can "
                        "write to; remove the link, or name the real path"
                    )
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.path.normpath(os.path.join(walked, os.readlink(part, dir_fd=fd)))
                parts = [piece for piece in target.split("/") if piece] + parts
                os.close(fd)
                fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                walked = "/"
                continue
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = following
            walked = current
    except BaseException:
        os.close(fd)
        raise
    return fd, name


@contextlib.contextmanager
def parent_of(path: str) -> Iterator[tuple[int, str]]:
    """``open_parent`` as a context manager."""
    fd, name = open_parent(path)
    try:
        yield fd, name
    finally:
        os.close(fd)


def status(path: str) -> os.stat_result | None:
    """``lstat`` without following a hostile link; None where there is nothing."""
    try:
        with parent_of(path) as (fd, name):
            return os.lstat(name, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read(path: str) -> bytes:
    """The bytes of a regular file, never of what a link points to."""
    with parent_of(path) as (fd, name):
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        with os.fdopen(file, "rb") as stream:
            return stream.read()


def read_link(path: str) -> str:
    """Where a symbolic link points to."""
    with parent_of(path) as (fd, name):
        return os.readlink(name, dir_fd=fd)


def has_acl(path: str) -> bool:
    """Whether somebody gave a file access beyond its mode (POSIX ACL)."""
    try:
        return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False


def _flags(fd: int) -> int:
    try:
        return struct.unpack("L", fcntl.ioctl(fd, _GETFLAGS, struct.pack("L", 0)))[0]  # type: ignore[no-any-return]
    except OSError:
        return 0


def frozen(path: str) -> bool:
    """Whether a file or directory has the immutable or append-only attribute (chattr +i, +a)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(_flags(fd) & _FROZEN)
    finally:
        os.close(fd)


def thaw(path: str) -> None:
    """Remove the immutable and append-only attributes. Raises ``OSError`` where the kernel refuses."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = _flags(fd)
        if flags & _FROZEN:
            fcntl.ioctl(fd, _SETFLAGS, struct.pack("L", flags & ~_FROZEN))
    finally:
        os.close(fd)
