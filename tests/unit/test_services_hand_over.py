"""A server that makes room for another one leaves its ports first and finishes its requests afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.webstack.django.plugins.module_utils import services


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def stop(listener: socket.socket, state: str, closes: bool = True, ports: bool = True) -> tuple[list[str], list[str]]:
    """The actions, and the calls that may change something."""
    calls: list[str] = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        if argv[1] == "show":
            return 0, f"Id=apache2.service\nLoadState=loaded\nActiveState={state}\nUnitFileState=disabled\n", ""
        calls.append(" ".join(argv))
        if closes:
            threading.Timer(0.2, listener.close).start()
        return 0, "", ""

    given = [listener.getsockname()[1]] if ports else []
    item = {"name": "apache2.service", "state": "stopped", "enabled": False, "ports": given}
    return services.Manager(run).converge([item], check_mode=False), calls


def test_the_end_is_not_waited_for(listener: socket.socket) -> None:
    actions, calls = stop(listener, "active")
    assert (actions, calls) == (["stop apache2.service"], ["systemctl stop --no-block -- apache2.service"])
    assert listener.fileno() == -1  # it did wait for the port


def test_one_that_goes_on_listening_is_waited_for(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "HAND_OVER_SECONDS", 0.2)
    _actions, calls = stop(listener, "active", closes=False)
    assert calls == ["systemctl stop --no-block -- apache2.service", "systemctl stop -- apache2.service"]


def test_one_that_is_about_to_end_is_waited_for_where_nobody_takes_its_ports(listener: socket.socket) -> None:
    actions, calls = stop(listener, "deactivating", ports=False)
    assert (actions, calls) == (["stop apache2.service"], ["systemctl stop -- apache2.service"])


def test_one_that_somebody_restarts_is_none_that_stopped() -> None:
    """A restart that is not waited for is a stop at first."""
    states = ["deactivating", "deactivating", "active"]
    calls: list[str] = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        if argv[1] == "show":
            state = states.pop(0) if len(states) > 1 else states[0]
            return 0, f"Id=fail2ban.service\nLoadState=loaded\nActiveState={state}\nUnitFileState=enabled\n", ""
        calls.append(" ".join(argv))
        return 0, "", ""

    assert (services.Manager(run).converge([{"name": "fail2ban.service"}], check_mode=False), calls) == ([], [])
