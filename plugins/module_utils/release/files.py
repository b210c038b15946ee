# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small operations on files that the steps share."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import safe_fs

RELEASE_FILE = "release.json"
STATE_FILE = ".state.json"


def read_text(path: str) -> str | None:
    """The content of a file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path: str, text: str, mode: int = 0o640, gid: int = 0, uid: int = 0) -> None:
    """Write a file in a directory of root's, whole or not at all."""
    temporary = "%s.%d" % (path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def link(target: str, path: str) -> None:
    """Make a symbolic link, or replace one, in one step."""
    temporary = "%s.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def link_target(path: str) -> str | None:
    """Where a symbolic link points to; None where there is no link."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def target_name(path: str) -> str | None:
    """The last part of where a symbolic link points to: ``current`` and ``previous`` name releases."""
    found = link_target(path)
    return os.path.basename(found.rstrip("/")) if found else None


def load(directory: str, name: str = RELEASE_FILE) -> dict[str, Any]:
    """A JSON file of a release; empty where there is none, or only half of one."""
    text = read_text(os.path.join(directory, name))
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def store(directory: str, values: dict[str, Any], gid: int, name: str = RELEASE_FILE) -> None:
    """Write a JSON file of a release."""
    write(os.path.join(directory, name), json.dumps(values, indent=2, sort_keys=True) + "\n", gid=gid)


def state(directory: str) -> dict[str, Any]:
    """What has been done with a release: prepared, activated, bad."""
    return load(directory, STATE_FILE)


def update_state(directory: str, gid: int, **values: Any) -> None:
    """Note something about a release; None removes a note."""
    known = state(directory)
    known.update(values)
    store(directory, {key: value for key, value in known.items() if value is not None}, gid, STATE_FILE)


def remove(path: str) -> bool:
    """Remove a file, link or tree; True where there was one."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)
    return True


@contextlib.contextmanager
def _opened(top: str) -> Iterator[int]:
    """A directory, reached through no link that anybody but root could have made."""
    try:
        parent, name, _trusted = safe_fs.open_parent(top)
    except safe_fs.UnsafePathError as error:
        raise OSError(errno.ELOOP, str(error), top) from error
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _entries(top: int) -> Iterator[Any]:
    """Every entry of an open tree without following a link: name and descriptor of its directory."""
    for _base, directories, files, fd in os.fwalk(".", follow_symlinks=False, dir_fd=top):
        for name in directories + files:
            yield name, fd


def give(top: str, uid: int, gid: int) -> None:
    """Make a tree the property of an account that may write to it."""
    with _opened(top) as directory:
        os.fchown(directory, uid, gid)
        for name, fd in _entries(directory):
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if info.st_uid != uid or info.st_gid != gid:
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)


def seal(top: str, gid: int, readable: bool = False) -> None:
    """Make a tree root's: its group may read it, nobody else (or everybody, for public files)."""
    with _opened(top) as directory:
        os.fchown(directory, 0, gid)
        os.fchmod(directory, 0o755 if readable else 0o750)
        for name, fd in _entries(directory):  # of a directory that is root's by now
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if info.st_uid != 0 or info.st_gid != gid:
                os.chown(name, 0, gid, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                continue
            execute = 0o111 if info.st_mode & 0o100 else 0
            mode = (0o644 if readable else 0o640) | (execute if readable else execute & 0o110)
            if stat.S_IMODE(info.st_mode) != mode:
                os.chmod(name, mode, dir_fd=fd)


def inside(path: str, top: str) -> bool:
    """Whether a path lies below a directory, links resolved."""
    real, base = os.path.realpath(path), os.path.realpath(top)
    return real == base or real.startswith(base + os.sep)


def make_directories(path: str, stop: str, uid: int, gid: int, mode: int = 0o750) -> None:
    """Make a directory below ``stop`` with all that is missing above it, following no link."""
    relative = os.path.relpath(path, stop)
    if relative.startswith(".."):
        raise ValueError("%s is not below %s" % (path, stop))
    current = stop
    for part in relative.split(os.sep):
        current = os.path.join(current, part)
        try:
            info = os.lstat(current)
        except FileNotFoundError:
            os.mkdir(current, mode)
            os.chown(current, uid, gid, follow_symlinks=False)
            continue
        if stat.S_ISLNK(info.st_mode):
            raise ValueError("%s is a symbolic link" % current)


def owner(user: str) -> pwd.struct_passwd:
    """An account by its name."""
    return pwd.getpwnam(user)
