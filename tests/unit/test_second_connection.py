# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A new connection beside the one that is open: where it goes and what it shares."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import second_connection as second


@pytest.mark.parametrize(
    ("own", "present", "wanted", "via", "port"),
    [
        (None, 22, None, None, None),
        (None, 22, 22, None, None),
        (None, 22, 2222, None, 2222),
        (22, 22, 2222, None, 2222),
        (2222, 2222, 22, None, 22),
        (36919, 22, None, None, 36919),
        (36919, 22, 22, None, 36919),
        (36919, 22, 2222, 40000, 40000),
        (None, None, 2222, None, 2222),
    ],
)
def test_where_it_goes(
    own: int | None, present: int | None, wanted: int | None, via: int | None, port: int | None
) -> None:
    assert second.target(own, present, wanted, via) == port


@pytest.mark.parametrize(("own", "present"), [(36919, 22), (None, 2222)])
def test_where_ports_are_forwarded_nobody_guesses(own: int | None, present: int) -> None:
    with pytest.raises(second.PortError, match=f"arrives at port {present} of the server.*new port 2200"):
        second.target(own, present, 2200, None)


def test_it_shares_nothing_and_asks_ssh_itself() -> None:
    given = "-o ControlMaster=auto -o ControlPersist=300s -o ControlPath=/tmp/%C -o ProxyJump=jump"
    proxy = second.proxy_command([b"sshpass", b"-d7", b"ssh", b"-o", b"ControlPath=/a b/%C", b"host", b"id -u"], "ssh")
    assert proxy == "ssh -o 'ControlPath=/a b/%%C' host 'id -u'"
    command = f"ssh -G {second.ssh_args(given, proxy)} example.test"
    shown = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout
    assert re.search("^controlmaster false$", shown, re.M)
    assert re.search("^controlpersist no$", shown, re.M)
    assert not re.search("^controlpath", shown, re.M)
    assert re.search("^proxycommand ssh -o 'ControlPath=/a b/%%C' host 'id -u'$", shown, re.M)
    assert "proxyjump" not in shown


@pytest.mark.parametrize(
    ("words", "port"),
    [("192.0.2.1 51000 192.0.2.2 22", 22), ("2001:db8::1 51000 2001:db8::2 2222\n", 2222), ("", None), ("x", None)],
)
def test_the_port_of_the_server(words: str, port: int | None) -> None:
    assert second.server_port(words) == port


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            "Failed to connect to the host via ssh: a@b: Permission denied (publickey).",
            "a@b: Permission denied (publickey)",
        ),
        ("debug1: x\nkex: reset by peer\nShared connection to b closed.\n", "kex: reset by peer"),
        ("", "it ended without a word"),
    ],
)
def test_the_reason(error: str, words: str) -> None:
    assert second.reason(error) == words


def test_what_takes_too_long_ends_with_the_processes_that_it_started() -> None:
    began = time.monotonic()
    with pytest.raises(second.TimeLimit, match=r"within 0\.3 seconds"), second.bounded(0.3):
        subprocess.run(["sleep", "30"], check=False)
    assert time.monotonic() - began < 10
    with second.bounded(5):
        assert subprocess.run(["true"], check=False).returncode == 0


def test_a_unix_socket_is_joined_with_the_standard_streams(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)

        def answer() -> None:
            client, _address = server.accept()
            with client, client.makefile("rb") as stream:
                data = stream.read()
                client.sendall(data[::-1])

        thread = threading.Thread(target=answer)
        thread.start()
        text = b"0123456789" * 50_000
        done = subprocess.run([sys.executable, "-c", second.JOIN, path], input=text, capture_output=True, check=True)
        thread.join()
    assert done.stdout == text[::-1]
