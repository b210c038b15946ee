# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepare a built release: checks, static files, migrations. Nothing that serves is touched."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import (
    backup,
    compress,
    configure,
    files,
    integrity,
    trial,
)
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account, failed
from ansible_collections.webstack.django.plugins.module_utils.release.project import Project
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site, command

_CHECK = ("check", "--deploy")
_KEEPS = "The old release keeps serving."
# PostgreSQL's lock_timeout, and errors 1205 of MariaDB's lock_wait_timeout.
_WAITED = re.compile(r"canceling statement due to lock timeout|Lock wait timeout exceeded")
_LOCKED = (
    "it did not get a lock on a table within %d seconds, since another transaction has it for long: deploy again when that "
    "has ended, or raise migrate_lock_timeout of the site. " + _KEEPS
)
_CORRECT_MIGRATION = "correct the migration and deploy again; what had been applied before it stays applied. " + _KEEPS


def wanted_state(site: Site, sources: dict[str, str]) -> str:
    """The name of the configuration that a release has to be prepared for."""
    return site.digest(configure.overlay_files(site, sources))


def prepared(site: Site, sources: dict[str, str]) -> bool:
    """Whether this release went through all of it with this configuration."""
    return bool(files.state(site.release).get("prepared") == wanted_state(site, sources))


def prepare(
    site: Site, sources: dict[str, str], check_mode: bool, skip: Sequence[str] = (), half: bool = False
) -> tuple[list[str], list[str]]:
    """Make a release ready to serve; returns what was done, and warnings.

    Args:
        site: the site.
        sources: files of the overlay.
        check_mode: whether only to say what would be done.
        skip: steps to leave out, which the next run does.
        half: whether to end before the migration; the next call goes on there.
    """
    actions = configure.apply(site, sources, check_mode)
    name = wanted_state(site, sources)
    again = files.state(site.release).get("prepared") != name
    if check_mode and again:
        return [
            *actions,
            drift.Action(
                "%s: check, collect static files and migrate for release %s" % (site.name, site.release_id),
                drift.entry(
                    site.release, "prepared with this configuration", "prepared with another one", site=site.name
                ),
            ),
        ], []
    with Project(site) as project:
        if again:
            return _prepare(site, project, name, actions, skip, half)
        if site["migrate"] and "migrate" not in skip:
            try:
                actions += _migrate(site, project, check_mode, again=False)
            except ReleaseError as error:
                if not check_mode:
                    raise
                # What keeps it from its database may be put back by another task; a check looks at the rest as well.
                words = "site %s: migrations" % site.name
                last = str(error).strip().splitlines()[-1]
                entry = drift.entry(words, "can be looked at", "the database does not answer: " + last, site=site.name)
                actions.append(drift.Action("%s: look at its migrations, when its database answers" % site.name, entry))
        return actions, []


def _prepare(
    site: Site, project: Project, name: str, actions: list[str], skip: Sequence[str], half: bool
) -> tuple[list[str], list[str]]:
    """The steps, for a configuration of this name."""
    with contextlib.ExitStack() as stack:
        ahead = None if half else trial.ahead(site)
        if ahead:
            stack.enter_context(ahead)
        done = _steps(site, project, name, actions, skip, half)
        if ahead and ahead.problem(trial.AHEAD) is None:
            trial.passed(site)
        return done


def _steps(
    site: Site, project: Project, name: str, actions: list[str], skip: Sequence[str], half: bool
) -> tuple[list[str], list[str]]:
    gid = account(site).pw_gid
    settings = project.settings(migrations=bool(site["migrate"]) and "migrate" not in skip)
    warnings: list[str] = []
    # Taken back first: a run that dies before the end leaves files that the site can write to.
    files.update_state(site.release, gid, prepared=None)
    integrity.forget(site.release)
    try:
        configure.open_code(site)
        settings = _media_inside(site, settings, actions)
        order = steps(site)
        done = order[: order.index("migrate")] if "migrate" in order else order
        wanted = done if half else order
        if files.state(site.release).get("half") == name:
            wanted = [step for step in wanted if step not in done]
        alone = not any(site["commands"][key] for key in ("before_collectstatic", "after_collectstatic"))
        if wanted[:2] == ["collectstatic", "check"] and alone and not {"collectstatic", "check"} & set(skip):
            project.begin(*_CHECK)
        for step in wanted:
            if step in skip:
                actions.append("%s: skip %s" % (site.name, step))
            elif step == "check":
                warnings = _check(site, project)
            elif step == "collectstatic":
                actions += _collect(site, project, settings)
            elif site["migrate"]:
                actions += _migrate(site, project, check_mode=False, again=True)
    finally:
        configure.seal(site)
    root = _root(site, settings)
    missed = half or any(step in skip for step in order)
    if root and os.path.isdir(root):
        files.seal(root, gid, readable=True)  # wherever they lie, the web server reads them through public/
        if root.startswith(site.release + os.sep):  # elsewhere the site could lay a link in root's way
            compress.static(root, os.path.join(site.path("public"), site["static"]["url"].strip("/")))
    if not half:
        integrity.note_release(site)
    files.update_state(
        site.release, gid, prepared=None if missed else name, half=name if half else None, static_root=root
    )
    return actions, warnings + unsent(site, settings["mail"])


