"""What the tests of this scenario do as strangers and as the controller."""

from __future__ import annotations

import shlex
import subprocess
import time
from contextlib import contextmanager

PROGRAM = "/usr/local/sbin/webstack-firewall"
KNOCK = "timeout 2 bash -c '</dev/tcp/{}/{}'"
LISTEN = """
import socket, sys, time
held = []
for port in map(int, sys.argv[1:]):
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    held.append(socket.create_server(("", port), **both))
time.sleep(9999)
"""


def answers(stranger, address, port):
    """Whether the port lets the stranger in, who is waited for where its own tests restart it meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return stranger.run(KNOCK.format(address, port)).rc == 0
        except RuntimeError:  # exit status 255 of ssh
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@contextmanager
def timed(most):
    began = time.monotonic()
    yield
    assert time.monotonic() - began < most


def ssh(variables, *command, seconds=10, count=1):
    """Exit status of a new connection from the controller."""
    argv = ["ssh", *shlex.split(variables["ansible_ssh_common_args"]), "-o", "ControlPath=none", "-o", "BatchMode=yes"]
    argv += ["-o", f"ConnectTimeout={seconds}", "-i", variables["ansible_ssh_private_key_file"]]
    argv += ["-p", str(variables["ansible_port"]), f"{variables['ansible_user']}@{variables['ansible_host']}"]
    return subprocess.run([*argv, *command], capture_output=True, text=True, check=False, timeout=90).returncode


def wait(what, seconds=15):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)
