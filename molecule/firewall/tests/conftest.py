"""The two machines of this scenario: each knocks at the other one."""

from __future__ import annotations

import time

import pytest
from knocking import LISTEN


@pytest.fixture
def stranger(other, machine):
    """The other machine."""
    return other({"debian12": "debian13", "debian13": "debian12"}[machine])


@pytest.fixture
def address(host):
    return host.check_output("hostname -I").split()[0]


@pytest.fixture
def from_(stranger):
    """The address that the stranger comes from."""
    return stranger.check_output("hostname -I").split()[0]


@pytest.fixture
def listening(host):
    """Programs that listen at some ports, of which the firewall lets in 80 and 443."""
    ports = "80 443 5432 8000 9999"
    host.run("systemd-run --unit=listen python3 -c %s " + ports, LISTEN)
    for _time in range(50):
        if host.run("ss -Hlnt sport = :9999").stdout:
            break
        time.sleep(0.1)
    yield
    host.run("systemctl stop listen.service")
