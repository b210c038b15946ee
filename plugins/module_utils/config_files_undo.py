# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Going back to the state before a transaction, from its journal."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import safe_fs
from ansible_collections.webstack.django.plugins.module_utils.config_files import ConfigError


def mount_points() -> set[str]:
    """Where something is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return {line.split()[4].replace("\\040", " ") for line in file}


def undo(journal: dict[str, Any], healing: bool = False) -> None:
    """Bring back the state before the journal's steps; can be repeated after it was cut short.

    Healing means that the run was killed some time ago: what somebody else has put in place since is kept.
    Raises ``ConfigError`` when something could not be put back; everything else has been by then.
    """
    problems = []
    for step in reversed(journal["steps"]):
        try:
            _undo_step(step, healing)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, safe_fs.UnsafePathError) as error:
            problems.append(f"{step['path']}: {getattr(error, 'strerror', None) or error}")
    for directory, times in journal["times"].items():
        with contextlib.suppress(OSError), safe_fs.opened(directory) as fd:
            os.utime(fd, ns=(times[0], times[1]))
            os.fsync(fd)
    if problems:
        raise ConfigError(
            f"not everything could be put back as it was: {'; '.join(problems)}. The old version, where there was one, "
            "lies beside the file in a hidden file with `webstack-old` in its name; the next run tries again"
        )


def _undo_step(step: dict[str, Any], healing: bool) -> None:
    with safe_fs.parent_of(step["path"]) as (fd, name):
        if "mounted" in step:
            _write_back(step, name, fd)
        elif "attributes" in step:
            mode, uid, gid = step["attributes"]
            now = os.lstat(name, dir_fd=fd)
            if [stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid] != [mode, uid, gid]:
                safe_fs.set_attributes(name, fd, uid, gid, mode)
        else:
            safe_fs.remove(step["new"], fd)
            _restore(step, name, fd, healing)
        if step.get("frozen") and safe_fs.frozen(step["path"]) != step["frozen"]:
            safe_fs.freeze(step["path"], step["frozen"])


def _restore(step: dict[str, Any], name: str, fd: int, healing: bool) -> None:
    here, kept = _status(name, fd), _status(step["old"], fd)
    if kept is None:
        if here is not None and not step["existed"]:
            _remove_made(step, name, fd, here, healing)
        return
    # Without a number the run was killed before anything but a directory could have taken the place.
    ours = here is not None and here.st_ino == step.get("inode", here.st_ino)
    if here is not None and (here.st_ino, here.st_dev) == (kept.st_ino, kept.st_dev):
        os.unlink(step["old"], dir_fd=fd)  # killed between link and rename
    elif here is None or ours or not healing:
        if here is not None and (stat.S_ISDIR(here.st_mode) or stat.S_ISDIR(kept.st_mode)):
            safe_fs.remove(name, fd)
        os.rename(step["old"], name, src_dir_fd=fd, dst_dir_fd=fd)
    else:
        safe_fs.remove(step["old"], fd)


def _remove_made(step: dict[str, Any], name: str, fd: int, info: os.stat_result, healing: bool) -> None:
    """Remove what the transaction made; what others have made, or a directory that they use by now, stays."""
    ours = info.st_ino == step.get("inode")
    if stat.S_ISDIR(info.st_mode) and healing and (ours or "inode" not in step):
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=fd)
    elif ours:
        safe_fs.remove(name, fd)


def _write_back(step: dict[str, Any], name: str, fd: int) -> None:
    try:
        with open(step["saved"], "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return
    mode, uid, gid = step["mounted"]
    if safe_fs.read(step["path"]) != content:
        file_fd = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        with os.fdopen(file_fd, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    safe_fs.set_attributes(name, fd, uid, gid, mode)
    os.unlink(step["saved"])


def forget(journal: dict[str, Any]) -> None:
    """Remove what was kept of the old state."""
    for step in journal["steps"]:
        with contextlib.suppress(OSError, safe_fs.UnsafePathError), safe_fs.parent_of(step["path"]) as (fd, _name):
            safe_fs.remove(step["old"], fd)
        if step.get("saved"):
            with contextlib.suppress(OSError):
                os.unlink(step["saved"])


def _status(name: str, fd: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=fd)
    except FileNotFoundError:
        return None
