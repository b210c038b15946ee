# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same dependencies are not installed twice: releases that need the same ones share an environment.

``environments/<key>`` belongs to root once it is built, and is written by nobody; ``releases/<id>/venv`` is a link to it. An
environment that holds the path of its release, such as a link to the code, is not shared.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import files, integrity, static
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)", re.MULTILINE)
# What tells that something of the checkout is installed, and where that is.
_LINKS = ("*.pth", "*.egg-link", "__editable__*", "*.dist-info/direct_url.json")


def _texts(path: str, seen: dict[str, str]) -> None:
    """A file of dependencies, and those that it includes."""
    if path in seen:
        return
    text = files.read_text(path)
    seen[path] = text or ""
    for name in _INCLUDED.findall(text or ""):
        _texts(os.path.normpath(os.path.join(os.path.dirname(path), name)), seen)


def key(site: Site, interpreter: str, version: str) -> str:
    """A name for everything that an environment is made from."""
    given = site["dependencies"]
    directory = os.path.join(site.code, given["directory"] or "")
    texts: dict[str, str] = {}
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "uv.lock", "poetry.lock", "Pipfile.lock"):
        _texts(os.path.join(directory, name), texts)
    _texts(os.path.join(site.code, given["file"] or os.path.join(directory, "requirements.txt")), texts)
    parts: list[Any] = [interpreter, version, given, site["source"]["package"], site["app_server"], site.interface]
    parts += [site["settings_overlay"], site.cache_kind, (site["database"] or {}).get("engine")]
    parts += [str((site["broker"] or {}).get("url")).partition(":")[0]]
    parts += [site["build"], site["commands"]["before_build"], site["commands"]["after_build"]]
    parts += [sorted((os.path.relpath(path, site.code), text) for path, text in texts.items())]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def whole(site: Site) -> bool:
    """Whether an environment has nothing in it that belongs to the code of its release."""
    needle = site.release.encode()
    for pattern in _LINKS:
        for path in glob.glob(os.path.join(site.venv, "lib", "python*", "site-packages", pattern)):
            with open(path, "rb") as file:
                if needle in file.read():
                    return False
    return True


def make(site: Site, name: str) -> None:
    """Make an empty environment for a release, which lies beside the releases and is named after its key."""
    user = account(site)
    path = os.path.join(site.environments, name[:16])
    number = 1
    while os.path.lexists(path):  # of the same dependencies, and yet not to be shared
        number += 1
        path = "%s-%d" % (os.path.join(site.environments, name[:16]), number)
    os.mkdir(path, 0o750)
    os.chown(path, user.pw_uid, user.pw_gid)
    files.link(os.path.relpath(path, site.release), site.venv)


def take_over(site: Site, name: str) -> str | None:
    """Use the environment of an earlier release with the same key; the id of that, or None where there is none."""
    for release in static.kept(site):
        directory = os.path.join(site.releases, release)
        if release == site.release_id or files.state(directory).get("bad"):
            continue
        target = files.link_target(os.path.join(directory, "venv"))
        if target and os.path.exists(os.path.join(directory, "venv", integrity.DAMAGED)):
            continue
        if target and files.load(directory).get("environment") == name:
            files.link(target, site.venv)
            return release
    return None


def _used(site: Site) -> list[str]:
    """The environment of each release."""
    return [os.path.realpath(one) for one in glob.glob(os.path.join(glob.escape(site.releases), "*", "venv"))]


def shared(site: Site) -> bool:
    """Whether other releases use this environment."""
    return _used(site).count(site.environment) > 1


def prune(site: Site, check_mode: bool = False) -> list[str]:
    """Remove the environments that no release uses."""
    there = {os.path.realpath(one) for one in glob.glob(os.path.join(glob.escape(site.environments), "*"))}
    stray = sorted(there - set(_used(site)))
    for one in stray if not check_mode else []:
        files.remove(one)
    return [
        drift.Action(
            "%s: remove environment %s" % (site.name, os.path.basename(one)),
            drift.entry(one, "absent", "an environment that no release uses", drift.changed(one), site.name),
        )
        for one in stray
    ]
