# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether releases and virtual environments are what was built: nobody but root can write to them, and root has no reason to.

A manifest beside each tree knows every file of it. It is compared by what ``lstat`` says; only where that differs the content
is read, so to look at an untouched tree costs milliseconds. A damaged release is not repaired in place, where it serves:
the same code is deployed anew as a release of another id (``<id>-r2``), with all that a deployment has (trial, switch, way back).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import files, static
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

MANIFEST = ".manifest.json"
DAMAGED = ".damaged"  # in an environment: it is not to be used again
_FEW = 10  # files of a release that a report names
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
Known = dict[str, list[Any]]


def _entries(top: str, skip: frozenset[str], below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Every path of a tree, as names below its top, with its status."""
    with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(top, below)) as found:
        for one in found:
            name = os.path.join(below, one.name)
            if name in skip:
                continue
            with contextlib.suppress(FileNotFoundError):
                yield name, one.stat(follow_symlinks=False)
                if one.is_dir(follow_symlinks=False):
                    yield from _entries(top, skip, name)


def _all(top: str, skip: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    yield "", os.lstat(top)
    yield from _entries(top, skip)


def _status(info: os.stat_result) -> list[Any]:
    """What changes whenever a file does; of a directory only whose it is."""
    attributes = [stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid]
    if stat.S_ISDIR(info.st_mode):
        return attributes
    return [*attributes, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]


def _digest(path: str, info: os.stat_result) -> str:
    """What identifies the content."""
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(info.st_mode):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def scan(top: str, skip: Iterable[str] = ()) -> Known:
    """A manifest of a tree."""
    whole = frozenset([MANIFEST, DAMAGED, *skip])
    # The top as well, which has no name of its own.
    return {name: [_status(info), _digest(os.path.join(top, name), info)] for name, info in _all(top, whole)}


def compare(top: str, known: Known, skip: Iterable[str] = ()) -> list[tuple[str, str, str, float | None]]:
    """What differs in a tree: name, what is expected, what is found, since when. Files are read only where lstat differs."""
    whole = frozenset([MANIFEST, DAMAGED, *skip])
    found: list[tuple[str, str, str, float | None]] = []
    seen = set()
    for name, info in _all(top, whole):
        seen.add(name)
        before = known.get(name)
        if before is None:
            found.append((name, "absent", "added", info.st_ctime))
        elif _status(info) != before[0]:
            words = _words(os.path.join(top, name), info, before)
            if words:
                found.append((name, *words, info.st_ctime))
    for name in sorted(set(known) - seen):
        if not any(name == one or name.startswith(one + os.sep) for one in whole):
            found.append((name, "there", "missing", drift.changed(os.path.join(top, name))))
    return sorted(found)


def _words(path: str, info: os.stat_result, before: list[Any]) -> tuple[str, str] | None:
    """How a file differs; None where only times and inode do."""
    expected, has = before[0], _status(info)
    if expected[0] != has[0]:
        return _KINDS.get(expected[0], "file"), _KINDS.get(has[0], "special file")
    if _digest(path, info) != before[1]:
        return "the content that was built", "other content"
    pairs = [("mode", "%04o" % expected[1], "%04o" % has[1])]
    pairs += [(label, str(expected[i]), str(has[i])) for label, i in (("owner", 2), ("group", 3))]
    differ = [(label, one, other) for label, one, other in pairs if one != other and not stat.S_ISLNK(info.st_mode)]
    if not differ:
        return None
    return ", ".join("%s %s" % one[:2] for one in differ), ", ".join("%s %s" % one[::2] for one in differ)


# Manifests of releases and environments ------------------------------------------------------------


def _read(directory: str) -> Known | None:
    text = files.read_text(os.path.join(directory, MANIFEST))
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _write(directory: str, known: Known) -> None:
    files.write(os.path.join(directory, MANIFEST), json.dumps(known), mode=0o600)


def forget(directory: str) -> None:
    """The tree is about to be changed."""
    files.remove(os.path.join(directory, MANIFEST))


def _open(site: Site) -> list[str]:
    """What is not the same for good in a release: what the configuration lays there, and what the site may write to."""
    ours = [files.RELEASE_FILE, files.STATE_FILE, "env", "manage", "project", "run", "overlay", "serve", "venv"]
    paths = [*site["directories"], *site["shared"], *(item["path"] for item in site["files"])]
    return ours + [os.path.normpath(os.path.join("code", path)) for path in paths if not path.startswith("/")]


def note_release(site: Site) -> None:
    """Write down what was built and prepared."""
    _write(site.release, scan(site.release, _open(site)))


def note_environment(site: Site) -> None:
    """Write down what was installed."""
    _write(site.environment, scan(site.environment))


def _look(directory: str, skip: Iterable[str], check_mode: bool) -> list[tuple[str, str, str, float | None]]:
    known = _read(directory)
    if known is None:
        if not check_mode and os.path.isdir(directory):  # of an earlier version of this collection
            _write(directory, scan(directory, skip))
        return []
    return compare(directory, known, skip)


# Another id ---------------------------------------------------------------------------------------


def _number(site: Site, base: str, name: str) -> int:
    """Which one of the releases with the same code it is; 0 where it is another one."""
    found = re.fullmatch(re.escape(base) + r"(?:-r(\d+))?", name)
    return int(found.group(1) or 1) if found else 0


def effective(site: Site, base: str) -> str:
    """The release of this code that is to serve: the newest one that is not damaged, or the next one."""
    try:
        names = {_number(site, base, name): name for name in os.listdir(site.releases)}
    except FileNotFoundError:
        return base
    names.pop(0, None)
    for number in sorted(names, reverse=True):
        directory = os.path.join(site.releases, names[number])
        if files.load(directory).get("id") == names[number] and not damaged(directory):
            return names[number]
    last = max((number for number, name in names.items() if damaged(os.path.join(site.releases, name))), default=0)
    return "%s-r%d" % (base, last + 1) if last else base


def damaged(directory: str) -> bool:
    """Whether a release is noted as one that was changed after it was built."""
    return bool(files.state(directory).get("damaged"))


# What a run does ----------------------------------------------------------------------------------


def look(site: Site, check_mode: bool) -> list[drift.Action]:
    """Look at all kept releases and their environments; note the damaged ones.

    Where the wanted one is among them, the site has another release id afterwards, and that release is to be built.
    """
    actions: list[drift.Action] = []
    environments: dict[str, list[tuple[str, str, str, float | None]]] = {}
    for name in static.kept(site):
        release = os.path.join(site.releases, name)
        if damaged(release):
            continue
        environment = os.path.realpath(os.path.join(release, "venv"))
        if environment not in environments:
            environments[environment] = _look(environment, (), check_mode)
        found = [
            (os.path.join(release, one[0]).rstrip("/"), *one[1:]) for one in _look(release, _open(site), check_mode)
        ]
        found += [(os.path.join(environment, one[0]).rstrip("/"), *one[1:]) for one in environments[environment]]
        if not found:
            continue
        entries = [drift.entry(*one, site=site.name) for one in found[:_FEW]]
        if len(found) > _FEW:
            more = "%d more files" % (len(found) - _FEW)
            entries.append(drift.entry("%s: %s" % (release, more), "what was built", "changed", site=site.name))
        names = ", ".join(os.path.relpath(one[0], site.root) for one in found[:3])
        words = "build release %s anew, since it was changed: %s" if name == site.release_id else "drop release %s: %s"
        actions.append(drift.Action("%s: %s" % (site.name, words % (name, names)), *entries))
        if not check_mode:
            gid = os.stat(release).st_gid
            files.update_state(release, gid, damaged=names)
            if environments[environment]:
                files.write(os.path.join(environment, DAMAGED), "", mode=0o600)
    return actions
