# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes all of a list of changes, or none of them.

New content is staged beside its target, the old inode is kept under a hidden name in the same
directory, and a journal on disk tells the next run how to go back if this one is killed. So a
roll-back is a rename: it needs no space and brings back every byte, mode, owner and time stamp.

A journal is one of two: ``undo-<token>`` until everything is in place and checked, then, by one
rename, ``done-<token>`` until what was kept has been removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import time
import uuid
from collections.abc import Iterator
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import removed, safe_fs
from ansible_collections.webstack.django.plugins.module_utils.config_files import Change, ConfigError, Declared
from ansible_collections.webstack.django.plugins.module_utils.config_files_undo import forget, mount_points, undo

STATE_DIR = "/var/lib/webstack/config_files"
LOCK_SECONDS = 300
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Transaction:
    """Applies changes so that either all of them hold or none does.

    A rehearsal keeps nothing of what was there; it is only for a private view of the file system.
    """

    def __init__(self, state_dir: str | None = None, rehearsal: bool = False) -> None:
        self.state_dir = state_dir or STATE_DIR
        self.rehearsal = rehearsal
        self.token = uuid.uuid4().hex[:12]
        self.steps: list[dict[str, Any]] = []
        self.times: dict[str, list[int]] = {}
        self._lock: int | None = None

    # The journal -------------------------------------------------------------------------------

    def open(self) -> list[str]:
        """Take the lock and undo what a killed run left half done; returns the paths put back."""
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        os.chmod(self.state_dir, 0o700)
        path = os.path.join(self.state_dir, "lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f"another run has been changing files on this host for {LOCK_SECONDS} seconds; wait for it, "
                        f"or see who holds {path} (fuser {path})"
                    ) from None
                time.sleep(0.1)
        healed = []
        for name, journal in pending(self.state_dir):
            if name.startswith("undo-"):
                undo(journal, healing=True)
                healed += [step["path"] for step in journal["steps"]]
            else:
                forget(journal)
            os.unlink(os.path.join(self.state_dir, name))
        for name in os.listdir(self.state_dir):
            if name.startswith((".journal", "saved-")):
                os.unlink(os.path.join(self.state_dir, name))
        return healed

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _journal(self, kind: str) -> str:
        return os.path.join(self.state_dir, f"{kind}-{self.token}")

    def _write_journal(self) -> None:
        temporary = os.path.join(self.state_dir, ".journal")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"steps": self.steps, "times": self.times}, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._journal("undo"))
        _sync(self.state_dir)

    # Applying ----------------------------------------------------------------------------------

    def apply(self, changes: list[Change]) -> None:
        """Make all changes. On any error everything is put back and ``ConfigError`` is raised."""
        if not changes:
            return
        current = ""
        # Directories first, the outer ones before the inner ones: what is in them is staged in them.
        items = sorted(
            (change.item for change in changes),
            key=lambda item: (0, item.path.count("/")) if item.state == "directory" else (1, 0),
        )
        try:
            mounts = mount_points()
            for item in items:
                current = item.path
                self.steps.append(self._step(item, mounts))
            if not self.rehearsal:
                self._write_journal()
            for step, item in zip(self.steps, items):
                current = item.path
                self._stage(step, item)
            if not self.rehearsal:
                self._sync_staged()
                self._write_journal()
            for step, item in zip(self.steps, items):
                current = item.path
                self._switch(step, item)
            if not self.rehearsal:
                for directory in {os.path.dirname(item.path) for item in items}:
                    _sync(directory)
        except safe_fs.UnsafePathError as error:
            self.rollback()
            raise ConfigError(f"{error}. Nothing was changed.") from error
        except OSError as error:
            self.rollback()
            raise ConfigError(explain(current, error)) from error
        except BaseException:
            self.rollback()
            raise

    def _step(self, item: Declared, mounts: set[str]) -> dict[str, Any]:
        if not self.rehearsal and item.state != "absent" and (item.uid is None or item.gid is None):
            raise ConfigError(f"{item.path}: its owner or group does not exist on this host")
        directory, name = os.path.split(item.path)
        hidden = f".{name[:180]}.webstack-"
        old = safe_fs.status(item.path)
        step: dict[str, Any] = {
            "path": item.path,
            "new": f"{hidden}new-{self.token}",
            "old": f"{hidden}old-{self.token}",
            "existed": old is not None,
        }
        if old is not None:
            flags = 0 if stat.S_ISLNK(old.st_mode) else safe_fs.frozen(item.path)
            if flags:
                step["frozen"] = flags
            attributes = [stat.S_IMODE(old.st_mode), old.st_uid, old.st_gid]
            if stat.S_ISDIR(old.st_mode) and item.state == "directory":
                step["attributes"] = attributes
            elif item.path in mounts and item.state == "file":
                # For instance /etc/hosts of a container: it can be written, but not replaced.
                step["mounted"] = attributes
                step["saved"] = os.path.join(self.state_dir, f"saved-{self.token}-{len(self.steps)}")
        if directory not in self.times:
            with contextlib.suppress(OSError):
                info = os.stat(directory)
                self.times[directory] = [info.st_atime_ns, info.st_mtime_ns]
        return step

    def _stage(self, step: dict[str, Any], item: Declared) -> None:
        """Write new content beside its target; make directories, so that things can be staged in them."""
        uid, gid = item.uid or 0, item.gid or 0
        if item.state == "absent":
            return
        if "mounted" in step:
            self._save(step, item)
            return
        with safe_fs.parent_of(item.path) as (fd, name):
            if item.state == "directory":
                if step.get("frozen"):
                    safe_fs.thaw(item.path)
                if "attributes" in step:
                    safe_fs.set_attributes(name, fd, uid, gid, item.mode)
                    return
                if step["existed"]:
                    self._put_aside(step, name, fd)
                os.mkdir(name, 0o700, dir_fd=fd)  # nobody else enters it before it has its owner
                step["inode"] = os.lstat(name, dir_fd=fd).st_ino
                safe_fs.set_attributes(name, fd, uid, gid, item.mode)
            elif item.state == "link":
                os.symlink(item.target, step["new"], dir_fd=fd)
                os.chown(step["new"], uid, gid, dir_fd=fd, follow_symlinks=False)
                step["inode"] = os.lstat(step["new"], dir_fd=fd).st_ino
            else:
                self._write(step, item, os.open(step["new"], _NEW, 0o600, dir_fd=fd))

    def _write(self, step: dict[str, Any], item: Declared, file: int) -> None:
        with os.fdopen(file, "wb") as stream:
            stream.write(item.content or b"")
            stream.flush()
            os.fchown(stream.fileno(), item.uid or 0, item.gid or 0)
            os.fchmod(stream.fileno(), item.mode)
            safe_fs.drop_acl(stream.fileno())
            if step["existed"]:
                self._like_before(item, stream.fileno())
            step["inode"] = os.fstat(stream.fileno()).st_ino

    def _like_before(self, item: Declared, file: int) -> None:
        """Keep the SELinux context and, where the content is the same, the time stamps: nothing is to be reloaded."""
        with contextlib.suppress(OSError), safe_fs.opened(item.path) as old:
            with contextlib.suppress(OSError):
                os.setxattr(file, "security.selinux", os.getxattr(old, "security.selinux"))
            info = os.fstat(old)
            same_size = stat.S_ISREG(info.st_mode) and info.st_size == len(item.content or b"")
            if same_size and safe_fs.read(item.path) == item.content:
                os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _save(self, step: dict[str, Any], item: Declared) -> None:
        """Keep the bytes of a file that cannot be renamed, and make sure that both versions have room."""
        content = safe_fs.read(item.path)
        part = os.path.join(self.state_dir, ".journal")  # what is saved is complete or not there
        with os.fdopen(os.open(part, _NEW, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(part, step["saved"])
        with contextlib.suppress(FileNotFoundError), open(item.path, "r+b") as stream:
            needed = len(item.content or b"") - len(content)
            if needed > 0:
                os.posix_fallocate(stream.fileno(), len(content), needed)
                os.ftruncate(stream.fileno(), len(content))

    def _sync_staged(self) -> None:
        """All content is on disk before any of it goes live. Written first and synced together, that is one flush."""
        for step in self.steps:
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                safe_fs.parent_of(step["path"]) as (
                    parent,
                    _name,
                ),
            ):
                if stat.S_ISREG(os.lstat(step["new"], dir_fd=parent).st_mode):
                    file = os.open(step["new"], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                    try:
                        os.fsync(file)
                    finally:
                        os.close(file)

    def _put_aside(self, step: dict[str, Any], name: str, fd: int) -> None:
        if self.rehearsal:
            safe_fs.remove(name, fd)
        else:
            os.rename(name, step["old"], src_dir_fd=fd, dst_dir_fd=fd)

    def _switch(self, step: dict[str, Any], item: Declared) -> None:
        """Put the staged thing in place; the old one stays under its hidden name."""
        if item.state == "directory":
            return
        if step.get("frozen"):
            safe_fs.thaw(item.path)
        with safe_fs.parent_of(item.path) as (fd, name):
            if "mounted" in step:
                file = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                self._write(dict(step, existed=False), item, file)
                return
            if step["existed"]:
                old = os.lstat(name, dir_fd=fd)
                if item.foreign and not self.rehearsal:
                    removed.keep(item.path, os.path.join(os.path.dirname(self.state_dir), "removed"))
                if stat.S_ISDIR(old.st_mode) or item.state == "absent":
                    self._put_aside(step, name, fd)
                elif not self.rehearsal:
                    os.link(name, step["old"], src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            if item.state != "absent":
                os.rename(step["new"], name, src_dir_fd=fd, dst_dir_fd=fd)

    def rollback(self) -> None:
        """Put everything back as it was."""
        with _undisturbed():
            undo({"steps": self.steps, "times": self.times})
            for path in (self._journal("undo"), os.path.join(self.state_dir, ".journal")):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def commit(self) -> None:
        """Keep the new state and drop what was kept for a roll-back."""
        if not self.steps:
            return
        with _undisturbed():
            os.rename(self._journal("undo"), self._journal("done"))
            forget({"steps": self.steps, "times": {}})
            os.unlink(self._journal("done"))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait until this is done."""
    signals = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pending(state_dir: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The journals that killed runs left, with their names."""
    state_dir = state_dir or STATE_DIR
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(state_dir)):
            if name.startswith(("undo-", "done-")):
                with open(os.path.join(state_dir, name), encoding="utf-8") as file:
                    found.append((name, json.load(file)))
    return found


def _sync(directory: str) -> None:
    with contextlib.suppress(OSError), safe_fs.opened(directory) as fd:
        os.fsync(fd)


def explain(path: str, error: OSError) -> str:
    """An error of the operating system in words for the user."""
    advice = {
        errno.ENOSPC: "free some space on its file system and run again",
        errno.EDQUOT: "raise the disk quota and run again",
        errno.EROFS: "its file system is mounted read-only; remount it read-write and run again",
        errno.ENOENT: "its directory does not exist; declare the directory as well, or install what brings it",
        errno.ENOTDIR: "something above it is a file; remove that, or correct the path",
        errno.EPERM: "it or its directory may be immutable (see `lsattr`); allow the change and run again",
    }.get(error.errno or 0, "correct this and run again")
    return f"{path or error.filename}: {error.strerror}; {advice}. Nothing was changed."
