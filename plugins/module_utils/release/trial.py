# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Try a release before anybody sees it: its web process, on a socket that only root knows, is asked for its health.

Whatever keeps a release from serving shows here, while the release before it serves on: code that cannot be imported, a
missing dependency, a page that answers 500 or not at all.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.commands import (
    Result,
    account,
    as_account,
    base_environment,
)
from ansible_collections.webstack.django.plugins.module_utils.release.running import Process, unhealthy
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site, read_environment

_WEB = "web"
_FRESH = 300  # seconds for which it counts that a release served on trial
AHEAD = 3.0  # seconds that a trial ahead of its time is waited for; after that comes a second one
# Hands over the socket as systemd does (sd_listen_fds(3)) and becomes the program.
_START = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""
# A run that was killed before its death was made a signal would leave the trial behind: it looks who its parent is.
_CHILD = 'test "$PPID" = "$1" && shift && exec "$@"'
# Settings of uWSGI that belong to the instance that serves: its sockets and reload files, and its number of processes.
_OTHERS = re.compile(
    r"\s*(stats|touch-[\w-]*|if-env|end-?if|cheaper[\w-]*|workers|processes|vacuum|pidfile2?|daemonize2?)\b"
)


class _Trial(Process):
    """The process that is tried."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        super().__init__("its web process")

    def read(self) -> None:
        """See whether it has ended."""
        self.process.poll()

    @property
    def failed(self) -> bool:
        """Whether it has ended."""
        return self.process.returncode is not None

    def end(self) -> None:
        """End it with all its children, which nobody waits for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def possible(site: Site) -> bool:
    """Whether a release can be tried."""
    health = site["health"] or {}
    started = _WEB in site["processes"] and site["app_server"] in ("gunicorn", "uwsgi")
    return bool(health.get("proof") and started and (health["socket"] or health["address"]))


class Trial:
    """The web process of the wanted release beside the one that serves; from the start of ``with`` to its end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Trial:
        site = self.site
        with contextlib.ExitStack() as stack:
            gid = account(site).pw_gid
            prefix = "webstack-trial-%s." % site.name
            for old in glob.glob(os.path.join("/run", prefix + "*")):  # of a run that was killed
                files.remove(old)
            directory = tempfile.mkdtemp(prefix=prefix, dir="/run")
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            os.chown(directory, 0, gid)
            os.chmod(directory, 0o750)
            self._path = os.path.join(directory, "web.sock")
            running = _running(site, _command(site, directory, gid), self._path)
            self._process, self._output = stack.enter_context(running)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def problem(self, patience: float | None = None) -> str | None:
        """Why the release does not serve; None where it does.

        Args:
            patience: seconds to wait, instead of those of the health check.
        """
        health = {**self.site["health"], "socket": self._path, "address": None}
        problem = unhealthy(self.site, [self._process], patience, health=health)
        if problem is None:
            return None
        self._output.seek(0)
        said = Result(0, self._output.read().decode("utf-8", "replace")).tail()
        return problem + ("; it said last:\n" + said if said else "")


def unfit(site: Site) -> str | None:
    """Why the wanted release does not serve; None where it does."""
    if _served(site):
        return None
    with Trial(site) as trial:
        return trial.problem()


def ahead(site: Site) -> Trial | None:
    """A trial that starts while the release is still prepared, so that its time is not added.

    Only good news of it count: what the preparation brings may be what it lacks.
    """
    return Trial(site) if possible(site) else None


def passed(site: Site) -> None:
    """Note that a release serves, with its configuration of this moment."""
    files.update_state(site.release, account(site).pw_gid, tried=[_configuration(site), time.time()])


def _configuration(site: Site) -> str:
    return read_environment(files.read_text(os.path.join(site.release, "env")) or "").get("WEBSTACK_CONFIG", "")


def _served(site: Site) -> bool:
    """Whether it was seen to serve a moment ago."""
    name, when = files.state(site.release).get("tried") or ("", 0)
    return bool(name == _configuration(site) and 0 <= time.time() - when < _FRESH)


def _command(site: Site, directory: str, gid: int) -> list[str]:
    """What is started."""
    if site["app_server"] == "gunicorn":
        return [os.path.join(site.release, "run", _WEB)]
    words = shlex.split(site["processes"][_WEB])
    with open(words[words.index("--ini") + 1], encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if not _OTHERS.match(line)]
    path = os.path.join(directory, "uwsgi.ini")
    with open(path, "x", encoding="utf-8") as file:
        file.write("\n".join([*lines, "workers = 1", "no-orphans = true", ""]))
        os.fchown(file.fileno(), 0, gid)
        os.fchmod(file.fileno(), 0o640)
    return [os.path.join(site.venv, "bin", "uwsgi"), "--ini", path]


@contextlib.contextmanager
def _running(site: Site, command: list[str], path: str) -> Iterator[tuple[_Trial, Any]]:
    """The process, listening at a path, and what it says."""
    environment = base_environment(site)
    for file in (site.environment_path, os.path.join(site.release, "env")):
        environment.update(read_environment(files.read_text(file) or ""))
    environment.update(site.pooled)  # as its script does, which uWSGI is tried without
    environment["PATH"] = os.path.join(site.venv, "bin") + ":" + environment["PATH"]
    environment["VIRTUAL_ENV"] = site.venv
    environment["WEBSTACK_RELEASE_FILE"] = os.path.join(site.release, "release.json")
    environment["GUNICORN_CMD_ARGS"] = "--workers=1"
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryFile() as output:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(16)
        child = as_account(site, ["sh", "-c", _CHILD, "sh", str(os.getpid()), *command], "--pdeathsig=KILL")
        argv = [sys.executable, "-c", _START, str(listener.fileno()), *child]
        process = subprocess.Popen(
            argv,
            cwd=os.path.join(site.release, "project"),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o027,
            pass_fds=[listener.fileno()],
        )
        trial = _Trial(process)
        try:
            yield trial, output
        finally:
            trial.end()
