"""Every way to lock oneself out: SSH as the converging user works again within two minutes, and nobody helps.

LOCKOUT_IMAGE=debian12 takes the older system.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from servers import ROOT, Run, Server, bed

IMAGE = os.environ.get("LOCKOUT_IMAGE", "debian13")
DROP_IN = "/etc/ssh/sshd_config.d/00-webstack.conf"
# Who gets in depends on the address, so that no log-in beforehand can show that nobody does.
NOBODY = {"sshd_allow_users": ["deploy@203.0.113.77"]}
MARK = "LOCKOUT_TRIAL"  # in the environment of everything that a run starts, so that it can be found and ended
PENDING = "/var/lib/webstack/access/pending"


@dataclass
class Bed:
    """One server, reached at its own address and port."""

    server: Server
    directory: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def inventory(self, **variables: Any) -> Path:
        facts = self.server.facts
        known = {
            **bed.ansible_variables({**facts, "host": facts["address"], "port": 22}),
            "ansible_ssh_common_args": f"{bed.SSH_OPTIONS} -o ControlPath={self.directory}/%C",
        }
        path = self.directory / "hosts.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": {"lockout": {**known, **variables}}}}))
        return path

    def start(self, *words: str, inventory: dict[str, Any] | None = None, **variables: Any) -> subprocess.Popen[str]:
        argv = ["ansible-playbook", "tests/lockout/sshd.yml", "-i", str(self.inventory(**(inventory or {})))]
        return subprocess.Popen(
            [*argv, "-e", json.dumps(variables), *words],
            cwd=ROOT,
            env={**os.environ, MARK: str(self.directory), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def play(self, *words: str, inventory: dict[str, Any] | None = None, **variables: Any) -> Run:
        process = self.start(*words, inventory=inventory, **variables)
        output, _nothing = process.communicate(timeout=240)
        return Run(process.returncode, output)

    def enter(self, port: int = 22) -> bool:
        """Whether somebody who has the key gets in, by a connection of their own, and is root by sudo."""
        facts = self.server.facts
        options = [
            *shlex.split(bed.SSH_OPTIONS),
            "-o",
            "ConnectTimeout=4",
            "-o",
            "BatchMode=yes",
            "-o",
            "ControlPath=none",
        ]
        argv = ["ssh", *options, "-i", facts["key"], "-p", str(port), f"deploy@{facts['address']}", "sudo -n id -u"]
        done = subprocess.run(argv, text=True, capture_output=True, check=False, timeout=30)
        return done.stdout.strip() == "0"

    def until_applied(self, process: subprocess.Popen[str]) -> None:
        """Wait until the new settings are in force and not confirmed."""
        deadline = time.monotonic() + 90
        while self.server.run(f"cat {PENDING}/applied", check=False).strip() != "0":
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "nothing was applied"
            time.sleep(0.05)

    def power_off(self, process: subprocess.Popen[str]) -> None:
        """The controller is gone, with all its processes and connections."""
        mark = f"{MARK}={self.directory}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    os.kill(int(path.name), signal.SIGKILL)
        process.communicate()

    def access_is_back(self, began: float, what: str) -> None:
        """Measures it; two minutes are what the project promises."""
        while not self.enter():
            assert time.monotonic() - began < 120, self.server.run(
                "ls /var/lib/webstack/access; journalctl -n 40", check=False
            )
            time.sleep(2)
        self.seconds[what] = time.monotonic() - began

    def is_as_before(self, settings: str) -> None:
        deadline = time.monotonic() + 20
        while self.server.run("ls /var/lib/webstack/access", check=False).split() not in ([], ["undone"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert self.server.run(f"cat {DROP_IN}") == settings
        assert (
            self.server.run(
                "find /etc/systemd/system /etc/ssh /run/webstack -name '*webstack-access*' -o -name '.*webstack*'"
            )
            == ""
        )
        assert self.server.run("systemctl --failed --plain --no-legend") == ""
        assert self.enter()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory = tmp_path_factory.mktemp("l")
    server = Server("lockout", IMAGE, "lockout", directory)
    server.up()
    found = Bed(server, directory)
    try:
        run = found.play()
        assert run.rc == 0, run.end
        server.run("{ apt-get -q update; apt-get -qy --no-install-recommends install nftables; } >/dev/null")
        yield found
    finally:
        print(json.dumps(found.seconds, indent=1))
        server.down()


@pytest.fixture
def settings(place: Bed) -> str:
    """The settings that are in force before the trial."""
    return place.server.run(f"cat {DROP_IN}")


# What is refused before anything changes, and the words that say why.
REFUSED = {
    "a key that is not the user's": (
        {"sshd_settings": {"AuthorizedKeysFile": "/etc/ssh/keys/%u"}},
        ["would not let in deploy", "Failed publickey for deploy"],
    ),
    "a user who may not": ({"sshd_allow_users": ["ada"]}, ["would not let in deploy", "not listed in AllowUsers"]),
    "a group that one is not in": (
        {"sshd_allow_groups": ["wheel"]},
        ["would not let in deploy", "groups are listed in AllowGroups"],
    ),
    "an algorithm that the client does not have": (
        {"sshd_settings": {"PubkeyAcceptedAlgorithms": "rsa-sha2-512"}},
        ["would not let in deploy", "ssh-ed25519 not in PubkeyAcceptedAlgorithms"],
    ),
    "a setting that sshd refuses": (
        {"sshd_settings": {"Ciphers": "rot13"}},
        ["Bad SSH2 cipher spec 'rot13'", "the old configuration stays"],
    ),
    "a setting that there is not": ({"sshd_settings": {"PermitRot": True}}, ["Bad configuration option: PermitRot"]),
    "a Match block for oneself": (
        {"sshd_match": "Match User deploy\n  ForceCommand /bin/false"},
        ["would not let in deploy"],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_before_anything_changes(place: Bed, settings: str, what: str) -> None:
    started = place.server.run("systemctl show -p ExecMainStartTimestampMonotonic ssh.service")
    variables, words = REFUSED[what]
    run = place.play(**variables)
    assert run.rc != 0
    plain = " ".join(run.output.split())
    for word in words:
        assert word in plain, run.end
    assert place.server.run("systemctl show -p ExecMainStartTimestampMonotonic ssh.service") == started
    place.is_as_before(settings)


def test_nobody_gets_in_any_more(place: Bed, settings: str) -> None:
    """What the log-in beforehand cannot see is found by the new connection, and taken back at once."""
    process = place.start(**NOBODY)
    place.until_applied(process)
    began = time.monotonic()
    output, _nothing = process.communicate(timeout=120)
    place.access_is_back(began, "AllowUsers without the user, by address")
    assert process.returncode != 0
    assert "no new connection as deploy to" in output, output
    assert "Permission denied" in output
    assert "The old settings are in force again" in output
    assert "sshd_* variables" in output
    place.is_as_before(settings)


def test_a_port_that_a_firewall_does_not_let_through(place: Bed, settings: str) -> None:
    place.server.run(
        "nft add table inet lockout; nft add chain inet lockout input '{ type filter hook input priority 0; }';"
        "nft add rule inet lockout input tcp dport 2222 drop"
    )
    began = time.monotonic()
    run = place.play(sshd_port=2222)
    place.access_is_back(began, "a port that is not let through (whole run)")
    place.server.run("nft delete table inet lockout")
    assert run.rc != 0
    assert re.search(r"no new connection as deploy to \S+, port 2222, could be made", run.output), run.end
    assert "The old settings are in force again" in run.output
    place.is_as_before(settings)


def test_a_port_behind_something_that_forwards(place: Bed, settings: str) -> None:
    """The port of the inventory is not the one that sshd has: where the new one is reached has to be said."""
    facts = place.server.facts
    outside = {"ansible_host": facts["host"], "ansible_port": facts["port"]}
    run = place.play(inventory=outside, sshd_port=2222)
    assert run.rc != 0
    assert "something forwards ports" in run.output, run.end
    assert "sshd_connect_port" in run.output
    place.is_as_before(settings)
    began = time.monotonic()
    run = place.play(inventory=outside, sshd_port=2222, sshd_connect_port=1)
    place.access_is_back(began, "a port that nothing forwards (whole run)")
    assert run.rc != 0
    assert "port 1, could be made" in run.output, run.end
    place.is_as_before(settings)


def test_the_controller_dies_right_after_the_restart(place: Bed, settings: str) -> None:
    process = place.start(**NOBODY)
    place.until_applied(process)
    began = time.monotonic()
    place.power_off(process)
    assert not place.enter(), "the settings that nobody confirmed are to keep everybody out until the timer ends"
    place.access_is_back(began, "controller killed right after the restart")
    place.is_as_before(settings)


@pytest.mark.parametrize("drop", [False, True], ids=["ended", "dropped"])
def test_connections_are_cut_right_after_the_restart(place: Bed, settings: str, drop: bool) -> None:
    """All sessions end, or all packets are dropped by rules that go with the timer's own commands."""
    process = place.start(sshd_confirm_seconds=30, **NOBODY)
    place.until_applied(process)
    began = time.monotonic()
    if drop:
        # Like a firewall that forgets the controller for a while.
        place.server.run(
            "nft add table inet lockout; nft add chain inet lockout input '{ type filter hook input priority 0; }';"
            "nft add rule inet lockout input tcp dport 22 drop;"
            "systemd-run --quiet --on-active=25 --timer-property=AccuracySec=100ms nft delete table inet lockout"
        )
    else:
        place.server.run("for one in $(pgrep -f 'sshd.*deploy'); do kill -9 $one; done", check=False)
    output, _nothing = process.communicate(timeout=200)
    place.access_is_back(began, f"connections {'dropped' if drop else 'ended'} right after the restart")
    assert process.returncode != 0
    assert "The old settings are in force again" in output, output
    # The next run does not use the connection that was kept, which may be silent for another minute.
    assert place.play().rc == 0
    place.is_as_before(settings)


