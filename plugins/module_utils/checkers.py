# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running checkers (``nginx -t`` ...) on a configuration."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from typing import Any

DEFAULT_TIMEOUT = 30  # seconds
_KEEP = 64 * 1024  # bytes of output, the last ones
_PIPE = 1024 * 1024  # bytes, the most that a pipe holds
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# What a checker says about things that earlier steps of this run would have made.
_MISSING = re.compile(
    r"no such (file|user|group|directory)|does not exist|not found|unknown (user|group)|getpwnam|getgrnam|not loaded",
    re.IGNORECASE,
)


class Refusal:
    """A checker that is not content, and its words."""

    def __init__(self, argv: list[str], reason: str, code: int | None = None, words: str = "") -> None:
        self.argv = argv
        self.reason = reason
        self.code = code
        self.words = words

    @property
    def about_missing(self) -> bool:
        """Whether it may only miss what an earlier task would have made (in check mode nothing is made)."""
        return self.code is not None and bool(_MISSING.search(self.words))


def path() -> str:
    """Where programs are looked for: as in the environment, and where those for administrators are."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]).strip(os.pathsep)


def wanted(checks: list[dict[str, Any]], changed: list[str]) -> list[dict[str, Any]]:
    """The checkers that concern one of the changed paths."""
    return [
        check
        for check in checks
        if not check.get("when_paths")
        or any(name.startswith(prefix) for name in changed for prefix in check["when_paths"])
    ]


def installed(check: dict[str, Any]) -> bool:
    """Whether the checker's program is on this host."""
    return shutil.which(str(check["argv"][0]), path=path()) is not None


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(check: dict[str, Any]) -> Refusal | None:
    """Run one checker; None where it is content."""
    argv = [str(word) for word in check["argv"]]
    if not installed(check):
        if check.get("missing_ok"):
            return None
        return Refusal(argv, "is not installed; install its package before the configuration")
    timeout = float(check.get("timeout") or DEFAULT_TIMEOUT)
    try:
        process = subprocess.Popen(
            argv,
            executable=shutil.which(argv[0], path=path()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(os.environ, LC_ALL="C.UTF-8", PATH=path()),
            cwd="/",
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        return Refusal(argv, f"cannot be started: {error.strerror}")
    try:
        output, ended = _listen(process, timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left running, also when we are interrupted
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    words = output.decode("utf-8", "replace").strip()
    if not ended:
        return Refusal(argv, f"did not end within {timeout:g} seconds and was stopped", None, words)
    if process.returncode == 0:
        return None
    return Refusal(argv, f"refused it (exit status {process.returncode})", process.returncode, words)


def _listen(process: subprocess.Popen[bytes], timeout: float) -> tuple[bytes, bool]:
    """The last output of a process, and whether it ended in time.

    What it left running in the background may hold the pipe open: that is not waited for.
    """
    deadline = time.monotonic() + timeout
    output = b""
    with selectors.DefaultSelector() as selector:
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            late = time.monotonic() >= deadline
            ended = process.poll() is not None
            wait = 0.0 if ended or late else min(0.05, max(0.0, deadline - time.monotonic()))
            ready = selector.select(wait) if selector.get_map() else []
            if not selector.get_map() and not ended:
                time.sleep(wait)
            for key, _events in ready:
                chunk = os.read(key.fd, _PIPE)
                if chunk:
                    output = (output + chunk)[-_KEEP:]
                else:
                    selector.unregister(key.fileobj)
            # What it said before its end was in the pipe, so that one read has it.
            if ended or late:
                return output, ended


def run_all(checks: list[dict[str, Any]]) -> Refusal | None:
    """Run checkers in order until one is not content."""
    for check in checks:
        refusal = run(check)
        if refusal is not None:
            return refusal
    return None


def hide(words: str, secrets: list[bytes]) -> str:
    """Replace what a checker quotes from files whose content must not be shown; the names of settings stay."""
    hidden: set[str] = set()
    for content in secrets:
        for line in content.decode("utf-8", "replace").splitlines():
            line = line.strip()
            setting = re.match(r"[\"']?[\w.-]+[\"']?\s*(?:[=:]|\s)\s*(.+)", line)
            value = setting[1] if setting else line
            hidden.add(value)
            hidden.add(value.strip("\"',; \t"))
            # Parts of a value, for instance the password in a URL.
            hidden.update(part for part in re.split(r"[\s\"',;:/@=]+", value) if len(part) > 7)
    for value in sorted((value for value in hidden if len(value) > 3), key=len, reverse=True):
        words = words.replace(value, "********")
    return words
