# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lay everything into a release that comes from the site's configuration and not from its code."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import detect_settings, drift
from ansible_collections.webstack.django.plugins.module_utils.release import database, files, launchers, serve
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account
from ansible_collections.webstack.django.plugins.module_utils.release.site import (
    Site,
    environment_file,
    quote,
    read_environment,
)

_ABSENT = {"expected": "absent", "found": "a script of a process that is not declared"}
_NOBODYS = {"expected": "absent", "found": "a file that nobody declared"}
_HEADER = "# webstack.django.django_app: written by Ansible, changes are lost\n"
_SETTINGS = """\
{header}# The settings of {name} in production: the project's own, then what a server needs.
from {settings} import *  # noqa: F403
from webstack_production import apply as _apply

_apply(globals(), {values})
"""
_MANAGE = """\
#!/bin/sh
{header}# manage.py with the environment of the site's processes: sudo webstack-manage {name} COMMAND ...
set -eu
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
set -a
. {environment}
. {release}/env
set +a
export HOME={home} USER={user} LOGNAME={user} PATH={venv}/bin:/usr/local/bin:/usr/bin:/bin
umask 027
cd {project}
exec setpriv --reuid={user} --regid={group} --init-groups --no-new-privs -- {command} "$@"
"""


def _found(path: str) -> str:
    """What is at a path that is not as declared."""
    return "another one" if not path or os.path.lexists(path) else "missing"


class _Changes:
    """What differs; made at once unless only asked for."""

    def __init__(self, check_mode: bool) -> None:
        self.check_mode = check_mode
        self.words: list[drift.Action] = []

    def want(self, differs: bool, words: str, make: Callable[[], Any], path: str = "", **more: str) -> None:
        """Note a difference, and make it go away; path, expected and found are for the report."""
        if differs:
            expected, found = more.get("expected", "as declared"), more.get("found") or _found(path)
            entry = drift.entry(path or words, expected, found, drift.changed(path) if path else None)
            self.words.append(drift.Action(words, entry))
            if not self.check_mode:
                make()


def manage_command(site: Site) -> list[str]:
    """How management commands are started."""
    if site["manage"]:
        return [site.python, os.path.join(site.code, site["manage"])]
    return [site.python, "-m", "django"]


def release_environment(site: Site, digest: str) -> dict[str, str]:
    """``releases/<id>/env``: what belongs to this release and not to the site."""
    paths = [site.project]
    settings = site["settings"]
    if site["settings_overlay"]:
        paths.insert(0, site.overlay)
        settings = "webstack_settings"
    served = serve.text(site, _HEADER)
    if served:
        paths.append(serve.directory(site))
    if site["env"].get("PYTHONPATH"):
        paths.append(site["env"]["PYTHONPATH"])
    result = {
        "PYTHONPATH": ":".join(paths),
        "WEBSTACK_SITE": site.name,
        "WEBSTACK_RELEASE": site.release_id,
        "WEBSTACK_CONFIG": digest,
    }
    if settings:
        result["DJANGO_SETTINGS_MODULE"] = settings
    application = site.application
    if application:
        result["WEBSTACK_APPLICATION"] = serve.APPLICATION if served else application
        file = detect_settings.module_file(site.project, application.partition(":")[0])
        if file:
            result["WEBSTACK_WSGI_FILE"] = os.path.join(site.project, file)
    return result


def overlay_values(site: Site) -> dict[str, Any]:
    """What the generated settings are made from; secrets stay in the environment."""
    wanted = dict(site["database"] or {})
    for key in ("password", "url", "switch_from"):
        wanted.pop(key, None)
    return {
        "name": site.name,
        "release": site.release,
        "allowed_hosts": site.allowed_hosts,
        "trusted_origins": site.trusted_origins,
        "database": wanted or None,
        "cache": site.cache_kind,
        "static_root": site.static_root,
        "media_root": site.media_root,
        "media_url": site["media"]["url"],
        "secret_key": bool(site["secret_key"]),
    }


def overlay_files(site: Site, sources: dict[str, str]) -> dict[str, str]:
    """Name and text of each file of the overlay; none where it is off."""
    if not site["settings_overlay"]:
        return {}
    if not site["settings"]:
        raise site.error("prepare", "the settings module is not known", "set settings of the site")
    lines = ["%r: %r," % item for item in overlay_values(site).items()]
    values = "{\n" + "".join("    %s\n" % line for line in lines) + "}"
    text = _SETTINGS.format(header=_HEADER, name=site.name, settings=site["settings"], values=values)
    return {**sources, "webstack_settings.py": text}


def manage_script(site: Site) -> str:
    """``releases/<id>/manage``: the same environment for people."""
    return _MANAGE.format(
        header=_HEADER,
        name=site.name,
        environment=quote(site.environment_path),
        release=quote(site.release),
        home=quote(account(site).pw_dir),
        user=site.user,
        group=site.group,
        venv=site.venv,
        project=quote(site.project),
        command=" ".join(quote(word) for word in manage_command(site)),
    )


