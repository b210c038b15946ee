# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Switch to a prepared release, and back where it does not serve."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import (
    configure,
    files,
    launchers,
    running,
    static,
)
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    PATH,
    account,
    run,
)
from ansible_collections.webstack.django.plugins.module_utils.release.prepare import prepared
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_COMMAND = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"}


class Activation:
    """One site on its way from the release that serves to the wanted one."""

    def __init__(self, site: Site, sources: dict[str, str], check_mode: bool) -> None:
        self.site = site
        self.check_mode = check_mode
        self.sources = sources
        self.began = time.time()
        self.actions: list[str] = []
        self.digest = site.digest(configure.overlay_files(site, sources))
        self.processes = running.processes(site)

    def _say(self, words: str) -> None:
        self.actions.append("%s: %s" % (self.site.name, words))

    def run(self) -> list[str]:
        """Do all of it; returns what was done."""
        site = self.site
        if self.check_mode and not prepared(site, self.sources):
            self._say("switch to release %s" % site.release_id)
            return self.actions
        serving = _target(site.current)
        switch = serving != site.release_id
        others = [name for name in static.kept(site) if name != site.release_id]
        self.actions += static.publish(site, [site.release_id, *others], self.check_mode)
        if switch:
            self._say("switch to release %s" % site.release_id)
            if not self.check_mode:
                self._switch(serving)
        stale = self._stale()
        known = files.state(site.release).get("activated")
        other_managers = len(self.processes) == 0 and known != self.digest
        whole = switch or (other_managers and bool(site["activate"]))
        restart = bool(stale) or whole
        if restart and self._can_restart():
            self._say("restart (%s)" % ("; ".join(stale.values()) or "new release"))
        if self.check_mode:
            if not restart and running.unhealthy(site, self.processes, patience=2):
                self._say("restart, since the site does not answer")
            return self.actions
        # A worker that does not run is no reason to restart the web server.
        problem = self._restart(None if whole else stale) if restart else None
        problem = problem or running.unhealthy(site, self.processes, None if restart else 5)
        if problem and not restart and self._can_restart():
            self._say("restart (%s)" % problem)
            problem = self._restart() or running.unhealthy(site, self.processes)
        # Those that are not waited for have no say: they may be at work for a while, with the release before.
        problem = problem or next(iter(self._stale(waited=True).values()), None)
        if problem:
            self._back(problem, switched=switch or known is None)
        gid = account(site).pw_gid
        if known != self.digest:
            # Written last: a run that dies before this tries the release again.
            files.update_state(site.release, gid, activated=self.digest, activated_at=time.time(), bad=None)
        return self.actions

    def _switch(self, serving: str | None) -> None:
        site = self.site
        if serving and files.state(os.path.join(site.releases, serving)).get("activated"):
            files.link(os.path.join("releases", serving), site.path("previous"))
        files.link(os.path.join("releases", site.release_id), site.current)

    def _stale(self, waited: bool = False) -> dict[running.Process, str]:
        """The processes that do not run what they should, and why; all of them, or those that are waited for."""
        site = self.site
        wanted = {**site.variables, **configure.release_environment(site, self.digest)}
        if site["processes"]:
            for name in launchers.VARIABLES:  # set by the scripts of the release
                wanted.pop(name, None)
        paths = [site.current, site.environment_path, os.path.join(site.release, "env")]
        found = {}
        for process in self.processes:
            if waited and not process.waited:
                continue
            process.read()
            reason = process.stale(wanted, paths)
            if reason:
                found[process] = reason
        return found

    def _can_restart(self) -> bool:
        """Without the processes there is nothing to restart: the role is used by itself."""
        return bool(self.site["activate"]) and (
            bool(self.processes) or not all(map(running.managed, self.site["activate"]))
        )

    def _restart(self, only: Iterable[running.Process] | None = None) -> str | None:
        """Run the commands that bring the release into the (or only these) processes; what went wrong, or None."""
        if not self._can_restart():
            return None
        known = {(one.manager, one.name) for one in (self.processes if only is None else only)}
        for argv in self.site["activate"]:
            command = list(argv)
            if running.managed(argv):
                named = {name for name in running.names(argv) if (os.path.basename(argv[0]), name) in known}
                if not named:
                    continue
                if only is not None:
                    command = [word for word in argv if word in named or word not in running.names(argv)]
            done = run(self.site, command, "/", _COMMAND, as_root=True)
            if done.status and "--no-block" not in argv:
                return "`%s` failed with status %d%s" % (
                    " ".join(argv),
                    done.status,
                    "; it said:\n" + done.tail() if done.text else "",
                )
        return None

    def _journal(self) -> str:
        words = [text for one in self.processes for text in [one.journal(self.began)] if text and one.waited]
        return "\nIts journal says last:\n" + "\n".join(words) if words else ""

    def _back(self, problem: str, switched: bool) -> None:
        """Put the previous release back, and fail."""
        site = self.site
        journal = self._journal()
        text = "release %s does not serve: %s.%s" % (site.release_id, problem, journal)
        if not switched:
            raise site.error(
                "activate",
                text,
                "this release served before: look at what changed since (env, database, files of the site)",
            )
        gid = account(site).pw_gid
        previous = _target(site.path("previous"))
        if previous and previous != site.release_id and files.load(os.path.join(site.releases, previous)):
            files.link(os.path.join("releases", previous), site.current)
            static.publish(site, [previous, *[one for one in static.kept(site) if one != previous]], check_mode=False)
            back = self._restart() or running.unhealthy(site, self.processes)
            # Written last: a run that dies before this tries the release again, and takes it back for good.
            bad = {"config": self.digest, "reason": site.mask(problem), "time": int(time.time())}
            files.update_state(site.release, gid, bad=bad, activated=None)
            state = "does not answer either: " + back if back else "serves again"
            raise site.error(
                "activate",
                "%s\nThe previous release %s %s." % (text, previous, state),
                "correct the project and deploy again; the same release is refused until its code or configuration changes "
                "(django_app_retry: true tries it again)",
            )
        for one in self.processes:
            run(site, one.stop_command(), "/", _COMMAND, as_root=True)
        files.remove(site.current)
        raise site.error(
            "activate", "%s\nThere is no earlier release to go back to." % text, "correct the cause and run this again"
        )


