# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Go back to a release that is still there. Nothing but the host itself is asked: no inventory, no repository."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files, running, static, switch, trial
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

STEP = "rollback"


class Rollback:
    """A site on its way back."""

    def __init__(self, name: str, wanted: str, retry: bool, check_mode: bool) -> None:
        self.site = Site({"name": name})
        self.check_mode = check_mode
        self.actions: list[str] = []
        self.serving = files.target_name(self.site.current) or ""
        if not self.serving:
            raise self.site.error(STEP, "no release of it serves here", "deploy it first")
        self.target = self._find(wanted, retry)
        self._known()

    def _state(self, name: str) -> dict[str, Any]:
        return files.state(os.path.join(self.site.releases, name))

    def _find(self, wanted: str, retry: bool) -> str:
        """The release that is meant."""
        site = self.site
        names = [name for name in static.kept(site) if name != self.serving and self._state(name).get("way")]
        shown = "; ".join(self._described(name) for name in names) or "none"
        if wanted:
            found = [name for name in [*names, self.serving] if name.startswith(wanted)]
            if len(found) != 1:
                words = "%r names %s of the releases that served and are still there"
                count = "more than one" if found else "none"
                raise site.error(STEP, words % (wanted, count), "name one of: " + shown)
            name = found[0]
        else:
            when = float(self._state(self.serving).get("activated_at") or time.time())
            older = [
                name
                for name in names
                if not self._state(name).get("bad") and float(self._state(name).get("activated_at") or 0) < when
            ]
            if not older:
                raise site.error(
                    STEP, "no release that served before %s is there" % self.serving, "there is: %s" % shown
                )
            name = older[0]
        bad = self._state(name).get("bad")
        if bad and not retry:
            raise site.error(
                STEP,
                "release %s did not serve before: %s" % (name, bad.get("reason")),
                "name another one (%s), or try it again with -e django_app_retry=true" % shown,
            )
        return name

    def _described(self, name: str) -> str:
        when = time.gmtime(float(self._state(name).get("activated_at") or 0))
        return "%s (served since %s)" % (name, time.strftime("%Y-%m-%d %H:%M UTC", when))

    def _known(self) -> None:
        """Become the wanted release; what runs its processes is what runs them now."""
        site = self.site
        new, old = self._state(self.target).get("way") or {}, self._state(self.serving).get("way") or {}
        before, after = (files.load(os.path.join(site.releases, one)) for one in (self.target, self.serving))
        same = new.get("app_server") == old.get("app_server")
        if not same or before.get("database") != after.get("database"):
            what = "database" if same else "application server"
            raise site.error(
                STEP,
                "release %s was made for another %s" % (self.target, what),
                "set `version` (and `%s`) of the site to what it was, and run the site playbook"
                % ("database" if same else "app_server"),
            )
        wanted = {**new, **{key: old[key] for key in ("activate", "health") if key in old}}
        self.site = Site({**wanted, "name": site.name, "release_id": self.target})

    def between(self) -> list[str]:
        """Migrations that the release that serves knows, and the wanted one does not."""
        known = [self._state(name).get("migrations") for name in (self.serving, self.target)]
        return [] if None in known else sorted(set(known[0] or []) - set(known[1] or []))

    def run(self) -> list[str]:
        """Go there, and back again where it does not serve; returns what was done."""
        site = self.site
        if self.target == self.serving:
            return []
        names = self.between()
        if names:
            words = "%s: %d migrations stand between and stay applied: %s; release %s has to do with their tables"
            self.actions.append(words % (site.name, len(names), ", ".join(names), self.target))
        self.actions.append("%s: go back from release %s to %s" % (site.name, self.serving, self.target))
        if self.check_mode:
            return self.actions
        problem = trial.unfit(site) if trial.possible(site) else None
        if problem:
            raise site.error(
                STEP,
                "release %s does not serve: %s" % (self.target, problem),
                "%s goes on serving; name another release" % self.serving,
            )
        processes = running.processes(site)
        problem = switch.go(site, self.target, processes)
        if problem:
            back = switch.go(site, self.serving, processes)
            state = "does not answer either: " + back if back else "serves again"
            raise site.error(
                STEP,
                "release %s does not serve: %s" % (self.target, problem),
                "release %s %s; name another release" % (self.serving, state),
            )
        return self.actions
