# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The transaction behind ``webstack.django.config_files``.

``plan`` compares what is declared with what is there and says what would change; ``Transaction``
does just that, or nothing. New content is staged beside its target, the old inode is kept under a
hidden name in the same directory, and a journal on disk tells the next run how to go back if this
one is killed. So a roll-back is a rename: it needs no space and brings back every byte, mode, owner
and time stamp.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import json
import os
import shutil
import stat
import uuid
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import safe_fs

STATE_DIR = "/var/lib/webstack/config_files"
_MARKER_LINES = 20


class ConfigError(Exception):
    """What went wrong, in words for the user."""


class Declared:
    """One declared file, directory, link or absence, with names resolved to numbers."""

    def __init__(
        self,
        path: str,
        state: str = "file",
        content: bytes | None = None,
        uid: int | None = 0,
        gid: int | None = 0,
        mode: int = 0o644,
        target: str = "",
        diff: bool = True,
    ) -> None:
        self.path = os.path.normpath(path)
        self.state = state
        self.content = content
        self.uid = uid  # None: the account does not exist yet (check mode on a bare host)
        self.gid = gid
        self.mode = mode
        self.target = target
        self.diff = diff


class Change:
    """One thing to do: what is declared, why, and the old content for the diff."""

    def __init__(self, item: Declared, reason: str, before: bytes | None = None) -> None:
        self.item = item
        self.reason = reason
        self.before = before

    def as_diff(self) -> dict[str, str]:
        """The change as Ansible shows it; secrets are reduced to the fact that something changes."""
        item = self.item
        header = f"{item.path} ({self.reason})"
        shown = item.state == "file" and item.content is not None
        if not shown:
            return {
                "before_header": item.path,
                "after_header": header,
                "before": "",
                "after": self.reason + "\n",
            }
        if not item.diff:
            after = "content is not shown\n"
            return {"before_header": item.path, "after_header": header, "before": "", "after": after}
        try:
            before = (self.before or b"").decode("utf-8")
            after = (item.content or b"").decode("utf-8")
        except UnicodeDecodeError:
            before, after = "", "binary content\n"
        if before == after:
            before, after = "", self.reason + "\n"
        return {"before_header": item.path, "after_header": header, "before": before, "after": after}


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link")):
        if test(mode):
            return name
    return "special file"


def compare(item: Declared) -> Change | None:
    """What has to change so that ``item`` holds; None where it holds already."""
    info = safe_fs.status(item.path)
    if item.state == "absent":
        return Change(item, "removed") if info is not None else None
    if info is None:
        return Change(item, "created")
    kind = _kind(info.st_mode)
    if kind != item.state:
        return Change(item, f"{kind} becomes {item.state}")
    if item.state == "link":
        found = safe_fs.read_link(item.path)
        return None if found == item.target else Change(item, f"link to {item.target}, was {found}")
    before = None
    reasons = []
    if item.state == "file":
        before = safe_fs.read(item.path)
        if before != item.content:
            reasons.append("content")
    if stat.S_IMODE(info.st_mode) != item.mode:
        reasons.append(f"mode {item.mode:04o}, was {stat.S_IMODE(info.st_mode):04o}")
    if info.st_uid != item.uid:
        reasons.append("owner")
    if info.st_gid != item.gid:
        reasons.append("group")
    if item.state == "file" and info.st_nlink > 1:
        reasons.append("hard link from elsewhere")
    if safe_fs.has_acl(item.path):
        reasons.append("access control list")
    if safe_fs.frozen(item.path):
        reasons.append("immutable attribute")
    return Change(item, ", ".join(reasons), before) if reasons else None


def _has_marker(path: str, marker: str) -> bool:
    try:
        return marker.encode() in b"\n".join(safe_fs.read(path).splitlines()[:_MARKER_LINES])
    except OSError:
        return False


def undeclared(rule: dict[str, Any], declared: list[Declared]) -> list[Declared]:
    """Files and links in an owned directory that nobody declared."""
    directory = os.path.normpath(rule["path"])
    info = safe_fs.status(directory)
    if info is None or not stat.S_ISDIR(info.st_mode):
        return []
    known = {item.path for item in declared if item.state != "absent"}
    known.update(item.path for item in declared)
    found = []
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if path in known or name in (rule.get("keep") or []):
            continue
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in rule.get("patterns") or ["*"]):
            continue
        entry = safe_fs.status(path)
        if entry is None or stat.S_ISDIR(entry.st_mode):
            continue
        if rule.get("marker") and not _has_marker(path, rule["marker"]):
            continue
        found.append(Declared(path, "absent"))
    return found


