# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same dependencies are not installed twice: the environment of an earlier release becomes that of the next one.

Its files are hard links, which belong to root and are written by nobody. What holds the path of the release (scripts)
is copied with the new one; an environment that holds it elsewhere, such as in a link to the code, is not taken over.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files, static
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)", re.MULTILINE)
_ELF = b"\x7fELF"
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


def take_over(site: Site, name: str) -> str | None:
    """Make the environment from that of an earlier release with the same key; its id, or None where there is none."""
    for release in static.kept(site):
        directory = os.path.join(site.releases, release)
        if release == site.release_id or files.state(directory).get("bad"):
            continue
        if files.load(directory).get("environment") == name:
            _link(site, directory)
            return release
    return None


def _link(site: Site, directory: str) -> None:
    user = account(site)
    old, new = directory.encode(), site.release.encode()
    top = os.path.join(directory, "venv")
    for base, directories, names in os.walk(top):
        target = os.path.normpath(os.path.join(site.venv, os.path.relpath(base, top)))
        if target != site.venv:
            os.mkdir(target, 0o750)
        os.chown(target, user.pw_uid, user.pw_gid)
        copied = base == top or os.path.basename(base) == "bin"
        for entry in [*names, *(one for one in directories if os.path.islink(os.path.join(base, one)))]:
            source, path = os.path.join(base, entry), os.path.join(target, entry)
            if os.path.islink(source):
                os.symlink(os.readlink(source), path)
            elif not copied or not _copy(source, path, old, new, user.pw_gid):
                os.link(source, path)


def _copy(source: str, path: str, old: bytes, new: bytes, gid: int) -> bool:
    """Copy a script that names its release; False where it does not."""
    with open(source, "rb") as file:
        content = file.read()
    if content.startswith(_ELF) or old not in content:
        return False
    with open(path, "xb") as file:
        file.write(content.replace(old, new))
        os.fchown(file.fileno(), 0, gid)
        os.fchmod(file.fileno(), os.stat(source).st_mode & 0o777)
    return True
