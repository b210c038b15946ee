# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The project is loaded once, and each management command is a fork of that process.

Loading it is most of the time that a command takes. What a command does to its process (connections, sys.exit, settings
that it overrides) ends with its fork, as it would with a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.release.commands import Result, as_account, kept_open
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

# Runs in the project's process. A project that asks for the command it was started with, or has threads (whose locks
# would stay taken in a fork), gets processes of its own.
_SERVE = """
def _webstack_serve():
    import ast, json, os, sys, threading
    from django.core.management import execute_from_command_line
    from django.db import connections
    replies = os.fdopen({replies}, "w", buffering=1)
    def used(node):
        calls = isinstance(node, ast.Call) and "execute_from_command_line" in ast.dump(node.func)
        if calls or isinstance(node, ast.ExceptHandler):
            return False  # what everybody's manage.py does with it, and words about an error
        return "argv" in (getattr(node, "id", ""), getattr(node, "attr", "")) or any(
            used(one) for one in ast.iter_child_nodes(node)
        )
    def asks():
        top = {code!r} + os.sep
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None) or ""
            if path.startswith(top):
                with open(path, "rb") as file:
                    text = file.read()
                if b"argv" in text and (name != "__main__" or used(ast.parse(text))):
                    return True
        return False
    if sys.version_info < (3, 9) or threading.active_count() > 1 or asks():
        return
    def end(pid):
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=replies)
    sys.stdout.flush()
    print(0, file=replies)
    beside = 0
    for line in sys.stdin:
        asked = json.loads(line)
        if asked.get("end"):
            end(beside)
            continue
        if threading.active_count() > 1:
            return
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            replies.close()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdin = open(os.devnull)  # the other one may have read ahead
            if asked.get("beside"):
                os.dup2({aside}, 1)
                os.dup2({aside}, 2)
            if "code" in asked:
                exec(asked["code"], {{"__name__": "webstack"}})
            else:
                sys.argv = [sys.argv[0], *asked["words"]]
                execute_from_command_line(sys.argv)
            sys.exit()
        if asked.get("beside"):
            beside = pid
        else:
            end(pid)
_webstack_serve()
"""


class Session:
    """One process of a project that answers again and again."""

    def __init__(self, site: Site, argv: list[str], code: str, environment: dict[str, str]) -> None:
        """Start it.

        Args:
            site: the site.
            argv: the command that runs code, which is its last word.
            code: what it runs first.
            environment: of the process.
        """
        read, write = os.pipe()
        self._replies = os.fdopen(read, encoding="ascii")
        self._outputs = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115  # until close()
        self._seen = 0
        aside = self._outputs[1].fileno()
        serve = _SERVE.format(replies=write, aside=aside, code=site.code)
        try:
            self._process = subprocess.Popen(
                as_account(site, [*argv, code + serve]),
                cwd=site.project,
                env=environment,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=self._outputs[0],
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o027,
                pass_fds=[write, aside, *kept_open(site)],
            )
        finally:
            os.close(write)
        self._requests: Any = self._process.stdin
        self.alive = True
        self.first = self._wait() or Result(self._process.wait(), self._said())
        self.alive = self._process.poll() is None

    def ask(self, **asked: Any) -> Result | None:
        """Run a management command (``words``) or ``code``; None where this process cannot, and nothing was run."""
        done = self._wait() if self._send(asked) else None
        self.alive = done is not None
        return done

    def begin(self, words: Sequence[str]) -> bool:
        """Begin a management command beside those that are asked for; one in the life of the process."""
        return self._send({"words": words, "beside": True})

    def end(self) -> Result | None:
        """How that command ended; None where it did not."""
        if not self._send({"end": True}):
            return None
        reply = self._replies.readline().strip()
        self._outputs[1].seek(0)
        return Result(int(reply), self._outputs[1].read().decode("utf-8", "replace")) if reply else None

    def _send(self, asked: dict[str, Any]) -> bool:
        try:
            self._requests.write(json.dumps(asked).encode() + b"\n")
        except BrokenPipeError:
            self.alive = False
        return self.alive

    def _wait(self) -> Result | None:
        """How the command under way ends; None where the process ends without a word."""
        reply = self._replies.readline().strip()
        return Result(int(reply), self._said()) if reply else None

    def _said(self) -> str:
        """What was said since the last time; the processes go on writing at their own place."""
        parts: list[bytes] = []
        while True:
            part = os.pread(self._outputs[0].fileno(), 1 << 20, self._seen)
            if not part:
                return b"".join(parts).decode("utf-8", "replace")
            self._seen += len(part)
            parts.append(part)

    def close(self) -> None:
        """End it; there is nothing left that it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._requests.close()
        self._replies.close()
        for file in self._outputs:
            file.close()
