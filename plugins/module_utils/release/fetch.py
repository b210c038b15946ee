# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bring the code of a release to the host."""

from __future__ import annotations

import os
import re

from ansible_collections.webstack.django.plugins.module_utils import detect
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    PATH,
    account,
    build_environment,
    check,
)
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TRANSFER = "look at the message; the next run starts this release again from nothing"


def complete(site: Site) -> bool:
    """Whether a release is built; its release.json is written last."""
    return files.load(site.release).get("id") == site.release_id


def needs_archive(site: Site) -> bool:
    """Whether the controller has to send the code."""
    source = site["source"]
    return not complete(site) and source["kind"] != "package" and source["fetch"] == "controller"


def half_built(site: Site) -> bool:
    """Whether a run died while it built this release."""
    return os.path.isdir(site.release) and not complete(site)


def fetch(site: Site, archive: str | None) -> list[str]:
    """Make ``releases/<id>/code``; what a run that died left there is removed first."""
    if not _ID.fullmatch(site.release_id):
        raise site.error("fetch", "%r is no name of a release" % site.release_id, "give release_id letters and digits")
    files.remove(site.release)
    user = account(site)
    os.mkdir(site.release, 0o750)
    os.chown(site.release, 0, user.pw_gid)
    os.mkdir(site.code, 0o750)
    os.chown(site.code, user.pw_uid, user.pw_gid)
    source = site["source"]
    if source["kind"] == "package":
        return ["%s: release %s of the package %s" % (site.name, site.release_id, source["package"])]
    if source["fetch"] == "host":
        _git(site)
        _detect(site)
    else:
        _unpack(site, archive)
    if not os.path.isdir(site.project):
        raise site.error(
            "fetch", "there is no directory %r in the checkout" % site["project_dir"], "correct project_dir"
        )
    return ["%s: fetch %s" % (site.name, source["commit"] or site.release_id)]


def _unpack(site: Site, archive: str | None) -> None:
    """Unpack as the site's user: whatever the archive holds, it reaches nothing but the user's own files."""
    if not archive:
        raise site.error("fetch", "there is no archive of the code", "set source.archive to a tar.gz on the controller")
    with open(archive, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        check(
            site,
            "fetch",
            ["tar", "--extract", *["--gzip"] * packed, "--no-same-owner", "--no-same-permissions", "--file=-"],
            site.code,
            {"PATH": PATH, "LANG": "C.UTF-8"},
            _TRANSFER,
            stdin=file.fileno(),
        )


def _git(site: Site) -> None:
    """Fetch one commit with git, on the host itself."""
    source = site["source"]
    environment = build_environment(site)
    environment["GIT_TERMINAL_PROMPT"] = "0"
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
    wanted = source["commit"] or source["version"] or "HEAD"
    bare = os.path.join(site.cache, "git")
    advice = "check that this host reaches the repository, or leave it to the controller (fetch: controller)"

    def git(*words: str, cwd: str = bare) -> None:
        check(site, "fetch", ["git", *words], cwd, environment, advice)

    if not os.path.isdir(bare):
        git("init", "--quiet", "--bare", bare, cwd=site.cache)
    if source["commit"]:
        # The whole history, since servers may refuse a commit that is no tip.
        git("fetch", "--quiet", "--force", "--tags", source["repo"], "+refs/heads/*:refs/heads/*")
    else:
        git("fetch", "--quiet", "--depth=1", source["repo"], wanted)
        wanted = "FETCH_HEAD"
    git("--work-tree", site.code, "checkout", "--quiet", "--force", wanted, "--", ".")
    if os.path.exists(os.path.join(site.code, ".gitmodules")):
        files.remove(site.code)
        user = account(site)
        os.mkdir(site.code, 0o750)
        os.chown(site.code, user.pw_uid, user.pw_gid)
        git("clone", "--quiet", "--no-checkout", bare, site.code, cwd=site.cache)
        git("remote", "set-url", "origin", source["repo"], cwd=site.code)
        git("checkout", "--quiet", wanted, cwd=site.code)
        git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1", cwd=site.code)
        for base, directories, names in os.walk(site.code):
            if ".git" in directories + names:
                files.remove(os.path.join(base, ".git"))
                if ".git" in directories:
                    directories.remove(".git")


def _detect(site: Site) -> None:
    """Look at code that the controller has not seen; what the item says wins."""
    application = site.data[site.data["interface"]] if site.data["interface"] else None
    if site.data["settings"] and application and site.data["dependencies"]["tool"]:
        return
    given = {key: site.data[key] for key in ("project_dir", "manage", "settings", "wsgi", "asgi", "interface")}
    try:
        found = detect.detect(site.code, given)
    except detect.DetectError as error:
        raise site.error("fetch", "%s: %s" % (error.key, error), "set %s for this site" % error.key) from error
    facts = {key: found[key] for key in given}
    if not site.data["dependencies"]["tool"]:
        file = found["file"]
        facts["dependencies"] = {"tool": found["tool"], "file": file, "directory": os.path.dirname(file or "")}
    files.update_state(site.release, account(site).pw_gid, facts=facts)
    site.learn(facts)
