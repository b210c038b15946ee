# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ``webstack.django.config_files`` would change: the predicate that check mode and apply share.

``plan`` compares what is declared with what is there; it only reads. ``transaction`` does what it says.
"""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import re
import stat
from typing import Any, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils import drift, packaged, safe_fs

# In the first lines of a file, this declares it where it lies: it stays in a directory that is owned.
KEEP = "webstack.django: keep"
_MARKER_LINES = 20
_DIFF_LIMIT = 256 * 1024  # bytes; longer files are not shown


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
        foreign: bool = False,
    ) -> None:
        self.path = os.path.normpath(path)
        self.state = state
        self.content = content
        self.uid = uid  # None: the account does not exist yet (check mode on a bare host)
        self.gid = gid
        self.mode = mode
        self.target = target
        self.diff = diff
        self.foreign = foreign  # nobody declared it


class Found(NamedTuple):
    """What is at a path."""

    place: str  # where to read it
    kind: str
    mode: int
    uid: int
    gid: int


class View:
    """The file system as it is or, where a killed run left a journal, as it is once that is undone."""

    def __init__(self, steps: list[dict[str, Any]] | None = None) -> None:
        self._steps = {step["path"]: step for step in steps or []}
        self.hidden = {
            os.path.join(os.path.dirname(step["path"]), step[key]) for step in steps or [] for key in ("new", "old")
        }

    def _place(self, path: str) -> str | None:
        """Where the thing that belongs at ``path`` lies now; None where there will be nothing."""
        step = self._steps.get(path)
        if step is not None and "attributes" not in step:
            kept = step.get("saved") or os.path.join(os.path.dirname(path), step["old"])
            if step["existed"]:
                return kept if safe_fs.status(kept) is not None else path
            return None
        above, name = os.path.split(path)
        if above == path:
            return path
        place = self._place(above) if self._steps else above
        return None if place is None else os.path.join(place, name)

    def find(self, path: str) -> Found | None:
        """What is at ``path``, not following links."""
        place = self._place(path)
        info = safe_fs.status(place) if place is not None else None
        if info is None or place is None:
            return None
        mode, uid, gid = stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid
        if self._steps and "attributes" in self._steps.get(path, {}):
            mode, uid, gid = self._steps[path]["attributes"]
        return Found(place, _kind(info.st_mode), mode, uid, gid)

    def list(self, path: str) -> list[str]:
        """The names in a directory, without those that a killed run left behind."""
        found = self.find(path)
        if found is None or found.kind != "directory":
            return []
        present = {name for name in safe_fs.names(found.place) if os.path.join(path, name) not in self.hidden}
        present.update(os.path.basename(step) for step in self._steps if os.path.dirname(step) == path)
        return sorted(present)


class Change:
    """One thing to do: what is declared, why, and what was there before (for the diff)."""

    def __init__(
        self,
        item: Declared,
        reasons: list[str],
        old: list[str] | None = None,
        before: bytes | None = None,
    ) -> None:
        self.item = item
        self.reasons = reasons
        self.old = old or []
        self.before = before

    def as_diff(self) -> dict[str, str]:
        """The change as Ansible shows it; of secrets only the fact that they change."""
        item = self.item
        before, after = "".join(f"{line}\n" for line in self.old), "".join(f"{line}\n" for line in self.reasons)
        new = item.content if item.state == "file" else None
        if new is not None and new != self.before:
            if not item.diff:
                before, after = "", "content is not shown (diff: false)\n"
            elif len(new) + len(self.before or b"") > _DIFF_LIMIT:
                before, after = "", "content is too long to be shown\n"
            else:
                try:
                    before, after = (self.before or b"").decode("utf-8"), new.decode("utf-8")
                except UnicodeDecodeError:
                    before, after = "", "content is binary\n"
        header = f"{item.path} ({', '.join(self.reasons)})"
        return {"before_header": item.path, "after_header": header, "before": before, "after": after}

    def as_drift(self) -> dict[str, Any]:
        """The change in the words of a report."""
        item = self.item
        expected, found = list(self.reasons), list(self.old)
        if self.before is None and expected in (["created"], ["removed"]):
            there = expected == ["removed"]
            expected, found = ["absent"] if there else [item.state], found if there else ["missing"]
        if self.before is not None and "content" in expected:
            expected.remove("content")
            wanted, other = _shown(item, self.before)
            expected.append(wanted)
            found.append(other)
        comma = "\n" if self.before is not None and "content" in self.reasons else ", "
        words = [comma.join(_named(one) for one in part if one) or "nothing" for part in (expected, found)]
        attributes = "content" not in self.reasons and bool(self.old)
        return drift.entry(item.path, words[0], words[1], drift.changed(item.path, attributes))


def _shown(item: Declared, before: bytes) -> tuple[str, str]:
    """The lines that are missing and those that are too many; of secrets only that they differ."""
    if not item.diff:
        return "the declared content (not shown)", "other content (not shown)"
    try:
        if len(before) + len(item.content or b"") <= _DIFF_LIMIT:
            return drift.lines(before.decode("utf-8"), (item.content or b"").decode("utf-8"))
    except UnicodeDecodeError:
        pass
    return "the declared content", "other content"


def _named(words: str) -> str:
    """Owner and group by their names, where they have one."""
    kind, _space, number = words.partition(" ")
    if re.fullmatch(r"(owner|group) \d+", words):
        try:
            return (
                f"{kind} {pwd.getpwuid(int(number)).pw_name if kind == 'owner' else grp.getgrgid(int(number)).gr_name}"
            )
        except KeyError:
            pass
    return words


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link")):
        if test(mode):
            return name
    return "special file"


def compare(item: Declared, view: View) -> Change | None:
    """What has to change so that ``item`` holds; None where it holds already."""
    found = view.find(item.path)
    if item.state == "absent":
        return Change(item, ["removed"], ["present"]) if found is not None else None
    if found is None:
        return Change(item, ["created"])
    if found.kind != item.state:
        return _replace(item, found, view)
    old, new, before = [], [], None
    if item.state == "link":
        target = safe_fs.read_link(found.place)
        if target != item.target:
            old.append(f"link to {target}")
            new.append(f"link to {item.target}")
    if item.state == "file":
        before = safe_fs.read(found.place)
        if before != item.content:
            new.append("content")
    if item.state != "link" and found.mode != item.mode:
        old.append(f"mode {found.mode:04o}")
        new.append(f"mode {item.mode:04o}")
    for label, has, wants in (("owner", found.uid, item.uid), ("group", found.gid, item.gid)):
        if has != wants:
            old.append(f"{label} {has}")
            new.append(f"{label} {'not made yet' if wants is None else wants}")
    if item.state == "file" and safe_fs.has_acl(found.place):
        old.append("access control list")
        new.append("no access control list")
    if item.state != "link" and safe_fs.frozen(found.place):
        old.append("immutable")
        new.append("not immutable")
    return Change(item, new, old, before) if new else None


def _replace(item: Declared, found: Found, view: View) -> Change:
    """A thing of another kind is in the way. It is replaced unless that destroys somebody's data."""
    if item.state != "link" and found.kind == "link":
        safe_fs.refuse_planted_link(found.place)
        if item.state == "directory" and os.path.isdir(found.place):
            raise ConfigError(
                f"{item.path} is a link to the directory {os.path.realpath(found.place)}, and shall be a directory: "
                "give the real path, or remove the link"
            )
    if found.kind == "directory" and view.list(item.path):
        raise ConfigError(
            f"{item.path} is a directory with something in it, and shall be a {item.state}: look what is in it, "
            "then remove it"
        )
    return Change(item, [item.state], [found.kind])