def _target(link: str) -> str | None:
    found = files.link_target(link)
    return os.path.basename(found.rstrip("/")) if found else None


def refused(site: Site, sources: dict[str, str]) -> dict[str, Any] | None:
    """The note about a release that did not serve with this very configuration."""
    bad = files.state(site.release).get("bad")
    digest = site.digest(configure.overlay_files(site, sources))
    return bad if isinstance(bad, dict) and bad.get("config") == digest else None


def prune(site: Site, check_mode: bool) -> list[str]:
    """Remove releases beyond the number to keep, half-built ones, and static files that nobody has any more."""
    if not os.path.isdir(site.releases):
        return []
    needed = {site.release_id, _target(site.current), _target(site.path("previous"))}
    order = static.kept(site)
    good = [name for name in order if not files.state(os.path.join(site.releases, name)).get("bad")]
    keep = {name for name in needed if name} | set(good[: int(site["keep_releases"])])
    for name in good[::-1]:
        if len(keep & set(good)) <= int(site["keep_releases"]):
            break
        if name not in needed:
            keep.discard(name)
    actions = []
    for name in sorted(os.listdir(site.releases)):
        if name not in keep:
            actions.append("%s: remove release %s" % (site.name, name))
            if not check_mode:
                files.remove(os.path.join(site.releases, name))
    remaining = [name for name in order if name in keep]
    return actions + static.publish(site, remaining, check_mode, prune=True)
