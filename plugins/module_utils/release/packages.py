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


def _missing(site: Site, words: list[str]) -> list[str]:
    """Names of the packages that an installation would add, with all that they need."""
    shown = _apt(site, "--simulate", *words)
    return re.findall(r"^Inst (\S+) \(", shown.text, re.MULTILINE)  # an upgrade shows the old version first


@contextlib.contextmanager
def present(site: Site, needed: bool = True) -> Iterator[list[str]]:
    """Install the build packages of a site if they are needed, and remove those that were not there before.

    What is to be removed is on disk before anything is installed, so a killed run is tidied by the next. Packages
    that come to the host in between for another reason are not among it.
    """
    path = os.path.join(STATE, site.name + ".json")
    wanted = [name for name in site["packages"]["build"] if name not in installed()] if needed else []
    added: list[str] = json.loads(files.read_text(path) or "[]")
    notes: list[str] = []
    if not wanted and not added:
        yield notes
        return
    try:
        if wanted:
            _install(site, wanted, path, added)
        yield notes
    finally:
        gone = sorted((set(added) & installed()) - _runtime(site))
        if gone:
            done = _apt(site, "remove", "--purge", *gone)
            if done.status:
                notes.append("the build packages %s could not be removed: %s" % (", ".join(gone), done.tail(3).strip()))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _install(site: Site, wanted: list[str], path: str, added: list[str]) -> None:
    """Install packages; what comes with them is added to ``added``, and noted in a file before it comes."""
    words = ["install", "--no-install-recommends", *wanted]

    def attempt() -> Result:
        added.extend(name for name in _missing(site, words) if name not in added)
        os.makedirs(STATE, mode=0o755, exist_ok=True)
        files.write(path, json.dumps(added), mode=0o600)
        return _apt(site, *words)

    done = attempt()
    if done.status:
        # The lists may be old, or not there at all.
        _apt(site, "update")
        done = attempt()
    if done.status:
        raise failed(site, "build", [*_APT, *words], done, "check packages.build of the site and the package mirrors")


def _runtime(site: Site) -> set[str]:
    """Packages of the libraries that the built extension modules are linked with, and those that run needs anyway."""
    libraries: set[str] = set()
    named = set(site["packages"]["run"])
    for base, _directories, names in os.walk(site.venv):
        for name in names:
            if re.search(r"\.so(\.\d+)*$", name):
                # ldd may run what it is given: as the site's user, like the build itself.
                shown = run(site, ["ldd", os.path.join(base, name)], "/", {"PATH": PATH})
                libraries.update(re.findall(r"=> (/\S+)", shown.text))
    libraries = {one for one in libraries if not one.startswith(site.root + "/")}
    if not libraries:
        return named
    both = sorted(libraries | {os.path.realpath(one) for one in libraries} | {"/usr" + one for one in libraries})
    done = subprocess.run(["dpkg-query", "--search", *both], capture_output=True, text=True, check=False)
    return named | {name.split(":")[0] for line in done.stdout.splitlines() for name in line.split(": ")[0].split(", ")}
