#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: release_apply
short_description: The half of release that runs on the server
version_added: 0.1.0
description:
  - Called by the action plugin P(webstack.django.release#module); not meant to be used by itself.
options:
  step:
    description: What to do.
    type: str
    required: true
    choices: [accounts, probe, fetch, prepare, stage, activate, deploy, unlock, static_missing, static_pack, static_receive, served]
  payload:
    description: The sites with all their secrets, in one value that is never shown; JSON, compressed, in base64.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: full
    description: Shows the actions.
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu with systemd.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
author: webstack.django maintainers (@webstack)
seealso:
  - module: webstack.django.release
"""

EXAMPLES = r"""
- name: Use the action plugin
  webstack.django.release:
    sites: "{{ django_app_sites }}"
    step: fetch
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: always
  sample: ["blog: switch to release 0123456789ab-01234567"]
todo:
  description: Sites that need the next step.
  type: list
  elements: str
  returned: always
switch:
  description: Sites that serve another release than the wanted one, or none.
  type: list
  elements: str
  returned: for V(probe)
"""

import base64
import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.payload import unpack
from ansible_collections.webstack.django.plugins.module_utils.release import (
    accounts,
    activate,
    build,
    compose,
    configure,
    database,
    fetch,
    files,
    integrity,
    lock,
    mirror,
    needs,
    prepare,
)
from ansible_collections.webstack.django.plugins.module_utils.release.commands import locked
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site

_AGAIN = "repair what the message names, and run this again; it goes on where it ended"
_SPACE = "the disk is full: free some space (`df -h`) and run this again"
STEPS = ["accounts", "probe", "fetch", "prepare", "stage", "activate", "deploy", "unlock"]
STEPS += ["static_missing", "static_pack", "static_receive", "served"]


_UNLOCKED = ("probe", "unlock", "static_missing", "static_receive", "served")


class Outcome:
    """What a step came to."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.warnings: list[str] = []
        self.todo: list[str] = []
        self.switch: list[str] = []


class Steps:
    """The steps, for all sites."""

    def __init__(self, payload: dict[str, Any], check_mode: bool) -> None:
        self.sources: dict[str, str] = payload["overlay"]
        self.archives: dict[str, str] = payload.get("archives") or {}
        self.packed: dict[str, str] = payload.get("packed") or {}
        self.listed: dict[str, dict[str, str]] = payload.get("listed") or {}
        self.composed: dict[str, IO[bytes]] = {}
        self.retry = bool(payload.get("retry"))
        self.needs: dict[str, list[str]] = payload.get("needs") or {}
        self.friends = [str(one) for one in payload.get("friends") or []]
        self.outcome = Outcome()  # what is known of it where a step fails
        self.half = bool(payload.get("half"))
        self.migrations: dict[str, list[str]] = payload.get("migrations") or {}
        self.skip = [str(one) for one in payload.get("skip") or []]
        self.who = payload.get("run") or {"id": "", "who": "root", "what": "deploy"}
        self.check_mode = check_mode
        self.wanted: dict[str, str] = {one["name"]: one.get("release_id") or "" for one in payload["sites"]}
        self.sites = []
        for given in payload["sites"]:
            site = Site({**given, "overlay_sources": self.sources})
            if site.release_id and site.present:
                site.release_id = integrity.effective(site, site.release_id)
            if site.release_id:
                site.learn(files.state(site.release).get("facts") or {})
            self.sites.append(site)

    def run(self, step: str) -> Outcome:
        """Run one step for every site that is to be there; all sites are staged before the first one switches."""
        outcome = self.outcome = Outcome()
        if step in ("probe", "fetch", "stage", "deploy"):
            self._look(outcome)
        if self.needs:
            self._see(outcome)
        self._compose_all()
        for one in ("stage", "activate") if step == "deploy" else (step,):
            self._step(one, outcome)
        return outcome

    def _look(self, outcome: Outcome) -> None:
        """A release that was changed on the server is built anew, under another id; one at which another run is, is not judged."""
        for site in self.sites:
            if not site.present or not os.path.isdir(site.releases):
                continue
            with lock.idle(site) as free:
                if not free:
                    continue
                outcome.actions += integrity.look(site, self.check_mode)
                if not self.check_mode:
                    site.release_id = integrity.effective(site, self.wanted[site.name])

    def _see(self, outcome: Outcome) -> None:
        try:
            needs.see([site for site in self.sites if site.present], self.needs)
        except needs.Lacking as error:
            if not self.check_mode:
                raise
            outcome.actions.append("would set up: %s" % error)

    def _step(self, step: str, outcome: Outcome) -> None:
        method = getattr(self, "_" + step)
        for site in self.sites:
            if self.check_mode or step in _UNLOCKED:
                method(site, outcome)
                continue
            with lock.during(site, self.who, step) if site.present else locked(site):
                self._attempt(step, method, site, outcome)
            if step == "activate":
                lock.free(site, self.who)

    def _attempt(self, step: str, method: Callable[[Site, Outcome], None], site: Site, outcome: Outcome) -> None:
        try:
            method(site, outcome)
        except OSError as error:
            advice = _SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else _AGAIN
            raise site.error(step, str(error), advice) from error

    def _unlock(self, site: Site, _outcome: Outcome) -> None:
        if not self.check_mode:
            lock.free(site, self.who)

    def _accounts(self, site: Site, outcome: Outcome) -> None:
        if site.present:
            outcome.warnings += database.same(site)
            outcome.actions += accounts.create(site, self.check_mode, self.friends)
        else:
            outcome.actions += accounts.remove(site, self.check_mode)

    def _probe(self, site: Site, outcome: Outcome) -> None:
        if not site.present:
            return
        if files.target_name(site.current) != site.release_id:
            outcome.switch.append(site.name)
        if not fetch.complete(site):
            outcome.todo.append(site.name)
            return
        self._refuse(site)

    def _refuse(self, site: Site) -> None:
        """Fail for a built release that did not serve."""
        bad = activate.refused(site, self.sources)
        if bad and not self.retry:
            raise site.error(
                "fetch",
                "release %s did not serve before (%s), and neither its code nor its configuration has changed since"
                % (site.release_id, bad.get("reason")),
                "correct the project and deploy its new commit, change the site's configuration, or try the same release "
                "again with django_app_retry: true",
            )

    def _fetch(self, site: Site, outcome: Outcome) -> None:
        if not site.present:
            return
        outcome.warnings += database.same(site)
        outcome.actions += configure.environment(site, self.check_mode)
        if fetch.complete(site):
            self._refuse(site)
            return
        outcome.todo.append(site.name)
        if self.check_mode:
            words = "%s: would deploy release %s" % (site.name, site.release_id)
            found = "only half of it" if fetch.half_built(site) else "missing"
            outcome.actions.append(
                drift.Action(words, drift.entry(site.release, "the release is built", found, site=site.name))
            )
            if site["migrate"] and os.path.isdir(site.current):
                known = os.path.join(site.current, "code")
                new = [
                    one for one in self.migrations.get(site.name) or [] if not os.path.exists(os.path.join(known, one))
                ]
                outcome.actions += [
                    drift.Action(
                        "%s: would migrate %s" % (site.name, one),
                        drift.entry("migration %s" % one, "applied", "new in this release", site=site.name),
                    )
                    for one in new
                ]
            return
        with self._archive(site) as archive:
            outcome.actions += fetch.fetch(site, archive)
        lock.take(site, self.who, "build")
        outcome.actions += build.build(site, self.sources)

    @contextlib.contextmanager
    def _archive(self, site: Site) -> Iterator[str | None]:
        """The file of the code, which came with the sites or before them."""
        if site.name not in self.packed:
            yield self.archives.get(site.name)
            return
        if site.name in self.listed:
            with self.composed.pop(site.name, None) or self._compose(site) as whole:
                yield "/proc/self/fd/%d" % whole.fileno()
            return
        with tempfile.NamedTemporaryFile(prefix="webstack-") as file:
            file.write(base64.b64decode(self.packed[site.name]))
            file.flush()
            yield file.name

    def _compose(self, site: Site) -> IO[bytes]:
        return compose.compose(site, self.packed[site.name], self.listed[site.name])

    def _compose_all(self) -> None:
        """Before anything else: where files are missing, all of the code has to come, and nothing was done."""
        incomplete = []
        for site in self.sites:
            if site.name in self.listed and site.present and not fetch.complete(site):
                try:
                    self.composed[site.name] = self._compose(site)
                except compose.Incomplete:
                    incomplete.append(site.name)
        if incomplete:
            raise compose.Incomplete(incomplete)

    def _stage(self, site: Site, outcome: Outcome) -> None:
        self._fetch(site, outcome)
        if site.present and not self.check_mode:
            lock.take(site, self.who, "prepare")
        self._prepare(site, outcome)

    def _prepare(self, site: Site, outcome: Outcome) -> None:
        if not site.present:
            return
        if not fetch.complete(site):
            if not self.check_mode:
                raise site.error("prepare", "release %s is not built" % site.release_id, "run the step fetch first")
            outcome.actions.append(
                drift.Action(
                    "%s: would prepare release %s" % (site.name, site.release_id),
                    drift.entry(site.release, "the release is prepared", "not yet", site=site.name),
                )
            )
            return
        actions, warnings = prepare.prepare(site, self.sources, self.check_mode, self.skip, self.half)
        outcome.actions += actions
        outcome.warnings += warnings

    def _activate(self, site: Site, outcome: Outcome) -> None:
        if not site.present:
            return
        if not fetch.complete(site):
            if not self.check_mode:
                raise site.error("activate", "release %s is not built" % site.release_id, "run the step fetch first")
            outcome.actions.append(activate.to_switch(site, "%s: would switch to release %s"))
            return
        activation = activate.Activation(site, self.sources, self.check_mode)
        outcome.actions += activation.run()
        outcome.actions += activate.prune(site, self.check_mode)
        if activation.what:
            lock.audit(site, lock.current(site), "ok", what=activation.what)

    def _static_missing(self, site: Site, outcome: Outcome) -> None:
        if mirror.missing(site):
            outcome.todo.append(site.name)

    def _static_pack(self, site: Site, outcome: Outcome) -> None:
        target = self.archives.get(site.name)
        if target and mirror.pack(site, target):
            outcome.todo.append(site.name)

    def _static_receive(self, site: Site, outcome: Outcome) -> None:
        outcome.actions += mirror.receive(site, self.archives.get(site.name), self.check_mode)

    def _served(self, site: Site, outcome: Outcome) -> None:
        outcome.actions += mirror.served_now(site, self.check_mode)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "step": {
                "type": "str",
                "required": True,
                "choices": STEPS,
            },
            "payload": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    step = module.params["step"]
    invocation = {"module_args": {"step": step}}
    steps = Steps(unpack(module.params["payload"]), module.check_mode)
    try:
        outcome = steps.run(step)
    except lock.Held as error:
        module.fail_json(msg=str(error), held=error.lock, invocation=invocation)
    except compose.Incomplete as error:
        module.fail_json(msg=str(error), incomplete=error.sites, invocation=invocation)
    except needs.Lacking as error:
        module.fail_json(msg=str(error), lacks=error.lacks, invocation=invocation)
    except ReleaseError as error:
        module.fail_json(msg=str(error), drift=drift.of(steps.outcome.actions), invocation=invocation)
    except (KeyError, ValueError) as error:
        words = "the step %s ended with %s: %s" % (step, type(error).__name__, error)
        for site in steps.sites:
            words = site.mask(words)
        module.fail_json(msg=words, invocation=invocation)
    for words in outcome.warnings:
        module.warn(words)
    shown = "\n".join(outcome.actions)
    module.exit_json(
        changed=bool(outcome.actions) and step != "probe",
        actions=outcome.actions,
        drift=drift.of(outcome.actions) if step != "probe" else [],
        todo=outcome.todo,
        switch=outcome.switch,
        diff={"prepared": shown + "\n"} if shown else {},
        invocation=invocation,
    )


if __name__ == "__main__":
    main()
