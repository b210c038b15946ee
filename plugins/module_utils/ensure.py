# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands that are run only where the host is not in the state that they bring about."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift

_SHOWN_LINES = 20
_STEP = {
    "name": {"type": "str", "required": True},
    "unless": {"type": "list", "elements": "str", "required": True},
    "run": {"type": "list", "elements": "list", "default": []},
    "hint": {"type": "str"},
    "environment": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 600},
}
SPEC = {"steps": {"type": "list", "elements": "dict", "required": True, "options": _STEP}}


class EnsureError(Exception):
    """A state could not be reached; the message is for the user."""


def run(argv: list[str], environment: dict[str, Any] | None = None, timeout: float = 600) -> tuple[int, str]:
    """Exit status and output (both streams) of a command; 127 where there is no such program."""
    merged = {**os.environ, "LC_ALL": "C.UTF-8", **{key: str(one) for key, one in (environment or {}).items()}}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=merged,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return 127, f"{argv[0]}: {error.strerror}"
    try:
        output, _rest = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return 124, f"it did not end within {timeout:g} seconds and was stopped"
    return process.returncode, output.decode("utf-8", "replace").strip()


def holds(step: dict[str, Any]) -> tuple[bool, str]:
    """Whether the state is there, and what its test printed. Reads only."""
    code, output = run(step["unless"], step.get("environment"), step.get("timeout") or 600)
    return code == 0, output


def _last_lines(output: str) -> str:
    return "\n".join(output.splitlines()[-_SHOWN_LINES:])


def _failure(step: dict[str, Any], what: str, output: str) -> EnsureError:
    parts = [f"{step['name']}: {what}", _last_lines(output), step.get("hint") or ""]
    return EnsureError("\n".join(part for part in parts if part))


def converge(steps: list[dict[str, Any]], check_mode: bool) -> list[str]:
    """Bring about every state, in order; returns the names of those that were (or would be) brought about."""
    done: list[str] = []
    for step in steps:
        there, output = holds(step)
        if there:
            continue
        if not step.get("run"):
            raise _failure(step, "this does not hold", output)
        name, said = str(step["name"]), [line for line in output.splitlines() if line.strip()]
        done.append(drift.Action(name, drift.entry(name, "this holds", drift.short(said[-1:]) or "it does not hold")))
        if check_mode:
            continue
        for argv in step["run"]:
            code, output = run(argv, step.get("environment"), step.get("timeout") or 600)
            if code != 0:
                raise _failure(step, f"`{' '.join(argv)}` failed (exit status {code})", output)
        there, output = holds(step)
        if not there:
            raise _failure(step, "its commands ran without an error, but it does not hold afterwards", output)
    return done
