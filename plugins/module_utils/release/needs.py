# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a server is set up for releases: a commit may bring processes (in its Procfile), and need packages."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.webstack.django.plugins.module_utils import site_parts
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


class Lacking(Exception):
    """A server lacks something that a run of the roles brings; ``lacks`` are the names of it."""

    def __init__(self, lacks: dict[str, list[str]]) -> None:
        words = ["%s: %s" % (kind, ", ".join(names)) for kind, names in lacks.items() if names]
        super().__init__("this server is not set up for the release yet (%s)" % "; ".join(words))
        self.lacks = lacks


def known(sites: Iterable[str], root: str = "/") -> set[str]:
    """Names of the processes of some sites that are set up here."""
    return {one.name for site in sites for one in site_parts.processes(site, root)}


def _installed(packages: Sequence[str]) -> set[str]:
    argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return {line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith("installed ")}


def _made(site: Site) -> bool:
    """Whether the account and the directories of a site are there."""
    try:
        pwd.getpwnam(site.user)
    except KeyError:
        return False
    below = [site.path("public"), site.path("shared"), site.settings_directory, site.cache]
    return all(map(os.path.isdir, [site.releases, site.environments, *below]))


def see(sites: Sequence[Site], wanted: Mapping[str, Sequence[str]]) -> None:
    """See that a server has what is wanted.

    Args:
        sites: the sites.
        wanted: names of the ``processes`` of these sites, all of them, and of ``packages``.

    Raises:
        ReleaseError: the server does not know a site at all.
        Lacking: it lacks something, or has a process that is not wanted any more.
    """
    here = known(site.name for site in sites)
    for site in sites:
        if site.name + "-web" not in here or not _made(site):
            text = "it is not set up on this server"
            raise site.error("deploy", text, "set it up first: ansible-playbook webstack.django.site")
    packages = wanted.get("packages") or []
    lacks = {
        "processes": sorted(here ^ set(wanted.get("processes") or [])),
        "packages": sorted(set(packages) - _installed(packages)) if packages else [],
    }
    if any(lacks.values()):
        raise Lacking(lacks)
