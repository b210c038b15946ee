# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A new connection to a server beside the one that Ansible has, to see whether one is possible."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

# The first value that ssh is given for an option counts, so these win over those of the user.
ALONE = ("ControlMaster=no", "ControlPath=none", "ControlPersist=no")
PATIENCE = ("ServerAliveInterval=3", "ServerAliveCountMax=2")
# Joins its standard streams with a unix socket; runs on the server as the user who logged in.
JOIN = (
    "import os,select,socket,sys\n"
    "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);p={0:s.fileno(),s.fileno():1}\n"
    "def w(f,d):\n"
    " while d:d=d[os.write(f,d):]\n"
    "while s.fileno() in p:\n"
    " for f in select.select(list(p),[],[])[0]:\n"
    "  d=os.read(f,65536)\n"
    "  if d:w(p[f],d)\n"
    "  else:\n"
    "   if f==0:s.shutdown(socket.SHUT_WR)\n"
    "   del p[f]\n"
)
# Whether sshd answers where it is to listen; runs on the server as root. 0 it does, 1 it does not, 2 nobody has configured one.
ANSWERS = (
    "import socket,subprocess,sys\n"
    "try:r=subprocess.run(['/usr/sbin/sshd','-T'],capture_output=True,text=True,timeout=10)\n"
    "except OSError:sys.exit(2)\n"
    "l=[x.split()[1] for x in r.stdout.splitlines() if x.startswith('listenaddress ')]\n"
    "if r.returncode or not l:sys.exit(2)\n"
    "for a in l:\n"
    " h,_,p=a.rpartition(':');h={'0.0.0.0':'127.0.0.1','::':'::1'}.get(h.strip('[]'),h.strip('[]'))\n"
    " try:\n"
    "  with socket.create_connection((h,int(p)),3) as s:\n"
    "   if s.recv(4)==b'SSH-':sys.exit(0)\n"
    " except OSError:pass\n"
    "sys.exit(1)\n"
)


class TimeLimit(BaseException):
    """Something took longer than it may. No ``Exception``: those Ansible's ssh takes for a reason to try again."""


class PortError(Exception):
    """It is not known where a new connection is to go; the message is for the user."""


def ssh_args(given: str | None, proxy: str | None = None) -> str:
    """The option ``ssh_args`` of a connection that shares nothing with another one."""
    options = [*ALONE, *PATIENCE, *([f"ProxyCommand={proxy}"] if proxy else [])]
    return " ".join([*(f"-o {shlex.quote(option)}" for option in options), given or ""]).strip()


def proxy_command(command: list[bytes], executable: str) -> str:
    """A command of ssh as the value of ProxyCommand: without sshpass before it, safe for a shell and for ssh's ``%``."""
    words = [os.fsdecode(word) for word in command]
    if executable in words:
        words = words[words.index(executable) :]
    return shlex.join(words).replace("%", "%%")


def target(own: int | None, present: int | None, wanted: int | None, via: int | None) -> int | None:
    """The port of a new connection after a change (None: as the present one).

    Args:
        own: the port that the present connection goes to, as Ansible knows it
        present: the port at which the server took it
        wanted: the port at which the server will take new ones, if that is declared
        via: where the user says that new ones are to go

    Raises:
        PortError: ports are forwarded, and nobody says how the new one is.
    """
    if via is not None:
        return via
    if wanted is None or wanted == present:
        return own
    if present is not None and present != (own or 22):
        raise PortError(
            f"the connection goes to port {own or 22} and arrives at port {present} of the server, so something forwards "
            f"ports, and nobody can say at which one the new port {wanted} will be reached"
        )
    return wanted


def server_port(words: str) -> int | None:
    """The port in SSH_CONNECTION (client, its port, server, its port)."""
    fields = words.split()
    return int(fields[-1]) if len(fields) >= 4 and fields[-1].isdigit() else None


def reason(error: str) -> str:
    """The last line of what ssh or sudo said, which has the reason."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("Shared connection", "Connection to", "debug"))]
    last = lines[-1] if lines else error.strip() or "it ended without a word"
    return last.removeprefix("Failed to connect to the host via ssh:").strip().rstrip(".")


def _children() -> set[int]:
    with contextlib.suppress(OSError, ValueError):
        path = Path(f"/proc/self/task/{os.getpid()}/children")
        return {int(word) for word in path.read_text(encoding="ascii").split()}
    return set()


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise ``TimeLimit`` in what takes longer, and end the processes that it started."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeLimit(f"no answer within {seconds:g} seconds")

    before: Any = signal.signal(signal.SIGALRM, ring)
    had = _children()
    began = time.monotonic()
    left = signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))[0]
    try:
        yield
    except TimeLimit:
        for child in _children() - had:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGTERM)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.1, left - (time.monotonic() - began)))
