"""The firewall as strangers meet it: each machine of the scenario knocks at the other one."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from knocking import LISTEN, PROGRAM, answers, ssh, timed, wait

# What comes in ------------------------------------------------------------------------------------


def test_a_stranger_sees_ssh_http_and_https(stranger, address, listening):
    scan = "nmap -Pn -n -p 1-9999 --min-rate 5000 --max-retries 2 -oG - %s"
    found = stranger.check_output(scan, address)
    ports = found.partition("Ports: ")[2].partition("\t")[0]
    assert [one.split("/")[:2] for one in ports.split(", ") if "/open/" in one] == [
        ["22", "open"], ["80", "open"], ["443", "open"],
    ], found  # fmt: skip
    assert "/closed/" not in ports  # what is not let in is not answered


def test_a_source_that_is_let_in(host, machine, stranger, address, from_, listening):
    assert not answers(stranger, address, 5432)
    # An address of the rule, on the stranger; the other machine's test may be giving this one the other address.
    source = {"debian12": "10.9.0.1", "debian13": "10.9.0.2"}[machine]
    stranger.check_output(f"ip address add {source}/32 dev lo")
    host.check_output("ip route add 10.9.0.0/24 via %s", from_)
    try:
        connect = "python3 -c \"import socket; socket.create_connection(('%s', {}), 2, ('%s', 0))\"" % (address, source)
        assert stranger.run(connect.format(5432)).rc == 0
        assert stranger.run(connect.format(8000)).rc == 0
        assert stranger.run(connect.format(9999)).rc != 0
    finally:
        host.check_output("ip route del 10.9.0.0/24")
        stranger.check_output(f"ip address del {source}/32 dev lo")


def test_this_machine_talks_to_itself_and_to_others(host, stranger, variables, listening):
    assert answers(host, "127.0.0.1", 9999)
    assert answers(host, stranger.check_output("hostname -I").split()[0], 22)
    # A table of Docker's leads to its name server.
    assert host.run("getent hosts %s", variables["bed_container"]).rc == 0


def test_ping_is_answered_and_limited(stranger, address):
    ping = "nmap -n -sn -PE --disable-arp-ping --max-retries 0 %s"
    assert "1 host up" in stranger.check_output(ping, address)


IPV6 = """
set -e
ip link set lo up
ip link add here type veth peer name there
unshare --net sleep 60 & there=$!
sleep 0.3
ip link set there netns $there
ip address add fd77::1/64 dev here nodad; ip link set here up
in_there() { nsenter --net=/proc/$there/ns/net "$@"; }
in_there ip address add fd77::2/64 dev there nodad
in_there ip address add fd88::2/64 dev there nodad
in_there ip link set there up
nft -f /etc/webstack/firewall.nft
python3 -c "$1" 22 80 443 5432 9999 & listen=$!
sleep 1
for from in fd77::2 fd88::2; do
  for port in 22 80 443 5432 9999; do
    in_there python3 -c "import socket; socket.create_connection(('fd77::1', $port), 1, ('$from', 0))" 2>/dev/null && echo "$from $port"
  done
