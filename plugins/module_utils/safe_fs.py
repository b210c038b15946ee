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
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ANY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ACL = "system.posix_acl_access"


class UnsafePathError(Exception):
    """A path leads through a link that an unprivileged user could have made."""


def _trusted(info: os.stat_result) -> bool:
    """Whether only root (or the current user, where that is not root) can change this directory."""
    return info.st_uid in (0, os.geteuid()) and not info.st_mode & 0o022


def open_parent(path: str) -> tuple[int, str, bool]:
    """Open the directory that holds ``path``.

    Returns its descriptor, the last component, and whether nobody but root can change any directory on the
    way. Raises ``FileNotFoundError`` or ``NotADirectoryError`` like ``open``, ``UnsafePathError`` for a link
    below a directory that others may write to.
    """
    parts = [part for part in os.path.normpath(path).split("/") if part]
    if not path.startswith("/") or not parts:
        raise ValueError(f"{path}: not an absolute path of a file")
    name = parts.pop()
    walked = "/"
    links = 0
    fd = os.open("/", _DIRECTORY)
    try:
        trusted = _trusted(os.fstat(fd))
        while parts:
            part = parts.pop(0)
            current = os.path.join(walked, part)
            mode = os.lstat(part, dir_fd=fd).st_mode
            if stat.S_ISLNK(mode):
                if not trusted:
                    raise UnsafePathError(
                        f"{path}: {current} is a symbolic link below a directory that users other than root "
                        "can write to; remove the link, or name the real path"
                    )
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.path.normpath(os.path.join(walked, os.readlink(part, dir_fd=fd)))
                parts = [piece for piece in target.split("/") if piece] + parts
                following, walked = os.open("/", _DIRECTORY), "/"
            else:
                try:
                    following, walked = os.open(part, _DIRECTORY, dir_fd=fd), current
                except (FileNotFoundError, NotADirectoryError):
                    if not stat.S_ISDIR(mode):
                        raise
                    raise UnsafePathError(
                        f"{path}: {current} was a directory and was replaced, perhaps by a symbolic link, while it was "
                        "looked at; see who does that, then run again"
                    ) from None
            os.close(fd)
            fd = following
            trusted = trusted and _trusted(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd, name, trusted


def anchor(path: str) -> str:
    """The real path of the innermost existing directory above ``path`` that nobody but root can move or replace."""
    found, above = "/", ""
    for part in os.path.dirname(os.path.normpath(path)).split("/")[1:]:
        above = f"{above}/{part}"
        try:
            fd, _name, trusted = open_parent(f"{above}/x")
        except (FileNotFoundError, NotADirectoryError):
            break
        try:
            found = os.readlink(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if not trusted:
            break
    return found


@contextlib.contextmanager
def parent_of(path: str) -> Iterator[tuple[int, str]]:
    """``open_parent`` as a context manager, without the verdict."""
    fd, name, _trust = open_parent(path)
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


def refuse_planted_link(path: str) -> None:
    """Raise ``UnsafePathError`` where ``path`` itself is a link that a user planted."""
    fd, name, trusted = open_parent(path)
    try:
        info = os.lstat(name, dir_fd=fd)
        if stat.S_ISLNK(info.st_mode) and not trusted and info.st_uid not in (0, os.geteuid()):
            raise UnsafePathError(
                f"{path} is a symbolic link to {os.readlink(name, dir_fd=fd)} that user {info.st_uid} made in a "
                "directory that users other than root can write to; look why it is there, then remove it"
            )
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A regular file or directory itself, never what a link points to."""
    parent, name = (os.open("/", _DIRECTORY), ".") if path == "/" else open_parent(path)[:2]
    try:
        fd = os.open(name, _ANY, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        yield fd
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    """The bytes of a regular file, never of what a link points to."""
    with opened(path) as fd, os.fdopen(os.dup(fd), "rb") as stream:
        return stream.read()


def names(path: str) -> list[str]:
    """What is in a directory."""
    with opened(path) as fd:
        return sorted(os.listdir(fd))


def read_link(path: str) -> str:
    """Where a symbolic link points to."""
    with parent_of(path) as (fd, name):
        return os.readlink(name, dir_fd=fd)


def set_attributes(name: str, parent: int, uid: int, gid: int, mode: int) -> None:
    """Owner and mode of a directory or file, never of what a link points to."""
    fd = os.open(name, _ANY, dir_fd=parent)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def remove(name: str, parent: int, recursive: bool = True) -> None:
    """Remove a file, link or directory, if it is there; never anything behind a link."""
    try:
        info = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if recursive:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            for entry in os.listdir(fd):
                remove(entry, fd)
        finally:
            os.close(fd)
    os.rmdir(name, dir_fd=parent)


def has_acl(path: str) -> bool:
    """Whether somebody gave a file access beyond its mode (POSIX ACL)."""
    try:
        with opened(path) as fd:
            return _ACL in os.listxattr(fd)
    except OSError:
        return False


def drop_acl(fd: int) -> None:
    """Remove access beyond the mode, for instance what a directory's default ACL gave to a new file."""
    with contextlib.suppress(OSError):
        os.removexattr(fd, _ACL)


def frozen(path: str) -> int:
    """The attributes of a file or directory, if it is immutable or append-only (chattr +i, +a); else 0."""
    try:
        with opened(path) as fd:
            flags = _flags(fd)
    except OSError:
        return 0
    return flags if flags & _FROZEN else 0


def _flags(fd: int) -> int:
    try:
        return int(struct.unpack("L", fcntl.ioctl(fd, _GETFLAGS, struct.pack("L", 0)))[0])
    except OSError:
        return 0


def thaw(path: str) -> None:
    """Remove the immutable and append-only attributes. Raises ``OSError`` where the kernel refuses."""
    with opened(path) as fd:
        flags = _flags(fd)
        if flags & _FROZEN:
            fcntl.ioctl(fd, _SETFLAGS, struct.pack("L", flags & ~_FROZEN))


def freeze(path: str, flags: int) -> None:
    """Put back what ``thaw`` removed."""
    with opened(path) as fd:
        fcntl.ioctl(fd, _SETFLAGS, struct.pack("L", flags))