def unsent(site: Site, backend: str | None) -> list[str]:
    """A warning where a project's mail reaches nobody: its backend is one for development."""
    found = re.fullmatch(r"django\.core\.mail\.backends\.(console|dummy|filebased|locmem)\.EmailBackend", backend or "")
    if not found:
        return []
    words = "site %s: its e-mail reaches nobody, since the settings name the backend `%s`, which is for development; "
    return [words % (site.name, found.group(1)) + "name a mail server in the settings of the project"]


def steps(site: Site) -> list[str]:
    """The order of the steps: checks import the URLs, which may ask for the manifest of the static files."""
    order = [str(one) for one in site["order"]]
    order.insert(order.index("migrate") if "migrate" in order else len(order), "check")
    return order


def _check(site: Site, project: Project) -> list[str]:
    """``check --deploy``; errors stop the deployment, warnings are passed on."""
    done = project.manage(*_CHECK)
    if done.status:
        raise failed(site, "check", ["manage.py", *_CHECK], done, "correct the project and deploy again. " + _KEEPS)
    if "System check identified no issues" in done.text:
        return []
    found = re.findall(r"^\S*: \([\w.]+\) .*$", done.text, re.MULTILINE)
    return [site.mask("site %s: check --deploy: %s" % (site.name, one)) for one in found]


# Static files ------------------------------------------------------------------------------------


def _root(site: Site, settings: dict[str, Any]) -> str:
    """Where this release's static files are; empty where the project keeps them elsewhere."""
    if not site["collectstatic"] or "collectstatic" not in settings["commands"]:
        return ""
    if urlsplit(settings["static_url"] or "").netloc:
        return ""
    return str(settings["static_root"] or "")


def _collect(site: Site, project: Project, settings: dict[str, Any]) -> list[str]:
    wanted = site["collectstatic"]
    if not wanted:
        return []
    commands = site["commands"]
    if wanted is True and "collectstatic" not in settings["commands"]:
        return ["%s: no static files, since django.contrib.staticfiles is not installed" % site.name]
    root = _root(site, settings)
    if wanted is True and not root and not urlsplit(settings["static_url"] or "").netloc:
        raise site.error(
            "collectstatic",
            "STATIC_ROOT is not set",
            "let settings_overlay set it, or turn it off: collectstatic: false",
        )
    if root:
        _writable(site, root)
        _same_url(site, settings)
    for item in commands["before_collectstatic"]:
        project.line("before_collectstatic", item)
    if wanted is True:
        advice = "correct the static files of the project. " + _KEEPS
        project.must("collectstatic", "collectstatic", "--noinput", "--verbosity=0", advice=advice)
    else:
        project.line("collectstatic", wanted)
    for item in commands["after_collectstatic"]:
        project.line("after_collectstatic", item)
    return ["%s: collect static files for release %s" % (site.name, site.release_id)]


def _writable(site: Site, root: str) -> None:
    """Make STATIC_ROOT the site's own until the files are there."""
    user = account(site)
    if root.startswith(site.root + os.sep):
        try:
            files.make_directories(root, site.root, user.pw_uid, user.pw_gid)
        except ValueError as error:
            raise site.error("collectstatic", "STATIC_ROOT: %s" % error, "set static.root of the site") from error
    elif not _free(site, root):
        # The project names it, and root would give it away.
        raise site.error(
            "collectstatic",
            "STATIC_ROOT is %s, which is not the site's to write to" % root,
            "set static.root of the site, or make the directory and give it to the user %s" % site.user,
        )
    elif not os.path.isdir(root):
        os.makedirs(os.path.dirname(root), 0o755, exist_ok=True)
        os.mkdir(root, 0o755)
    files.give(root, user.pw_uid, user.pw_gid)


def _free(site: Site, root: str) -> bool:
    """Whether a directory outside of the site's own may be the site's: its operator says so, it has been, or it is new."""
    user, real = account(site), os.path.realpath(root)
    if real != os.path.normpath(root) or real in (
        "/",
        "/etc",
        "/usr",
        "/var",
        "/home",
        "/srv",
        "/opt",
        "/root",
        "/tmp",
    ):
        return False
    if site["static"]["root"]:
        return True
    if not os.path.isdir(root):
        return real.startswith("/var/www/")
    info = os.stat(root)
    return info.st_uid == user.pw_uid or (info.st_uid, info.st_gid) == (0, user.pw_gid)


