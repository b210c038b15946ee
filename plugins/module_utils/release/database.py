# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a site keeps its data: the file of SQLite, and that no deployment leaves the data behind unasked."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

SQLITE = "sqlite3"
# As people write Django's names in `database.engine` of a site.
_WORDS = {"mysql": "mariadb", SQLITE: "sqlite"}
_HERE = ("localhost", "127.0.0.1", "::1")
_SWITCH = (
    "to keep the data where it is, leave `database.engine: {old}`. To move it, deploy once more with that, dump it with "
    "`webstack-manage {site} dumpdata --natural-foreign --natural-primary --exclude=contenttypes --exclude=auth.permission "
    "--output={file}`, then set `database: {{engine: {new}, switch_from: {old}}}`, deploy, and load it with "
    "`webstack-manage {site} loaddata {file}`; docs/switching.md has all steps"
)
_RENAMED = (
    "set database.name: {old} again; or, where the database was renamed or its data moved, say so with "
    "`database: {{switch_from: {engine}}}` for one deployment"
)


def facts(site: Site) -> dict[str, Any] | None:
    """What release.json says of the database, without any secret."""
    wanted = site["database"]
    if not wanted:
        return None
    host = str(wanted.get("host") or "")
    here = not host or host.startswith("/") or host in _HERE
    return {"engine": wanted["engine"], "name": wanted["name"], "host": None if here else host}


def same(site: Site) -> list[str]:
    """Refuse to leave the data of the release that serves behind; returns what the user should know.

    A site without a release, and a release that does not say where its data is, is nothing to compare with.
    """
    wanted = facts(site)
    serving = files.load(site.current).get("database")
    if not wanted or not serving or serving["engine"] == site["database"].get("switch_from"):
        return []
    old, new = (_WORDS.get(one["engine"], one["engine"]) for one in (serving, wanted))
    if old != new:
        raise site.error(
            "accounts",
            "its data is in %s, and database.engine is %s now: it would start with an empty database" % (old, new),
            _SWITCH.format(site=site.name, old=old, new=new, file=site.path("shared", "dump.json")),
        )
    if serving["name"] != wanted["name"]:
        raise site.error(
            "accounts",
            "its data is in the database %s, and database.name is %s now" % (serving["name"], wanted["name"]),
            _RENAMED.format(old=serving["name"], engine=old),
        )
    if serving["host"] != wanted["host"]:
        moved = (site.name, serving["host"] or "this host", wanted["host"] or "this host")
        return ["site %s: its database was on %s and is on %s now; the data is not copied by a deployment" % moved]
    return []


def missing(site: Site) -> Iterator[tuple[str, Callable[[], None]]]:
    """What the file of SQLite needs before Django opens it, as words and what makes it so."""
    wanted = site["database"]
    if not wanted or wanted["engine"] != SQLITE:
        return
    path = str(wanted["name"])
    directory = os.path.dirname(path)
    if not path.startswith(site.path("shared") + os.sep) or directory == site.path("shared"):
        raise site.error(
            "prepare",
            "database.name is %s" % path,
            "keep the file of SQLite in a directory of its own, like %s"
            % site.path("shared", "database", "db.sqlite3"),
        )
    user = account(site)
    if _differs(directory, 0o700, user) or _differs(path, 0o600, user):
        yield path, lambda: _make(site, path)


def _differs(path: str, mode: int, user: pwd.struct_passwd) -> bool:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return True
    return (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) != (mode, user.pw_uid, user.pw_gid)


def _make(site: Site, path: str) -> None:
    """The directory and the file, an empty one being an empty database; SQLite gives its other files the same mode.

    The site may write above them: every step is taken from the directory before it, and follows no link.
    """
    user = account(site)
    top = site.path("shared")
    *directories, name = os.path.relpath(path, top).split(os.sep)
    files.make_directories(os.path.dirname(path), top, user.pw_uid, user.pw_gid, 0o700)
    handles = [os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)]
    try:
        for one in directories:
            handles.append(os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handles[-1]))
        _own(handles[-1], 0o700, user)
        handles.append(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=handles[-1]))
        info = os.fstat(handles[-1])
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise site.error("prepare", "%s is no file of its own" % path, "remove the link")
        _own(handles[-1], 0o600, user)
    finally:
        for handle in handles:
            os.close(handle)


def _own(handle: int, mode: int, user: pwd.struct_passwd) -> None:
    os.fchmod(handle, mode)
    os.fchown(handle, user.pw_uid, user.pw_gid)