def release_facts(site: Site) -> dict[str, Any]:
    """What release.json says about a release."""
    keys = ("project_dir", "settings", "wsgi", "asgi", "app_server", "manage", "settings_overlay")
    facts = {key: site[key] for key in keys}
    facts.update(interface=site.interface, serves=serve.APPLICATION if serve.text(site, _HEADER) else None)
    facts.update(id=site.release_id, site=site.name, commit=site["source"]["commit"], project=site.project)
    facts["database"] = database.facts(site)
    return facts


def store_release(site: Site, **more: Any) -> None:
    """Write release.json; what it knew and nobody says anew is kept."""
    known = files.load(site.release)
    known.update(release_facts(site), **more)
    files.store(site.release, known, account(site).pw_gid)


def environment(site: Site, check_mode: bool) -> list[str]:
    """Bring the variables of the inventory into the environment of the site's processes, where the role has made it."""
    text = files.read_text(site.environment_path)
    if text is None or read_environment(text) == site.variables:
        return []
    if not check_mode:
        header = "".join(line + "\n" for line in text.splitlines() if line.startswith("#"))
        text = environment_file(site.variables, header) + "\n"
        files.write(site.environment_path, text, 0o640, account(site).pw_gid)
    path = site.environment_path
    differs = drift.entry(path, "the declared variables", "other ones (not shown)", drift.changed(path), site.name)
    return [drift.Action("%s: write %s" % (site.name, path), differs)]


def apply(site: Site, sources: dict[str, str], check_mode: bool) -> list[str]:
    """Files, shared paths, directories, overlay and environment of a release; says what changed."""
    changes = _Changes(check_mode)
    user = account(site)
    texts = overlay_files(site, sources)
    for path in site["shared"]:
        _share(site, path, changes)
    for path in site["directories"]:
        _directory(site, path, changes)
    for words, make in database.missing(site):
        changes.want(True, words, make, words)
    for item in site["files"]:
        _place(site, item, changes)
    wanted = {os.path.join(site.overlay, name): (text, 0o640) for name, text in texts.items()}
    digest = site.digest(texts)
    env = environment_file(release_environment(site, digest), _HEADER)
    wanted[os.path.join(site.release, "env")] = (env, 0o640)
    wanted[os.path.join(site.release, "manage")] = (manage_script(site), 0o750)
    scripts = launchers.scripts(site, _HEADER)
    directory = os.path.join(site.release, "run")
    wanted.update({os.path.join(directory, name): (text, 0o750) for name, text in scripts.items()})
    served = serve.text(site, _HEADER)
    if served:
        wanted[os.path.join(serve.directory(site), serve.MODULE + ".py")] = (served, 0o640)
    for made, needed in ((site.overlay, texts), (directory, scripts), (serve.directory(site), served)):
        if needed and not os.path.isdir(made) and not check_mode:
            os.mkdir(made, 0o750)
            os.chown(made, 0, user.pw_gid)
    for stray in launchers.stray(site, scripts):
        changes.want(True, "no " + os.path.relpath(stray, site.release), partial(files.remove, stray), stray, **_ABSENT)
    # What lies there is imported before the project's own modules.
    for place in (site.overlay, serve.directory(site)):
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else []:
            path = os.path.join(place, name)
            if path not in wanted:
                gone = "no " + os.path.relpath(path, site.release)
                changes.want(True, gone, partial(files.remove, path), path, **_NOBODYS)
    for path, (text, mode) in wanted.items():
        _own(path, text, mode, user.pw_gid, changes)
    link = os.path.join(site.release, "project")
    target = os.path.relpath(site.project, site.release)
    changes.want(files.link_target(link) != target, "project", lambda: files.link(target, link), link)
    known = files.load(site.release)
    if known:
        facts = release_facts(site)
        differs = any(known.get(key) != value for key, value in facts.items())
        file = os.path.join(site.release, files.RELEASE_FILE)
        changes.want(differs, files.RELEASE_FILE, lambda: store_release(site), file)
    return [
        drift.Action(
            "%s: write %s of release %s" % (site.name, word, site.release_id),
            *({**one, "site": site.name} for one in word.drift),
        )
        for word in changes.words
    ]


def _own(path: str, text: str, mode: int, gid: int, changes: _Changes) -> None:
    """A file of ours in a directory of root's."""
    differs = files.read_text(path) != text
    if not differs:
        info = os.lstat(path)
        differs = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) != (mode, 0, gid)
    name = os.path.basename(path)
    if os.path.basename(os.path.dirname(path)) == "run":
        name = "run/" + name
    changes.want(differs, name, lambda: files.write(path, text, mode, gid), path)


def _inside(site: Site, path: str, key: str) -> str:
    """A path in the checkout, which no link may lead out of it."""
    full = os.path.normpath(os.path.join(site.code, path))
    if not full.startswith(site.code + os.sep):
        raise site.error("prepare", "%s: %r lies outside the checkout" % (key, path), "use a path below the checkout")
    parent = os.path.dirname(full)
    if os.path.lexists(parent) and not (files.inside(parent, site.code) or files.inside(parent, site.path("shared"))):
        raise site.error("prepare", "%s: a link leads %r out of the checkout" % (key, path), "remove the link")
    return full


