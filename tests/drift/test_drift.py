"""A server that somebody has been at, or on which a converge was killed, comes back to the declared state; the report names
each thing that differs, and nothing where nobody has been.

Converges are killed at tasks spread evenly over a run; the points follow each other. With --full all tasks are points, with a
converge after each of them, and mutations are done in batches and one after another to both kinds of servers.
"""

from __future__ import annotations

import drifted
import killed
import pytest

POINTS = {"bare": 12, "drifted": 8}
# What a week does to a server that nobody touches: every timer has run, logs were rotated, security updates were installed
# (the same version again, with its scripts), databases tidied up, visitors came, people logged in, the machine has booted.
WEEK = """
set -e
systemctl list-unit-files --type=timer --state=enabled --no-legend | while read -r timer rest; do
    case $timer in *@*) continue ;; esac
    unit=$(systemctl show -p Unit --value "$timer")
    timeout 120 systemctl start "$unit" || { systemctl is-failed -q "$unit"; systemctl reset-failed "$unit"; }
done
logrotate -f /etc/logrotate.conf
journalctl -q --rotate && journalctl -q --vacuum-time=1s
systemd-tmpfiles --create --remove --clean || true
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qqy -o Dpkg::Options::=--force-confold install --reinstall \
    $(dpkg-query -W -f '${Package}\n' nginx apache2 redis-server memcached fail2ban sudo openssh-server logrotate nftables 2>/dev/null)
apt-get -qq clean
rm -rf /var/lib/apt/lists/*
! [ -d /run/postgresql ] || runuser -u postgres -- vacuumdb -aqz
! command -v mariadb-check >/dev/null || mariadb-check -Ao >/dev/null
echo letter >/srv/plain/shared/media/letter.txt && chown plain: /srv/plain/shared/media/letter.txt
runuser -u ada -- sh -c 'echo id >~/.bash_history; touch ~/.cache-of-mine'
echo >>/var/log/wtmp
"""


@pytest.mark.xdist_group("first")
@pytest.mark.parametrize("start", ["bare", "drifted"])
def test_a_killed_converge(shape: killed.Shape, start: str, pytestconfig: pytest.Config) -> None:
    """The next one reaches the state of a server that was left alone, whatever the one before came to."""
    full = pytestconfig.getoption("full")
    server = shape.disturbed
    if start == "drifted":
        chosen = drifted.batches(drifted.mutations("first"))[0]
        assert len(chosen) > 75
        server.mutate(chosen)
        assert drifted.unnamed(chosen, server.report()) == []
        assert len(shape.differences(mutated=True)) > 30
    shape.disturb(shape.points(None if full else POINTS[start], start == "bare"), full)
    different = shape.differences(mutated=start == "drifted")
    assert different == [], "\n".join(different)
    report = server.report()
    assert (report["state"], report["drift"]) == ("clean", []), report
    assert server.answers()


def test_a_week_later(converged: drifted.Drifting) -> None:
    """Nobody has touched the server: nothing is reported, and nothing is changed."""
    converged.server.run(WEEK)
    converged.server.restart()
    report = converged.report()
    assert (report["state"], report["drift"]) == ("clean", []), report
    assert converged.converge().changed == 0
    assert converged.answers()


def put_back(chosen: tuple[drifted.Drifting, list[drifted.Mutation]]) -> None:
    """See it, name it, put it back."""
    server, group = chosen
    server.mutate(group)
    report = server.report()
    assert report["state"] in ("drift", "failed"), report
    assert drifted.unnamed(group, report) == [], report
    run = server.converge()
    assert run.rc == 0, run.end
    after = server.report()
    assert (after["state"], after["drift"]) == ("clean", []), after
    assert server.answers()


def test_all_at_once(chosen: tuple[drifted.Drifting, list[drifted.Mutation]]) -> None:
    put_back(chosen)


@pytest.mark.usefixtures("alone")
def test_one_by_itself(chosen: tuple[drifted.Drifting, list[drifted.Mutation]]) -> None:
    put_back(chosen)
