# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run of Ansible at a time deploys a site: who holds it, since when, and what became of it, for everybody to read.

The lock spans the tasks of a run, so that it is a file and no lock of a process; it lies in /run, which a boot clears.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import locked
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

DIRECTORY = "/run"
LOG = "/var/log/webstack"
LOST = 600  # seconds after which a run that does nothing any more is given up
_ADVICE = (
    "wait until it has ended. If that run is dead, the site is free %d minutes after its last step; free it at once with "
    "-e django_app_unlock=true" % (LOST // 60)
)


class Held(Exception):
    """Another run holds the site; ``lock`` is what it wrote."""

    def __init__(self, words: str, lock: dict[str, Any]) -> None:
        super().__init__(words)
        self.lock = lock


def path(name: str) -> str:
    """Where the lock of a site lies."""
    return os.path.join(DIRECTORY, "webstack-deploy-%s.json" % name)


def log(name: str) -> str:
    """Where the log of a site lies."""
    return os.path.join(LOG, name + "-deploys.jsonl")


def current(site: Site) -> dict[str, Any]:
    """What the lock of a site says now; empty where nobody has it."""
    return files.load(DIRECTORY, os.path.basename(path(site.name)))


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    fd = os.open(path(site.name) + ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def idle(site: Site) -> Iterator[bool]:
    """Whether no step of a run is under way; where that is so, none begins before the end."""
    try:
        fd = os.open(os.path.join(DIRECTORY, "webstack-%s.lock" % site.name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield True  # nobody was ever at work
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(fd)


def take(site: Site, run: dict[str, Any], step: str) -> dict[str, Any]:
    """Take the site for a run, or note its next step.

    Args:
        site: the site.
        run: ``id`` and ``who`` of the run, ``what`` it does, ``over``: the id of a run that is known to be dead (``*``:
            of any).
        step: what it does now.

    Raises:
        Held: another run has the site.
    """
    with _alone(site):
        now = time.time()
        known = current(site)
        if known and known.get("id") != run["id"]:
            quiet = now - float(known.get("touched") or 0)
            with idle(site) as free:
                if run.get("over") not in ("*", known.get("id")) and (quiet < LOST or not free):
                    raise Held(_words(site, known, now), known)
            audit(site, known, "interrupted", "the run ended without a word")
            known = {}
        if not known:
            known = {"id": run["id"], "who": run["who"], "what": run["what"], "since": now}
            known["from"] = files.target_name(site.current) or ""
        known.update(step=step, touched=now, to=site.release_id)
        files.write(path(site.name), json.dumps(known, sort_keys=True) + "\n", mode=0o644)
        return known


def _words(site: Site, known: dict[str, Any], now: float) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(known.get("since") or now)))
    ago = max(0, int(now - float(known.get("touched") or now)))
    words = "%s has been at it since %s; the last step was %s, begun %d seconds ago"
    return str(site.error("lock", words % (known.get("who"), clock, known.get("step"), ago), _ADVICE))


def free(site: Site, run: dict[str, Any]) -> None:
    """Give the site back, if this run has it."""
    with _alone(site):
        if current(site).get("id") == run["id"]:
            files.remove(path(site.name))


@contextlib.contextmanager
def during(site: Site, run: dict[str, Any], step: str) -> Iterator[None]:
    """Have the site for a step of a run. A failure is written down, and gives the site back; success keeps it.

    Raises:
        Held: another run has the site.
    """
    held = take(site, run, step)
    try:
        with locked(site):
            yield
    except Exception as error:
        audit(site, current(site) or held, "failed", str(error))
        free(site, run)
        raise


def audit(site: Site, held: dict[str, Any], result: str, message: str = "", what: str = "") -> None:
    """Write one line of the site's log.

    Args:
        site: the site.
        held: what the lock says.
        result: ``ok``, ``failed`` or ``interrupted``.
        message: the reason, in one line.
        what: what was done, if not what the lock says.
    """
    began = float(held.get("since") or time.time())
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": held.get("who"),
        "what": what or held.get("what"),
        "from": held.get("from") or None,
        "to": held.get("to") or None,
        "result": result,
        "seconds": round(time.time() - began, 1),
        "step": held.get("step"),
        "message": site.mask(" ".join(message.split()))[:500],
    }
    os.makedirs(LOG, 0o750, exist_ok=True)
    fd = os.open(log(site.name), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