def _same_url(site: Site, settings: dict[str, Any]) -> None:
    """The web server serves the path that the project's pages use."""
    found = "/" + urlsplit(settings["static_url"] or "").path.strip("/") + "/"
    wanted = site["static"]["url"]
    if found != wanted:
        raise site.error(
            "collectstatic",
            "the project's STATIC_URL is %s, and the web server would serve %s" % (found, wanted),
            "set static.url of the site: static: {url: %s}" % found,
        )


def _media_inside(site: Site, settings: dict[str, Any], actions: list[str]) -> dict[str, Any]:
    """Uploads that a project keeps in its checkout would be lost with the release: keep them outside."""
    root = settings["media_root"]
    if not root or not os.path.normpath(root).startswith(site.code + os.sep):
        return settings
    if os.path.islink(root) or files.inside(root, site.path("shared")):
        return settings
    target = site.media_root
    if not target.startswith(site.path("shared") + os.sep):
        return settings
    user = account(site)
    if os.path.isdir(root):
        _merge(root, target, user.pw_uid, user.pw_gid)
        files.remove(root)
    files.make_directories(os.path.dirname(root), site.code, user.pw_uid, user.pw_gid)
    files.link(target, root)
    actions.append("%s: MEDIA_ROOT lies in the checkout, and is a link to %s now" % (site.name, target))
    return settings


def _merge(source: str, target: str, uid: int, gid: int) -> None:
    """Move what is not there yet."""
    for name in os.listdir(source):
        if not os.path.lexists(os.path.join(target, name)):
            os.rename(os.path.join(source, name), os.path.join(target, name))
    files.give(target, uid, os.stat(target).st_gid)


# Migrations --------------------------------------------------------------------------------------


def _migrate(site: Site, project: Project, check_mode: bool, again: bool) -> list[str]:
    """Migrate once; the commands around it run for every release, and whenever something was to migrate."""
    pending = project.pending()
    actions: list[str] = []
    if pending or again:
        if check_mode:
            waiting = [
                drift.entry("migration %s" % one, "applied", "not applied", site=site.name) for one in pending or []
            ]
            return [drift.Action("%s: migrate %s" % (site.name, ", ".join(pending or [])), *waiting)]
        for item in site["commands"]["before_migrate"]:
            project.line("before_migrate", item)
        if pending:
            if site["backup_before_migrate"]:
                actions.append(backup.make(site))
            words = ["migrate", "--noinput", "--verbosity=1"]
            done = project.manage(*words, extra=lock_timeout(site))
            if done.status:
                applied = re.findall(r"^\s*Applying ([\w.]+)\.\.\.", done.text, re.MULTILINE)
                step = " ".join(["migrate", *applied[-1:]])
                waited = _WAITED.search(done.text)
                advice = _LOCKED % site["migrate_lock_timeout"] if waited else _CORRECT_MIGRATION
                raise failed(site, step, ["manage.py", *words], done, advice)
            actions.append("%s: migrate %s" % (site.name, _short(pending)))
        for item in site["commands"]["after_migrate"]:
            project.line("after_migrate", item)
    if pending is not None and files.state(site.release).get("migrations") != project.known:
        files.update_state(site.release, account(site).pw_gid, migrations=project.known)
    return actions + _once(site, project, check_mode)


def lock_timeout(site: Site) -> dict[str, str]:
    """What makes a migration give up a lock that it does not get: everybody else would wait behind it."""
    seconds = int(site["migrate_lock_timeout"])
    if not seconds:
        return {}
    given = site.variables.get("PGOPTIONS", "")
    # libpq reads the one, the generated settings the other for MariaDB.
    options = (given + " -c lock_timeout=%ds" % seconds).strip()
    return {"PGOPTIONS": options, "WEBSTACK_LOCK_TIMEOUT": str(seconds)}


def _short(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" and %d more" % (len(names) - 5) if len(names) > 5 else "")


def _once(site: Site, project: Project, check_mode: bool) -> list[str]:
    """Commands for the first deployment; each has a marker that is written when it has succeeded."""
    actions = []
    directory = site.path("shared", ".webstack")
    for item in site["commands"]["once"]:
        one = command(item)
        name = hashlib.sha256(("%(dir)s:%(run)s" % one).encode()).hexdigest()[:16]
        marker = os.path.join(directory, "once-" + name)
        if os.path.exists(marker):
            continue
        actions.append("%s: run once: %s" % (site.name, site.mask(one["run"])))
        if not check_mode:
            project.line("once", item)
            files.write(marker, "%s %s\n" % (time.strftime("%Y-%m-%d"), site.mask(one["run"])), mode=0o644)
    return actions
