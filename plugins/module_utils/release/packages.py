# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of the distribution that only a build needs: there for the build, gone after it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import PATH, Result, failed, run
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

STATE = "/var/lib/webstack/build-packages"
_APT = ["apt-get", "--yes", "--quiet", "-o", "DPkg::Lock::Timeout=300"]


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PATH": PATH,
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
        "NEEDRESTART_SUSPEND": "1",
    }


def _apt(site: Site, *words: str) -> Result:
    return run(site, [*_APT, *words], "/", _environment(), as_root=True)


def installed() -> set[str]:
    """Names of the packages that are installed."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.split()[-1] for line in done.stdout.splitlines() if line.startswith("ii ")}


@contextlib.contextmanager
def present(site: Site) -> Iterator[list[str]]:
    """Install the build packages of a site, and remove those that were not there before.

    What is to be removed is on disk before anything is installed, so a killed run is tidied by the next.
    """
    path = os.path.join(STATE, site.name + ".json")
    before = installed()
    leftover = json.loads(files.read_text(path) or "null")
    if leftover is not None:
        before = set(leftover)
    wanted = [name for name in site["packages"]["build"] if name not in installed()]
    notes: list[str] = []
    if not wanted and leftover is None:
        yield notes
        return
    os.makedirs(STATE, mode=0o755, exist_ok=True)
    if leftover is None:
        files.write(path, json.dumps(sorted(before)), mode=0o600)
    try:
        if wanted:
            _install(site, wanted)
        yield notes
    finally:
        gone = sorted(installed() - before - _runtime(site))
        if gone:
            done = _apt(site, "remove", "--purge", *gone)
            if done.status:
                notes.append("the build packages %s could not be removed: %s" % (", ".join(gone), done.tail(3).strip()))
        os.unlink(path)


def _install(site: Site, wanted: list[str]) -> None:
    words = ["install", "--no-install-recommends", *wanted]
    done = _apt(site, *words)
    if done.status:
        # The lists may be old, or not there at all.
        _apt(site, "update")
        done = _apt(site, *words)
    if done.status:
        raise failed(site, "build", [*_APT, *words], done, "check packages.build of the site and the package mirrors")


def _runtime(site: Site) -> set[str]:
    """Packages of the libraries that the built extension modules are linked with."""
    libraries: set[str] = set()
    for base, _directories, names in os.walk(site.venv):
        for name in names:
            if re.search(r"\.so(\.\d+)*$", name):
                # ldd may run what it is given: as the site's user, like the build itself.
                shown = run(site, ["ldd", os.path.join(base, name)], "/", {"PATH": PATH})
                libraries.update(re.findall(r"=> (/\S+)", shown.text))
    libraries = {one for one in libraries if not one.startswith(site.root + "/")}
    if not libraries:
        return set()
    both = sorted(libraries | {os.path.realpath(one) for one in libraries} | {"/usr" + one for one in libraries})
    done = subprocess.run(["dpkg-query", "--search", *both], capture_output=True, text=True, check=False)
    return {name.split(":")[0] for line in done.stdout.splitlines() for name in line.split(": ")[0].split(", ")}