def _has_marker(path: str, marker: str) -> bool:
    try:
        return marker.encode() in b"\n".join(safe_fs.read(path).splitlines()[:_MARKER_LINES])
    except OSError:
        return False


def undeclared(rule: dict[str, Any], known: set[str], view: View) -> list[Declared]:
    """Files and links in an owned directory that nobody declared. Links are never followed."""
    directory = os.path.normpath(rule["path"])
    gone = []
    for name in view.list(directory):
        path = os.path.join(directory, name)
        if path in known or any(fnmatch.fnmatchcase(name, one) for one in rule.get("keep") or []):
            continue
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in rule.get("patterns") or ["*"]):
            continue
        found = view.find(path)
        if found is None or found.kind not in ("file", "link"):
            continue
        if rule.get("marker") and not _has_marker(found.place, rule["marker"]):
            continue
        if found.kind == "file" and _has_marker(found.place, KEEP):
            continue
        gone.append(path)
    brought = packaged.packaged(gone) if gone and rule.get("packaged") == "keep" else set()
    return [Declared(path, "absent", foreign=True) for path in gone if path not in brought]


def _contradictions(declared: list[Declared]) -> None:
    by_path: dict[str, Declared] = {}
    for item in declared:
        if item.path in by_path:
            raise ConfigError(f"{item.path} is declared twice; give every path once")
        by_path[item.path] = item
    for item in declared:
        above = os.path.dirname(item.path)
        while above != os.path.dirname(above):
            other = by_path.get(above)
            # Nothing is below a file or an absent directory anyway; a link leads somewhere.
            harmless = ("directory", "file", "absent") if item.state == "absent" else ("directory",)
            if other is not None and other.state not in harmless:
                raise ConfigError(f"{item.path} is declared below {above}, which is declared as {other.state}")
            above = os.path.dirname(above)


def plan(declared: list[Declared], prune: list[dict[str, Any]], view: View | None = None) -> list[Change]:
    """All changes, those that were declared first. Reads only."""
    view = view or View()
    _contradictions(declared)
    changes = []
    known = {item.path for item in declared}
    try:
        for rule in prune:
            extra = undeclared(rule, known, view)
            known.update(item.path for item in extra)
            declared = [*declared, *extra]
        for item in declared:
            change = compare(item, view)
            if change is not None:
                changes.append(change)
    except safe_fs.UnsafePathError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(f"{error.filename or ''}: {error.strerror}") from error
    return changes