def plan(declared: list[Declared], prune: list[dict[str, Any]]) -> list[Change]:
    """All changes, in the order in which they are made. Reads only."""
    seen: dict[str, Declared] = {}
    for item in declared:
        if item.path in seen:
            raise ConfigError(f"{item.path} is declared twice; give every path once")
        seen[item.path] = item
    extra = [gone for rule in prune for gone in undeclared(rule, declared)]
    changes = []
    for item in declared + extra:
        try:
            change = compare(item)
        except safe_fs.UnsafePathError as error:
            raise ConfigError(str(error)) from error
        if change is not None:
            changes.append(change)
    return changes


class Transaction:
    """Applies changes so that either all of them hold or none does."""

    def __init__(self, state_dir: str = STATE_DIR, journal: bool = True) -> None:
        self.state_dir = state_dir
        self.journal = journal
        self.token = uuid.uuid4().hex[:12]
        self.steps: list[dict[str, Any]] = []
        self._lock: int | None = None

    # The journal -------------------------------------------------------------------------------

    def open(self) -> list[str]:
        """Take the lock and undo what a killed run left half done; returns the paths put back."""
        if not self.journal:
            return []
        os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
        self._lock = os.open(os.path.join(self.state_dir, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        healed = []
        for name in sorted(os.listdir(self.state_dir)):
            if name.startswith("journal-"):
                healed += self._undo_journal(os.path.join(self.state_dir, name))
        return healed

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _journal_path(self) -> str:
        return os.path.join(self.state_dir, "journal-" + self.token)

    def _write_journal(self) -> None:
        if not self.journal:
            return
        temporary = os.path.join(self.state_dir, ".journal")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.steps, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._journal_path())

    def _undo_journal(self, path: str) -> list[str]:
        with open(path, encoding="utf-8") as file:
            steps = json.load(file)
        undo(steps)
        os.unlink(path)
        return [step["path"] for step in steps]

    # Applying ----------------------------------------------------------------------------------

    def apply(self, changes: list[Change]) -> None:
        """Make all changes. On any error everything is put back and ``ConfigError`` is raised."""
        current = ""
        try:
            self._prepare(changes)
            self._write_journal()
            for step, change in zip(self.steps, changes):
                current = change.item.path
                if not step.get("staged"):
                    self._stage(step, change.item)
            for step, change in zip(self.steps, changes):
                current = change.item.path
                self._switch(step, change.item)
        except safe_fs.UnsafePathError as error:
            self.rollback()
            raise ConfigError(f"{error}. Nothing was changed.") from error
        except OSError as error:
            self.rollback()
            raise ConfigError(_explain(current, error)) from error
        except BaseException:
            self.rollback()
            raise

    def _prepare(self, changes: list[Change]) -> None:
        for change in changes:
            item = change.item
            if item.state != "absent" and (item.uid is None or item.gid is None):
                raise ConfigError(f"{item.path}: its owner or group does not exist on this host")
            name = os.path.basename(item.path)
            hidden = f".{name[:200]}.webstack-"
            old = safe_fs.status(item.path)
            step: dict[str, Any] = {
                "path": item.path,
                "new": hidden + "new-" + self.token,
                "old": hidden + "old-" + self.token,
                "existed": old is not None,
            }
            if old is not None and stat.S_ISDIR(old.st_mode) and item.state == "directory":
                step["attributes"] = [old.st_mode & 0o7777, old.st_uid, old.st_gid]
            self.steps.append(step)

    def _stage(self, step: dict[str, Any], item: Declared) -> None:
        """Write new content beside its target. A missing parent may be a directory declared before."""
        if item.state == "directory" and not step["existed"]:
            # Directories come first, so that the files in them can be staged.
            with safe_fs.parent_of(item.path) as (fd, name):
                os.mkdir(name, 0o700, dir_fd=fd)
                step["made"] = True
                self._attributes(name, fd, item)
        if item.state not in ("file", "link"):
            return
        with safe_fs.parent_of(item.path) as (fd, name):
            if item.state == "link":
                os.symlink(item.target, step["new"], dir_fd=fd)
                os.chown(step["new"], item.uid or 0, item.gid or 0, dir_fd=fd, follow_symlinks=False)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(step["new"], flags, 0o600, dir_fd=fd)
            with os.fdopen(file, "wb") as stream:
                stream.write(item.content or b"")
                stream.flush()
                os.fchown(stream.fileno(), item.uid, item.gid)  # type: ignore[arg-type]
                os.fchmod(stream.fileno(), item.mode)
                _copy_label(item.path, stream.fileno())
                os.fsync(stream.fileno())

    def _attributes(self, name: str, parent: int, item: Declared) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=parent)
        try:
            os.fchown(fd, item.uid, item.gid)  # type: ignore[arg-type]
            os.fchmod(fd, item.mode)
            if safe_fs.has_acl(item.path):
                os.removexattr(fd, "system.posix_acl_access")
        finally:
            os.close(fd)

    def _switch(self, step: dict[str, Any], item: Declared) -> None:
        """Put the staged thing in place; the old one stays under its hidden name."""
        if step["existed"] and safe_fs.frozen(item.path):
            safe_fs.thaw(item.path)
        with safe_fs.parent_of(item.path) as (fd, name):
            if "attributes" in step:
                self._attributes(name, fd, item)
                return
            if item.state == "directory" and step.get("made"):
                return
            if step["existed"]:
                old = os.lstat(name, dir_fd=fd)
                if stat.S_ISDIR(old.st_mode) or item.state in ("absent", "directory"):
                    os.rename(name, step["old"], src_dir_fd=fd, dst_dir_fd=fd)
                else:
                    os.link(name, step["old"], src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
            if item.state in ("file", "link"):
                os.rename(step["new"], name, src_dir_fd=fd, dst_dir_fd=fd)
            elif item.state == "directory":
                os.mkdir(name, 0o700, dir_fd=fd)
                self._attributes(name, fd, item)
            os.fsync(fd)

    def rollback(self) -> None:
        """Put everything back as it was."""
        undo(self.steps)
        self._forget()

    def commit(self) -> None:
        """Keep the new state and drop what was kept for a roll-back."""
        self._forget()
        for step in self.steps:
            try:
                with safe_fs.parent_of(step["path"]) as (fd, _name):
                    _remove(step["old"], fd, os.path.dirname(step["path"]))
            except (FileNotFoundError, NotADirectoryError):
                pass

    def _forget(self) -> None:
        if self.journal:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._journal_path())