def _share(site: Site, path: str, changes: _Changes) -> None:
    """Replace a path in the checkout by a link to what outlives the release."""
    link = _inside(site, path.rstrip("/"), "shared")
    target = os.path.normpath(site.path("shared", path.rstrip("/")))
    if files.link_target(link) == target and (os.path.lexists(target) or os.path.splitext(target)[1]):
        return
    changes.want(
        True, "link " + path, lambda: _make_shared(site, path, link, target), link, expected="link to " + target
    )


def _make_shared(site: Site, path: str, link: str, target: str) -> None:
    user = account(site)
    top = site.path("shared")
    files.make_directories(os.path.dirname(target), top, user.pw_uid, user.pw_gid)
    is_link = os.path.islink(link)
    if not os.path.lexists(target):
        if os.path.lexists(link) and not is_link:
            _move(link, target, user.pw_uid, user.pw_gid)
        elif path.endswith("/") or not os.path.splitext(target)[1]:
            files.make_directories(target, top, user.pw_uid, user.pw_gid)
    files.make_directories(os.path.dirname(link), site.code, user.pw_uid, user.pw_gid)
    files.remove(link)
    files.link(target, link)


def _move(source: str, target: str, uid: int, gid: int) -> None:
    """Move data of a checkout to the shared directory; half of it is never taken for the whole."""
    os.rename(source, target)  # the same file system: both lie below the site's root
    os.chown(target, uid, gid, follow_symlinks=False)
    if os.path.isdir(target) and not os.path.islink(target):
        files.give(target, uid, gid)


def _directory(site: Site, path: str, changes: _Changes) -> None:
    """A directory that must be there before the settings are imported."""
    full = path if path.startswith("/") else _inside(site, path, "directories")
    if os.path.isdir(full):
        return
    changes.want(True, "directory " + path, lambda: _make_directory(site, full), full)


def _make_directory(site: Site, full: str) -> None:
    user = account(site)
    if full.startswith(site.root + os.sep):
        try:
            files.make_directories(full, site.root, user.pw_uid, user.pw_gid)
        except ValueError:
            os.makedirs(os.path.realpath(full), 0o750)
        return
    os.makedirs(os.path.dirname(full), 0o755, exist_ok=True)
    os.mkdir(full, 0o750)
    os.chown(full, user.pw_uid, user.pw_gid)


def _place(site: Site, item: dict[str, Any], changes: _Changes) -> None:
    """A file that the project needs beside its code."""
    path, mode = item["path"], int(str(item.get("mode") or "0640"), 8)
    user = account(site)
    full = path if path.startswith("/") else _inside(site, path, "files")
    text = item["content"]
    _refuse_links(site, full)
    known = files.read_text(full)
    differs = known != text
    if not differs:
        info = os.lstat(full)
        differs = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) != (mode, 0, user.pw_gid)

    def make() -> None:
        if path.startswith("/"):
            os.makedirs(os.path.dirname(full), 0o755, exist_ok=True)
        else:
            files.make_directories(os.path.dirname(full), site.code, user.pw_uid, user.pw_gid)
        files.write(full, text, mode, user.pw_gid)

    changes.want(differs, path, make, full)


def _refuse_links(site: Site, full: str) -> None:
    """Root writes no file through a link, nor into a directory whose links somebody else could change."""
    if os.path.islink(full):
        raise site.error(
            "prepare", "files: %s is a symbolic link" % full, "remove it, or give the path that it leads to"
        )
    if full.startswith(site.code + os.sep):
        return
    directory = os.path.dirname(full)
    while directory != "/":
        info: os.stat_result | None = None
        if os.path.lexists(directory):
            info = os.lstat(directory)
        if info is not None and (stat.S_ISLNK(info.st_mode) or info.st_uid != 0):
            kind = "a symbolic link" if stat.S_ISLNK(info.st_mode) else "not root's"
            raise site.error(
                "prepare", "files: %s: %s is %s" % (full, directory, kind), "choose a directory that belongs to root"
            )
        directory = os.path.dirname(directory)


def open_code(site: Site) -> None:
    """Let commands of a preparation write to the checkout."""
    user = account(site)
    files.give(site.code, user.pw_uid, user.pw_gid)


def seal(site: Site) -> None:
    """Make the checkout read-only to the site's processes; directories of the site's own stay writable."""
    user = account(site)
    files.seal(site.code, user.pw_gid)
    for path in site["directories"]:
        if not path.startswith("/"):
            full = _inside(site, path, "directories")
            if os.path.isdir(full) and not os.path.islink(full) and files.inside(full, site.code):
                files.give(full, user.pw_uid, user.pw_gid)
    for item in site["files"]:
        if not item["path"].startswith("/"):
            full = _inside(site, item["path"], "files")
            if os.path.isfile(full) and not os.path.islink(full):
                os.chmod(full, int(str(item.get("mode") or "0640"), 8))
