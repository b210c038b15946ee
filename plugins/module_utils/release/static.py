# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The public directory: static files of all kept releases, as hard links, so that old pages keep their assets."""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_NAMED = 5  # files that a report names
_PRIVATE = frozenset({"staticfiles.json"})  # the manifest: of use to the application only


def kept(site: Site) -> list[str]:
    """Names of the built releases, the newest activated first, the one that serves before all."""
    serving = files.target_name(site.current)
    found = []
    for name in sorted(os.listdir(site.releases)) if os.path.isdir(site.releases) else []:
        directory = os.path.join(site.releases, name)
        known = files.load(directory)
        if known.get("id") == name:
            when = files.state(directory).get("activated_at") or known.get("built") or 0
            found.append((name == serving, when, name))
    return [name for _serving, _when, name in sorted(found, reverse=True)]


def _tree(top: str) -> dict[str, tuple[int, int]]:
    """Device and inode of every file of a tree that is sealed, and so for everybody: no link leads to another one."""
    found = {}
    for base, directories, names in os.walk(top):
        directories.sort()
        for name in names:
            path = os.path.join(base, name)
            info = os.lstat(path)
            if _sealed(info):
                found[os.path.relpath(path, top)] = (info.st_dev, info.st_ino)
    return found


def _strangers(top: str) -> set[str]:
    """What is in the public directory and none of the files that we put there: links, and files of others."""
    return {
        os.path.relpath(path, top)
        for base, directories, names in os.walk(top)
        for name in [*names, *(one for one in directories if os.path.islink(os.path.join(base, one)))]
        for path in [os.path.join(base, name)]
        if not _sealed(os.lstat(path)) and not name.startswith(".webstack-")
    }


def _sealed(info: os.stat_result) -> bool:
    """Whether root has made a file public. The site may write above it (STATIC_ROOT in `shared`), and lay other files there."""
    return stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and bool(info.st_mode & stat.S_IROTH)


def _wanted(site: Site, releases: list[str]) -> dict[str, str]:
    """Path in the public directory, and the file of a release that it is; earlier releases in the list win."""
    result: dict[str, str] = {}
    for name in releases:
        directory = os.path.join(site.releases, name)
        root = files.state(directory).get("static_root") or ""
        if not root or not os.path.isdir(root):
            continue
        for path in _tree(root):
            if path not in _PRIVATE:
                result.setdefault(path, os.path.join(root, path))
    return result


def publish(site: Site, releases: list[str], check_mode: bool, prune: bool = False) -> list[str]:
    """Make the public directory the union of releases; only ``prune`` takes files away."""
    top = os.path.join(site.path("public"), site["static"]["url"].strip("/"))
    wanted = _wanted(site, releases)
    there = _tree(top) if os.path.isdir(top) else {}
    made: dict[str, str] = {}
    for path, source in wanted.items():
        info = os.stat(source)
        if there.get(path) == (info.st_dev, info.st_ino) or (
            path in there and _copied(source, os.path.join(top, path))
        ):
            continue
        made[os.path.join(top, path)] = "another file" if os.path.lexists(os.path.join(top, path)) else "missing"
        if not check_mode:
            _replace(source, os.path.join(top, path))
    gone = sorted((set(there) | _strangers(top)) - set(wanted)) if prune else []
    if not check_mode:
        for path in gone:
            os.unlink(os.path.join(top, path))
        if gone:
            _remove_empty(top)
    actions: list[str] = []
    if made:
        words = "%s: publish %d static files" % (site.name, len(made))
        actions.append(drift.Action(words, *_differs(site, made, "the file of a release")))
    if gone:
        words = "%s: remove %d static files that no kept release has" % (site.name, len(gone))
        strangers = {os.path.join(top, path): "a file that no kept release has" for path in gone}
        actions.append(drift.Action(words, *_differs(site, strangers, "absent")))
    return actions


def _differs(site: Site, found: dict[str, str], expected: str) -> list[dict[str, Any]]:
    """The first of these files, and how many more there are."""
    paths = sorted(found)
    entries = [drift.entry(one, expected, found[one], drift.changed(one), site.name) for one in paths[:_NAMED]]
    if len(paths) > _NAMED:
        top = os.path.commonpath(paths)
        entries.append(drift.entry(top, expected, "%d more files like these" % (len(paths) - _NAMED), None, site.name))
    return entries


def _copied(source: str, target: str) -> bool:
    """Whether a file that could not be linked (another file system) is a copy."""
    one, other = os.stat(source), os.stat(target)
    if one.st_dev == other.st_dev:
        return False
    return (one.st_size, int(one.st_mtime)) == (other.st_size, int(other.st_mtime))


def _replace(source: str, target: str) -> None:
    """Put a file in place in one step."""
    directory = os.path.dirname(target)
    os.makedirs(directory, 0o755, exist_ok=True)
    temporary = os.path.join(directory, ".webstack-%d" % os.getpid())
    if os.path.lexists(temporary):
        os.unlink(temporary)
    try:
        os.link(source, temporary)
        info = os.lstat(temporary)
    except OSError:
        with open(source, "rb") as read, open(temporary, "xb") as write:
            info = os.fstat(read.fileno())
            write.write(read.read() if _sealed(info) else b"")
        os.chmod(temporary, 0o644)
        os.utime(temporary, ns=(info.st_atime_ns, info.st_mtime_ns))
    if not _sealed(info):  # it was another one a moment ago
        os.unlink(temporary)
        return
    if os.path.isdir(target) and not os.path.islink(target):
        files.remove(target)
    os.rename(temporary, target)
    # A rename of one link over another of the same file does nothing.
    if os.path.lexists(temporary):
        os.unlink(temporary)


def _remove_empty(top: str) -> None:
    for base, directories, names in os.walk(top, topdown=False):
        if (base != top and not directories and not names) or (base != top and not os.listdir(base)):
            os.rmdir(base)
