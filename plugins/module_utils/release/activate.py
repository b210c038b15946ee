# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Switch to a prepared release, and back where it does not serve."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import (
    configure,
    files,
    integrity,
    launchers,
    running,
    served,
    static,
    trial,
    venv,
)
from ansible_collections.webstack.django.plugins.module_utils.release.commands import account, run
from ansible_collections.webstack.django.plugins.module_utils.release.prepare import prepared
from ansible_collections.webstack.django.plugins.module_utils.release.project import Project
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site, command
from ansible_collections.webstack.django.plugins.module_utils.release.switch import (
    COMMAND,
    can_restart,
    go,
    restart,
    turn,
)

# What a way back needs to know of a release, which no secret is among.
WAY = ("user", "group", "app_server", "processes", "activate", "health", "static", "keep_releases")
_RUNS = "runs this release with this configuration"
_CORRECT = (
    "correct the project and deploy again; the same release is refused until its code or configuration changes "
    "(django_app_retry: true tries it again)"
)
_WHAT_CHANGED = "this release served before: look at what changed since (env, database, files of the site)"
_SERVING = {
    "before_switch": "the old release keeps serving",
    "after_switch": "the new release serves; the next run repeats this command",
}


def to_switch(site: Site, words: str) -> drift.Action:
    """The switch to the wanted release, as an action."""
    serving = files.link_target(site.current)
    since = drift.changed(site.current) if serving else None
    wanted = "link to releases/" + site.release_id
    differs = drift.entry(site.current, wanted, "link to " + serving if serving else "missing", since, site.name)
    return drift.Action(words % (site.name, site.release_id), differs)


class Activation:
    """One site on its way from the release that serves to the wanted one."""

    def __init__(self, site: Site, sources: dict[str, str], check_mode: bool) -> None:
        self.site = site
        self.check_mode = check_mode
        self.sources = sources
        self.began = time.time()
        self.actions: list[str] = []
        self.what = ""  # for the log: deploy, or restart with another configuration
        self.digest = site.digest(configure.overlay_files(site, sources))
        self.processes = running.processes(site)

    def _say(self, words: str, *differs: dict[str, Any]) -> None:
        self.actions.append(drift.Action("%s: %s" % (self.site.name, words), *differs))

    def run(self) -> list[str]:
        """Do all of it; returns what was done."""
        site = self.site
        if self.check_mode and not prepared(site, self.sources):
            self.actions.append(to_switch(site, "%s: switch to release %s"))
            return self.actions
        serving = files.target_name(site.current)
        switch = serving != site.release_id
        known = files.state(site.release).get("activated")
        if not self.check_mode and (switch or known != self.digest) and trial.possible(site):
            problem = trial.unfit(site)
            if problem:
                self._unfit(problem, serving)
        if switch and not self.check_mode:
            self._commands("before_switch")
        others = [name for name in static.kept(site) if name != site.release_id]
        self.actions += static.publish(site, [site.release_id, *others], self.check_mode)
        if switch:
            self.actions.append(to_switch(site, "%s: switch to release %s"))
            if not self.check_mode:
                turn(site, site.release_id)
        stale = self._stale()
        other_managers = len(self.processes) == 0 and known != self.digest
        whole = switch or (other_managers and bool(site["activate"]))
        again = bool(stale) or whole
        if again and can_restart(site, self.processes):
            differs = [drift.entry(one.name, _RUNS, why, site=site.name) for one, why in stale.items()]
            self._say("restart (%s)" % ("; ".join(stale.values()) or "new release"), *differs)
        if not switch and served.differs(site, site.release_id):
            now = site.path("served", "now")
            self._say("write " + now, drift.entry(now, "leads to the release", "not so", drift.changed(now), site.name))
        if self.check_mode:
            problem = None if again else running.unhealthy(site, self.processes, patience=2)
            if problem:
                answers = drift.entry("site %s" % site.name, "answers", site.mask(problem), site=site.name)
                self._say("restart, since the site does not answer", answers)
            return self.actions
        # A worker that does not run is no reason to restart the web server.
        problem = restart(site, self.processes, None if whole else stale) if again else None
        problem = problem or running.unhealthy(site, self.processes, None if again else 5)
        if problem and not again and can_restart(site, self.processes):
            self._say("restart (%s)" % problem)
            problem = restart(site, self.processes) or running.unhealthy(site, self.processes)
        # Those that are not waited for have no say: they may be at work for a while, with the release before.
        problem = problem or next(iter(self._stale(waited=True).values()), None)
        if problem:
            self._back(problem, switched=switch or known is None)
        served.note(site, site.release_id)
        gid = account(site).pw_gid
        # Again where a run died before their end.
        if switch or files.state(site.release).get("activated") is None:
            self._commands("after_switch")
        if switch or again:
            self.what = "deploy" if switch else "restart"
        if switch or known != self.digest or files.state(site.release).get("bad"):
            # Written last: a run that dies before this tries the release again.
            when, way = time.time(), {key: site.data[key] for key in WAY}
            files.update_state(site.release, gid, activated=self.digest, activated_at=when, way=way, bad=None)
        return self.actions

    def _commands(self, name: str) -> None:
        """The user's commands at one place."""
        if not self.site["commands"][name]:
            return
        project = Project(self.site)
        for item in self.site["commands"][name]:
            project.line(name, item, _SERVING[name])
            self._say("%s: %s" % (name, self.site.mask(command(item)["run"])))

    def _stale(self, waited: bool = False) -> dict[running.Process, str]:
        """The processes that do not run what they should, and why; all of them, or those that are waited for."""
        site = self.site
        wanted = {**site.variables, **configure.release_environment(site, self.digest)}
        if site["processes"]:
            for name in (*launchers.VARIABLES, *site.pooled):  # set by the scripts of the release
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

    def _journal(self) -> str:
        words = [text for one in self.processes for text in [one.journal(self.began)] if text and one.waited]
        return "\nIts journal says last:\n" + "\n".join(words) if words else ""

    def _bad(self, reason: str) -> dict[str, Any]:
        """The note about a release that does not serve."""
        return {"config": self.digest, "reason": self.site.mask(reason), "time": int(time.time())}

    def _unfit(self, problem: str, serving: str | None) -> None:
        """Fail, before anything was changed."""
        site = self.site
        if serving != site.release_id:
            files.update_state(site.release, account(site).pw_gid, bad=self._bad(problem.splitlines()[0]))
        raise site.error(
            "activate",
            "release %s does not serve: %s\n%s"
            % (
                site.release_id,
                problem,
                "It was tried beside release %s, which goes on serving." % serving
                if serving
                else "No release of this site serves yet.",
            ),
            _CORRECT if serving != site.release_id else _WHAT_CHANGED,
        )

    def _back(self, problem: str, switched: bool) -> None:
        """Put the previous release back, and fail."""
        site = self.site
        journal = self._journal()
        text = "release %s does not serve: %s.%s" % (site.release_id, problem, journal)
        if not switched:
            raise site.error(
                "activate",
                text,
                _WHAT_CHANGED,
            )
        gid = account(site).pw_gid
        previous = files.target_name(site.path("previous"))
        if previous and previous != site.release_id and files.load(os.path.join(site.releases, previous)):
            back = go(site, previous, self.processes)
            # Written last: a run that dies before this tries the release again, and takes it back for good.
            files.update_state(site.release, gid, bad=self._bad(problem), activated=None)
            state = "does not answer either: " + back if back else "serves again"
            raise site.error(
                "activate",
                "%s\nThe previous release %s %s." % (text, previous, state),
                _CORRECT,
            )
        for one in self.processes:
            run(site, one.stop_command(), "/", COMMAND, as_root=True)
        files.remove(site.current)
        raise site.error(
            "activate", "%s\nThere is no earlier release to go back to." % text, "correct the cause and run this again"
        )