done || true
in_there sysctl -qw net.ipv6.conf.there.disable_ipv6=0 2>/dev/null || true
nft add element inet webstack banned_ssh6 '{ fd77::2 timeout 1m }'
in_there python3 -c "import socket; socket.create_connection(('fd77::1', 22), 1)" 2>/dev/null || echo banned
kill $listen $there
"""


def test_ipv6(host):
    """In a network of its own, as the test bed has none: neighbours are found, and the same ports are open."""
    assert host.run("ip -6 address show dev lo").stdout.count("::1/128") in (0, 1)
    done = host.run("unshare --net bash -c %s bash %s", IPV6, LISTEN)
    lines = done.stdout.split("\n")
    assert [line for line in lines if line.startswith("fd77::2")] == [f"fd77::2 {n}" for n in (22, 80, 443, 5432)], done
    assert "banned" in lines


def test_the_rules_name_both_families(host):
    found = host.check_output("nft list table inet webstack")
    assert 'ip saddr { 10.9.0.1, 10.9.0.2 } tcp dport 5432 accept comment "PostgreSQL"' in found
    assert 'ip6 saddr fd00::/8 tcp dport 5432 accept comment "PostgreSQL"' in found
    for kind in ("packet-too-big", "nd-neighbor-solicit", "nd-router-advert", "destination-unreachable"):
        assert kind in found
    assert "hook forward" not in found  # what is forwarded is Docker's, or the user's


# Drift ----------------------------------------------------------------------------------------------


DRIFT = {
    "nft flush chain inet webstack ssh": "missing: ip saddr @banned_ssh4 drop",
    "nft add rule inet webstack input tcp dport 9999 accept": "not declared: tcp dport 9999 accept",
    "nft chain inet webstack input '{ policy accept; }'": "policy accept",
    "nft add element inet webstack ssh_ports '{ 9999 }'": "9999",
    "nft add table inet webstack '{ flags dormant; }'": "not declared: flags dormant",
    "nft delete table inet webstack": "there is no table inet webstack",
}


def test_drift_is_found_and_put_back(host, playbook):
    for command, words in DRIFT.items():
        host.check_output(command)
        found = host.run(f"{PROGRAM} check")
        assert (found.rc, words in found.stdout) == (1, True), found
        if "delete" not in command:
            host.check_output(f"{PROGRAM} load")
    predicted = playbook(check=True)
    assert (predicted.rc, predicted.changed) == (0, 1), predicted.output
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    host.check_output("sed -i 's/dport 443/dport 444/' /etc/webstack/firewall.nft; webstack-firewall load")
    assert playbook().changed == 1
    assert host.run(f"{PROGRAM} check").rc == 0


def test_other_tables_stay(host):
    host.check_output("nft add table inet mine; nft add chain inet mine c; nft add rule inet mine c tcp dport 1 accept")
    before = [host.check_output(f"nft list table {one}") for one in ("inet mine", "ip nat")]
    assert "DOCKER_OUTPUT" in before[1]
    host.check_output(f"{PROGRAM} stop; {PROGRAM} load; {PROGRAM} check")
    after = [host.check_output(f"nft list table {one}") for one in ("inet mine", "ip nat")]
    host.check_output("nft delete table inet mine")
    assert [text.split("packets")[0] for text in after] == [text.split("packets")[0] for text in before]


# Ways to shut oneself out ---------------------------------------------------------------------------


MISTAKES = {
    "debian12": {"firewall_ssh_from": ["192.0.2.1"]},
    # Also what is open already, at once.
    "debian13": {"firewall_table_raw": "chain early { type filter hook input priority -9; tcp dport 22 drop; }"},
}


def test_who_shuts_out_the_controller_is_back_within_two_minutes(host, machine, playbook, variables):
    before = host.check_output("nft -s list chain inet webstack input")
    with timed(120):
        run = playbook(MISTAKES[machine])
        assert run.rc != 0
        assert ssh(variables, "true") == 0
    assert "The old settings are in force again" in " ".join(run.output.split()), run.output
    assert host.check_output("nft -s list chain inet webstack input") == before
    # The connection that was open goes on when TCP tries again.
    wait(lambda: playbook(check=True).rc == 0, 120)
    assert playbook(check=True).changed == 0


def test_what_nft_refuses_changes_nothing(host, playbook):
    run = playbook({"firewall_rules_raw": "tcp dport {22 drop"})
    assert run.rc != 0
    assert "the old configuration stays in place" in " ".join(run.output.split())
    assert host.run(f"{PROGRAM} check").rc == 0


def test_what_cannot_be_is_refused(playbook):
    run = playbook({"firewall_extra_openings": [{"port": 70000}]})
    assert run.rc != 0
    assert "is neither a port (1 to 65535) nor a range" in " ".join(run.output.split()), run.output


# The machine ----------------------------------------------------------------------------------------


def test_a_machine_that_cannot_is_left_alone_and_named(playbook):
    """Root without the right to filter packets, as in many containers."""
    become = {"ansible_become_exe": "sudo -n setpriv --bounding-set=-net_admin --inh-caps=-net_admin sudo"}
    run = playbook(become, check=True)
    assert run.rc == 0, run.output
    words = " ".join(run.output.split())
    assert "This server gets no firewall, since root may not filter packets here" in words


@pytest.mark.parametrize("unit", ["webstack-firewall.service", "fail2ban.service", "nftables.service"])
def test_units_have_few_rights(host, unit):
    report = json.loads(host.run(f"systemd-analyze security --json=short {unit}").stdout or "[]")
    assert report
    score = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(score.split(":")[1].split()[0]) <= 2.5, score


def test_the_rules_are_there_after_a_restart(host, variables, stranger, listening):
    """And before the network: the unit stands before network-pre.target."""
    subprocess.run(["docker", "restart", "--time=30", variables["bed_container"]], check=True, capture_output=True)
    with timed(60):
        while ssh(variables, "sudo", "systemctl", "is-system-running", "--wait") != 0:
            time.sleep(0.5)
    assert host.run(f"{PROGRAM} check").rc == 0
    assert "network-pre.target" in host.check_output("systemctl show -p Before --value webstack-firewall.service")
    assert host.check_output("systemctl is-active fail2ban.service") == "active"
    assert not answers(stranger, host.check_output("hostname -I").split()[0], 9999)


def test_the_distributions_service_does_not_end_it(host):
    """It flushes all tables; here only ours, since Docker's name server needs its own."""
    drop_in = "/run/systemd/system/nftables.service.d"
    lines = "[Service]", "ExecStart=", "ExecReload=", "ExecStop="
    lines += tuple(f"{key}=/usr/sbin/nft delete table inet webstack" for key in ("ExecStart", "ExecReload", "ExecStop"))
    # Before the drop-in of the role, which adds to these.
    host.check_output(
        f"mkdir {drop_in}; printf '%%s\\n' %s >{drop_in}/a.conf; systemctl daemon-reload", "\n".join(lines)
    )
    try:
        for command in ("start", "reload", "restart", "stop"):
            host.check_output(f"systemctl {command} nftables.service")
            assert host.run(f"{PROGRAM} check").rc == 0, command
    finally:
        host.check_output(f"rm -r {drop_in}; systemctl daemon-reload")


