"""Runs ansible-playbook often: a process that has loaded Ansible forks for each run, which then starts at once.

What is forked is what the program ``ansible-playbook`` is after its imports, with the same command line, environment and
directory. A short run costs the controller a third of its work that way. (Forks share the seed of hashes: that nothing
depends on the order of a set is for Molecule's own runs to show, each of which is a process of its own.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

# What nearly every run imports, or each of its workers again.
MODULES = (
    "ansible.cli.playbook ansible.executor.playbook_executor ansible.executor.task_queue_manager "
    "ansible.executor.module_common ansible.plugins.strategy.linear ansible.plugins.connection.ssh "
    "ansible.plugins.shell.sh ansible.plugins.become.sudo ansible.plugins.action.normal ansible.plugins.callback.default"
).split()
CHANGING = {"PYTEST_CURRENT_TEST"}  # in the environment, with no meaning for Ansible
_servers: dict[tuple[str, frozenset[tuple[str, str]]], socket.socket] = {}
_lock = threading.Lock()


def run(
    argv: list[str], cwd: str | Path, env: dict[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` does with a command line that begins with ``ansible-playbook``, with both streams as text.

    Raises:
        subprocess.TimeoutExpired: after `timeout` seconds; the run has been killed then.
    """
    environment = {key: value for key, value in (env or dict(os.environ)).items() if key not in CHANGING}
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, ours:
        with theirs, _lock:
            files = [output.fileno(), errors.fileno(), theirs.fileno()]
            socket.send_fds(_server(str(cwd), environment), [json.dumps(argv).encode()], files)
        ours.settimeout(timeout)
        with ours.makefile("r") as answers:
            pid = int(answers.readline())
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout or 0) from None
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(argv, code, *texts)


def _server(cwd: str, environment: dict[str, str]) -> socket.socket:
    """The connection to the loaded process of this directory and environment; it ends with this process."""
    key = (cwd, frozenset(environment.items()))
    if key not in _servers:
        _servers[key], theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno(), cwd=cwd, env=environment)
    return _servers[key]


def serve() -> None:
    """Fork for each command line that comes; end with the process that sends them."""
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        text, files, _flags, _address = socket.recv_fds(asked, 1 << 20, 3)
        if not text:
            return
        if os.fork() == 0:
            asked.close()
            watch(json.loads(text), *files)
        for file in files:
            os.close(file)


def watch(argv: list[str], output: int, errors: int, answer: int) -> NoReturn:
    """Start the run, tell its process and then its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(answer)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
            os.dup2(file, number)
            os.close(file)
        os._exit(playbook(argv))
    with contextlib.suppress(OSError):
        os.write(answer, b"%d\n" % pid)
        os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def playbook(argv: list[str]) -> int:
    """The program itself; it shares the directory for temporary files, and so packs each module once."""
    from ansible import constants
    from ansible.cli.playbook import PlaybookCLI

    constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01  # else it looks 1000 times a second whether a task has ended
    sys.argv = argv
    try:
        PlaybookCLI.cli_executor(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    serve()