def refused(site: Site, sources: dict[str, str]) -> dict[str, Any] | None:
    """The note about a release that did not serve with this very configuration."""
    bad = files.state(site.release).get("bad")
    digest = site.digest(configure.overlay_files(site, sources))
    return bad if isinstance(bad, dict) and bad.get("config") == digest else None


def prune(site: Site, check_mode: bool) -> list[str]:
    """Remove releases beyond the number to keep, half-built ones, and static files that nobody has any more."""
    if not os.path.isdir(site.releases):
        return []
    needed = {site.release_id, files.target_name(site.current), files.target_name(site.path("previous"))}
    previous = files.target_name(site.path("previous"))
    for name in static.kept(site):
        directory = os.path.join(site.releases, name)
        if name != files.target_name(site.current) and integrity.damaged(directory) and not check_mode:
            files.remove(directory)  # nobody is to go back to it
            if name == previous:
                files.remove(site.path("previous"))
    order = static.kept(site)
    good = [name for name in order if not files.state(os.path.join(site.releases, name)).get("bad")]
    keep = {name for name in needed if name} | set(good[: int(site["keep_releases"])])
    for name in good[::-1]:
        if len(keep & set(good)) <= int(site["keep_releases"]):
            break
        if name not in needed:
            keep.discard(name)
    actions: list[str] = []
    for name in sorted(os.listdir(site.releases)):
        if name not in keep:
            path = os.path.join(site.releases, name)
            gone = drift.entry(path, "absent", "a release beyond those that are kept", drift.changed(path), site.name)
            actions.append(drift.Action("%s: remove release %s" % (site.name, name), gone))
            if not check_mode:
                files.remove(os.path.join(site.releases, name))
    actions += venv.prune(site, check_mode)
    remaining = [name for name in order if name in keep]
    return actions + static.publish(site, remaining, check_mode, prune=True)
