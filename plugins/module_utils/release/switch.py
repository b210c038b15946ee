# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turn a site to one of its releases, and bring that into its processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ansible_collections.webstack.django.plugins.module_utils.release import files, running, served, static
from ansible_collections.webstack.django.plugins.module_utils.release.commands import PATH, run
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

COMMAND = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"}


def turn(site: Site, name: str) -> None:
    """Make a release the one that serves, and note the one before it if that has served."""
    serving = files.target_name(site.current)
    if serving and serving != name and files.state(os.path.join(site.releases, serving)).get("activated"):
        files.link(os.path.join("releases", serving), site.path("previous"))
    files.link(os.path.join("releases", name), site.current)


def can_restart(site: Site, processes: Sequence[running.Process]) -> bool:
    """Without the processes there is nothing to restart: the role is used by itself."""
    return bool(site["activate"]) and (bool(processes) or not all(map(running.managed, site["activate"])))


def restart(
    site: Site, processes: Sequence[running.Process], only: Iterable[running.Process] | None = None
) -> str | None:
    """Run the commands that bring the release into the (or only these) processes; what went wrong, or None."""
    if not can_restart(site, processes):
        return None
    known = {(one.manager, one.name) for one in (processes if only is None else only)}
    for argv in site["activate"]:
        command = list(argv)
        if running.managed(argv):
            named = {name for name in running.names(argv) if (os.path.basename(argv[0]), name) in known}
            if not named:
                continue
            if only is not None:
                command = [word for word in argv if word in named or word not in running.names(argv)]
        done = run(site, command, "/", COMMAND, as_root=True)
        if done.status and "--no-block" not in argv:
            return "`%s` failed with status %d%s" % (
                " ".join(argv),
                done.status,
                "; it said:\n" + done.tail() if done.text else "",
            )
    return None


def go(site: Site, name: str, processes: Sequence[running.Process]) -> str | None:
    """Turn to a release that has served before; what is wrong with it, or None."""
    static.publish(site, [name, *[one for one in static.kept(site) if one != name]], check_mode=False)
    turn(site, name)
    problem = restart(site, processes) or running.unhealthy(site, processes, release=name)
    if not problem:
        served.note(site, name)
    return problem
