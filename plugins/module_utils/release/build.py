# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build a fetched release: environment, build commands, byte code; release.json is written last."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import configure, files, integrity, packages, venv
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    account,
    base_environment,
    build_environment,
    check,
    run,
)
from ansible_collections.webstack.django.plugins.module_utils.release.dependencies import Builder
from ansible_collections.webstack.django.plugins.module_utils.release.project import Project
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site, command

_FAILED = "run it by hand in a checkout of the same commit; `build` of the site names the command and its directory"


def build(site: Site, overlay: dict[str, str]) -> list[str]:
    """Build a release; on any failure nothing of it remains."""
    began = time.monotonic()
    try:
        try:
            return _build(site, overlay, began, share=True)
        except ReleaseError:
            # Its commands may want to install something of their own.
            if not _all_commands(site) or not venv.shared(site):
                raise
            files.remove(site.venv)
            return _build(site, overlay, began, share=False)
    finally:
        if files.load(site.release).get("id") != site.release_id:
            files.remove(site.release)
            venv.prune(site)


def _all_commands(site: Site) -> list[Any]:
    return [*site["commands"]["before_build"], *site["build"], *site["commands"]["after_build"]]


def _build(site: Site, overlay: dict[str, str], began: float, share: bool) -> list[str]:
    gid = account(site).pw_gid
    interpreter, version = Builder(site).interpreter()
    name = venv.key(site, interpreter, version)
    venv.prune(site)  # what a run that died left
    taken = venv.take_over(site, name) if share else None
    if not taken:
        venv.make(site, name)
    # Build commands may need the files, links and directories that the settings need.
    configure.apply(site, overlay, check_mode=False)
    builder = Builder(site)
    if taken:
        builder.notes.append("the same dependencies as those of release %s" % taken)
    with packages.present(site, bool(not taken or site["commands"]["before_build"] or site["build"])) as notes:
        _commands(site, site["commands"]["before_build"])
        if not taken:
            builder.install(interpreter)
            run(site, [builder.python, "-m", "compileall", "-q", "-j", "0", site.environment], site.environment, {})
        _commands(site, site["build"])
    project = Project(site)
    for item in site["commands"]["after_build"]:
        project.line("after_build", item)
    # Not with -j: to start more processes takes longer than most projects.
    run(site, [site.python, "-m", "compileall", "-q", site.code], site.code, {})
    configure.seal(site)
    if not taken:
        files.seal(site.environment, gid)
        integrity.note_environment(site)
    environment = name if venv.whole(site) else None
    configure.store_release(site, python=version, built=int(time.time()), environment=environment)
    words = "%s: built release %s with Python %s and %s in %d s" % (
        site.name,
        site.release_id,
        version,
        site["dependencies"]["file"] or site["source"]["package"] or "no dependency file",
        time.monotonic() - began,
    )
    return [words] + ["%s: note: %s" % (site.name, note) for note in builder.notes + notes]


def _commands(site: Site, items: list[Any]) -> None:
    """Shell commands with the environment of a build."""
    environment = build_environment(site)
    own = {**base_environment(site), **site.variables, **configure.release_environment(site, "")}
    environment = {**own, **environment}
    environment["PATH"] = os.path.join(site.venv, "bin") + ":" + environment["PATH"]
    for item in items:
        one = command(item)
        directory = os.path.join(site.code, one["dir"])
        check(site, "build", ["/bin/sh", "-c", one["run"]], directory, environment, _FAILED)
