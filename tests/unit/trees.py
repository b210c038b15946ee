# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Little file trees for the tests of config_files: build them, photograph them, break the system calls."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import config_files

UID, GID = os.geteuid(), os.getegid()
# What a transaction asks of the kernel when it changes something.
CALLS = ("open", "mkdir", "symlink", "link", "rename", "unlink", "rmdir", "fchmod", "fchown", "fsync")


def declared(path: Path, state: str = "file", content: bytes = b"new\n", mode: int = 0o644, **more: Any) -> Any:
    """One item, owned by whoever runs the test."""
    if state == "directory":
        mode = more.pop("directory_mode", 0o755)
    values = {"uid": UID, "gid": GID, **more}
    if state != "file":
        content = None  # type: ignore[assignment]
    return config_files.Declared(str(path), state, content, mode=mode, **values)


def photograph(root: Path, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Every byte, mode, owner, link target and (unless told otherwise) time stamp below a directory."""
    seen: dict[str, tuple[Any, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        content: Any = None
        if stat.S_ISREG(kind):
            content = path.read_bytes()
        elif stat.S_ISLNK(kind):
            content = str(path.readlink())
        mode = 0 if stat.S_ISLNK(kind) else stat.S_IMODE(info.st_mode)
        moment = info.st_mtime_ns if times else 0
        seen[str(path.relative_to(root))] = (kind, mode, info.st_uid, info.st_gid, content, moment)
    return seen


def build(root: Path, things: dict[str, tuple[str, Any]]) -> None:
    """Make a tree: a file has (content, mode), a directory its mode, a link its target. Time stamps are old."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    for name, (kind, value) in sorted(things.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_bytes(value[0])
            path.chmod(value[1])
        elif kind == "directory":
            path.mkdir(exist_ok=True)
            path.chmod(value)
        else:
            path.symlink_to(value)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (1_000_000_000, 1_000_000_000), follow_symlinks=False)
    os.utime(root, (1_000_000_000, 1_000_000_000))


class Counter:
    """How often the calls were made."""

    def __init__(self) -> None:
        self.made = 0


@contextmanager
def on_call(number: int, action: Callable[[], None], after: bool = False) -> Iterator[Counter]:
    """Run ``action`` once, at the given one of the system calls that change something."""
    counter = Counter()
    originals = {name: getattr(os, name) for name in CALLS}

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            # Opening something to read it changes nothing.
            if original is originals["open"] and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return original(*arguments, **named)
            counter.made += 1
            mine = counter.made == number
            if mine and not after:
                action()
            result = original(*arguments, **named)
            if mine and after:
                action()
            return result

        return call

    for name, original in originals.items():
        setattr(os, name, wrap(original))
    try:
        yield counter
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def disk_full() -> None:
    """What the kernel says when there is no space left."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def cpu() -> float:
    """Processor seconds of ended child processes; other load on this machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def best_ratio(measure: Callable[[int], float], bound: float) -> float:
    """How much longer ``measure`` takes for 200 than for 1, in the best of five rounds; ends when below the bound.

    Both are measured in turn, so that a busy machine slows both. What really takes longer does so in each round.
    """
    best = float("inf")
    for _round in range(5):
        one = measure(1)
        best = min(best, measure(200) / one)
        if best < bound:
            break
    return best


def nothing_left(tmp_path: Path) -> bool:
    """No staged or kept file, no journal."""
    state = [path.name for path in (tmp_path / "state").iterdir()]
    return state == ["lock"] and not list((tmp_path / "root").rglob(".*webstack-*"))