def test_the_server_restarts_while_the_timer_runs(place: Bed, settings: str) -> None:
    process = place.start(sshd_confirm_seconds=600, **NOBODY)
    place.until_applied(process)
    place.power_off(process)
    began = time.monotonic()
    place.server.restart()
    place.access_is_back(began, "restart of the server (the time of the restart included)")
    place.is_as_before(settings)


def test_the_next_run_heals(place: Bed, settings: str) -> None:
    """What nobody confirmed is put back before anything else, also where the connection that is open is the only one."""
    process = place.start(sshd_confirm_seconds=600, **NOBODY)
    place.until_applied(process)
    place.power_off(process)
    check = place.play("--check")
    assert (check.rc, check.changed) == (0, 1), check.end
    run = place.play(sshd_max_auth_tries=5)
    assert run.rc == 0, run.end
    assert place.enter()
    assert place.server.run("sshd -T | grep maxauthtries") == "maxauthtries 5\n"
    assert place.server.run("ls /var/lib/webstack/access").split() == ["undone"]
    assert place.play().rc == 0
    place.is_as_before(settings)


def test_a_new_port_and_back(place: Bed, settings: str) -> None:
    run = place.play(sshd_port=2222)
    assert run.rc == 0, run.end
    assert "put `ansible_port: 2222` into the inventory" in " ".join(run.output.split())
    assert place.enter(2222)
    assert not place.enter(22)
    again = place.play(inventory={"ansible_port": 2222}, sshd_port=2222)
    assert (again.rc, again.changed) == (0, 0), again.end
    back = place.play(inventory={"ansible_port": 2222}, sshd_port=22)
    assert back.rc == 0, back.end
    assert place.enter(22)
    assert place.play().rc == 0
    place.is_as_before(settings)


def test_a_port_of_systemds_socket(place: Bed, settings: str) -> None:
    place.server.run("systemctl stop ssh.service; systemctl start ssh.socket")
    try:
        run = place.play(sshd_port=2222)
        assert run.rc == 0, run.end
        assert place.enter(2222)
        assert not place.enter(22)
        back = place.play(inventory={"ansible_port": 2222}, sshd_port=22)
        assert back.rc == 0, back.end
        assert place.enter(22)
    finally:
        place.server.run("systemctl stop ssh.socket ssh.service; systemctl start ssh.service")