def undo(steps: list[dict[str, Any]]) -> None:
    """Bring back the state before ``steps``; works from the journal of a run that was killed."""
    for step in reversed(steps):
        try:
            with safe_fs.parent_of(step["path"]) as (fd, name):
                if "attributes" in step:
                    mode, uid, gid = step["attributes"]
                    os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
                    os.chmod(name, mode, dir_fd=fd)
                    continue
                _remove(step["new"], fd, os.path.dirname(step["path"]))
                if step["existed"]:
                    if _there(step["old"], fd):
                        if _there(name, fd) and stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                            _remove(name, fd, os.path.dirname(step["path"]))
                        if _there(name, fd) and os.path.samestat(
                            os.lstat(name, dir_fd=fd), os.lstat(step["old"], dir_fd=fd)
                        ):
                            os.unlink(step["old"], dir_fd=fd)  # killed between link and rename
                        else:
                            os.rename(step["old"], name, src_dir_fd=fd, dst_dir_fd=fd)
                elif _there(name, fd):
                    _remove(name, fd, os.path.dirname(step["path"]))
                os.fsync(fd)
        except (FileNotFoundError, NotADirectoryError):
            continue


def _there(name: str, fd: int) -> bool:
    try:
        os.lstat(name, dir_fd=fd)
    except FileNotFoundError:
        return False
    return True


def _remove(name: str, fd: int, directory: str) -> None:
    try:
        info = os.lstat(name, dir_fd=fd)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(info.st_mode):
        shutil.rmtree(os.path.join(directory, name))
    else:
        os.unlink(name, dir_fd=fd)


def _copy_label(path: str, fd: int) -> None:
    """Give a new file the SELinux context of the one it replaces."""
    with contextlib.suppress(OSError):
        os.setxattr(fd, "security.selinux", os.getxattr(path, "security.selinux", follow_symlinks=False))


def _explain(path: str, error: OSError) -> str:
    advice = {
        errno.ENOSPC: "free some space on its file system and run again",
        errno.EDQUOT: "raise the disk quota and run again",
        errno.EROFS: "its file system is mounted read-only; remount it read-write and run again",
        errno.ENOENT: "its directory does not exist; declare the directory before it",
    }.get(error.errno or 0, "correct this and run again")
    return f"{path or error.filename}: {error.strerror}; {advice}. Nothing was changed."