def test_rules_of_the_user_that_cannot_be_loaded_at_boot_are_left_out(host):
    """A network card that is gone, for instance."""
    rules = "/etc/webstack/firewall.nft"
    host.check_output(f"cp -p {rules} /root/rules")
    try:
        mark = r"\t\t# begin of the rules of the user\n\t\tiif nosuch0 accept\n\t\t# end of the rules of the user"
        host.check_output("sed -i 's/^\\t\\ttcp dport @ssh_ports.*/%s\\n&/' %s" % (mark, rules))
        assert host.run("systemctl restart webstack-firewall.service").rc != 0
        assert "policy drop" in host.check_output("nft list chain inet webstack input")
    finally:
        host.check_output(f"mv /root/rules {rules}")
        host.check_output("systemctl restart webstack-firewall.service")


def test_turned_off_and_on_again(host, stranger, address, playbook, listening):
    assert playbook({"firewall_enabled": False}, check=True).changed > 0
    run = playbook({"firewall_enabled": False})
    assert run.rc == 0, run.output
    assert host.run("nft list table inet webstack").rc != 0
    assert answers(stranger, address, 9999)
    for unit in ("webstack-firewall.service", "fail2ban.service", "nftables.service"):
        assert host.run(f"systemctl is-active {unit}").stdout.strip() == "inactive"
    assert not host.file("/etc/systemd/system/webstack-firewall.service").exists
    assert host.check_output("ls /etc/fail2ban/*/webstack* 2>/dev/null | wc -l") == "0"
    assert playbook({"firewall_enabled": False}).changed == 0
    assert playbook().rc == 0
    assert not answers(stranger, address, 9999)
    assert playbook(check=True).changed == 0
