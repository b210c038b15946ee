# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An sshd with settings that are not in force yet, for one log-in that shows whether they let the user in.

It serves a unix socket and sees the new files in a private view of the file system. Nothing of the server changes, no
port is opened, and no firewall is in between.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import socket
import subprocess
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import private_view
from ansible_collections.webstack.django.plugins.module_utils.config_files import Change
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import Transaction

DIRECTORY = "/run/webstack/trial-{}"
SECONDS = 45.0  # for all log-ins together
SSHD = "/usr/sbin/sshd"
_LISTENS = "listens"
_CONFIGS = ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf")
# Through a unix socket a client has no address, so rules about addresses cannot be tried.
_BY_ADDRESS = re.compile(
    r"^\s*(match\b.*\b(address|host|localaddress|localport|rdomain)\b|(allow|deny)users\b.*@)",
    re.IGNORECASE | re.MULTILINE,
)


def rules_by_address(changes: list[Change]) -> bool:
    """Whether it depends on the client's address who gets in."""
    texts = {change.item.path: change.item.content or b"" for change in changes}
    for pattern in _CONFIGS:
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                texts.setdefault(path, file.read())
    ours = [text for path, text in texts.items() if path.startswith("/etc/ssh/")]
    return any(_BY_ADDRESS.search(text.decode("utf-8", "replace")) for text in ours)


def start(changes: list[Change], token: str) -> str:
    """Start the server in the background; why it cannot be had, or an empty text."""
    if not os.access(SSHD, os.X_OK):
        return f"there is no {SSHD}"
    if rules_by_address(changes):
        return "who gets in depends on the client's address (Match, AllowUsers or DenyUsers)"
    directory = DIRECTORY.format(token)
    os.umask(0o022)  # the user has to get to the socket, also where the umask of the server is stricter
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    os.makedirs(directory, mode=0o711)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(reader)
            _detach(writer)
            _serve_in_view(changes, directory, writer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        words = stream.readline().decode("utf-8", "replace").strip()
    if words != _LISTENS:
        shutil.rmtree(directory, ignore_errors=True)
    return "" if words == _LISTENS else words or "its process died"


def end(token: str) -> str:
    """Stop the server; what it said."""
    directory = DIRECTORY.format(token)
    words = ""
    with contextlib.suppress(OSError), open(os.path.join(directory, "log"), encoding="utf-8", errors="replace") as file:
        words = file.read()
    shutil.rmtree(directory, ignore_errors=True)
    return "\n".join(line for line in words.splitlines() if line.strip())


def _detach(writer: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, writer)
    os.closerange(writer + 1, 1024)
    os.chdir("/")


def _serve_in_view(changes: list[Change], directory: str, writer: int) -> None:
    """Never returns. Says through ``writer`` that the socket listens, or why it does not."""
    try:

        def work() -> dict[str, Any]:
            Transaction(rehearsal=True).apply(changes)
            _serve(directory, writer)
            return {}

        if changes:
            private_view.run([change.item.path for change in changes], work)
        else:
            _serve(directory, writer)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(writer, (" ".join(str(error).split()) + "\n").encode())
    os._exit(0)


def _serve(directory: str, writer: int) -> None:
    path = os.path.join(directory, "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        os.chmod(path, 0o666)  # it is sshd that asks for a key
        server.listen(4)
        server.settimeout(1)
        os.write(writer, f"{_LISTENS}\n".encode())
        os.close(writer)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and os.path.exists(path):
            try:
                client, _address = server.accept()
            except socket.timeout:
                continue
            with client:
                client.settimeout(None)
                log = os.path.join(directory, "log")
                with subprocess.Popen(
                    [SSHD, "-i", "-E", log], stdin=client.fileno(), stdout=client.fileno()
                ) as process:
                    client.close()
                    try:
                        process.wait(timeout=max(1.0, deadline - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        process.kill()
