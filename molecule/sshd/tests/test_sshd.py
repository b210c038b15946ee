"""The SSH server as somebody at the other end of the wire sees it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

DROP_IN = "/etc/ssh/sshd_config.d/00-webstack.conf"
OPTIONS = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR -o ControlPath=none -o ConnectTimeout=10"


@pytest.fixture
def ssh(variables: dict[str, Any]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """ssh("id -u", user="root", options="-v"): by a connection of its own, to port 22 of the machine itself."""

    def run(
        command: str, user: str = "deploy", options: str = "", program: str = "ssh"
    ) -> subprocess.CompletedProcess[str]:
        key = variables["ansible_ssh_private_key_file"]
        argv = [program, *shlex.split(OPTIONS), *shlex.split(options), "-o", "BatchMode=yes", "-i", key]
        argv += [f"{user}@{variables['bed_address']}", *([command] if command else [])]
        return subprocess.run(argv, text=True, capture_output=True, check=False, timeout=60, input="")

    return run


def effective(host: Any, user: str = "deploy") -> dict[str, str]:
    shown = host.check_output(f"sshd -T -C user={user},host=h,addr=192.0.2.1,laddr=192.0.2.2,lport=22")
    return dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)


def test_what_is_in_force(host: Any) -> None:
    values = effective(host)
    wanted = {
        "passwordauthentication": "no",
        "kbdinteractiveauthentication": "no",
        "pubkeyauthentication": "yes",
        "permitemptypasswords": "no",
        "permitrootlogin": "no",
        "maxauthtries": "4",
        "logingracetime": "30",
        "loglevel": "VERBOSE",
        "allowtcpforwarding": "local",
        "allowagentforwarding": "no",
        "x11forwarding": "no",
        "addressfamily": "any",
        "banner": "/etc/issue.net",
        "port": "22",
    }
    assert {name: values[name] for name in wanted} == wanted
    assert host.file(DROP_IN).mode == 0o644


def test_a_key_opens_it_for_its_user_and_not_for_root(ssh: Any) -> None:
    assert ssh("sudo -n id -u").stdout == "0\n"
    refused = ssh("id -u", user="root")
    assert (refused.returncode, refused.stdout) == (255, "")
    assert "Permission denied (publickey)" in refused.stderr


def test_a_password_does_not(ssh: Any) -> None:
    refused = ssh(
        "id -u", options="-o PubkeyAuthentication=no -o PreferredAuthentications=password,keyboard-interactive"
    )
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_both_address_families(host: Any) -> None:
    listening = host.check_output("ss -Hlnt 'sport = :22' | awk '{print $4}'").split()
    assert sorted(listening) == ["0.0.0.0:22", "[::]:22"]


def test_ports_are_forwarded_in_one_direction(ssh: Any) -> None:
    there = ssh("", options="-W 127.0.0.1:22")
    assert there.stdout.startswith("SSH-2.0-OpenSSH"), there.stderr
    back = ssh("true", options="-R 127.0.0.1:45678:127.0.0.1:22 -o ExitOnForwardFailure=yes -o LogLevel=INFO")
    assert back.returncode == 255
    assert "remote port forwarding failed" in back.stderr


def test_a_match_block_is_taken_as_it_is(host: Any) -> None:
    host.run("groupadd -f sftp-only; id courier || useradd -m -G sftp-only courier")
    values = effective(host, "courier")
    assert (values["forcecommand"], values["allowtcpforwarding"]) == ("internal-sftp", "no")
    assert "forcecommand" not in {name for name, value in effective(host).items() if value != "none"}


def test_ssh_audit_has_no_failure_and_no_warning(
    host: Any, other: Callable[[str], Any], variables: dict[str, Any]
) -> None:
    audit = other("debian13").run(f"ssh-audit -n {variables['bed_address']}")
    assert audit.rc == 0, audit.stdout
    assert "[fail]" not in audit.stdout
    assert "[warn]" not in audit.stdout
    assert re.search(r"\(key\) ssh-ed25519 ", audit.stdout), audit.stdout
    assert re.search(r"\(key\) rsa-sha2-512 \((3072|4096)-bit\)", audit.stdout), audit.stdout
    assert "ecdsa" not in audit.stdout


def test_a_weak_key_of_the_server_is_not_offered(host: Any, playbook: Any, variables: dict[str, Any]) -> None:
    key = "/etc/ssh/ssh_host_rsa_key"
    host.check_output(f"mkdir /root/keys; mv {key} {key}.pub /root/keys; ssh-keygen -q -t rsa -b 2048 -N '' -f {key}")
    try:
        assert playbook().rc == 0
        scanned = subprocess.run(
            ["ssh-keyscan", "-t", "rsa,ed25519", variables["bed_address"]], text=True, capture_output=True, check=True
        ).stdout
        assert "ssh-ed25519" in scanned
        assert "ssh-rsa" not in scanned
    finally:
        host.check_output(f"rm {key} {key}.pub; mv /root/keys/* /etc/ssh; rmdir /root/keys")
        assert playbook().rc == 0


@pytest.fixture
def foreign(host: Any) -> Iterator[Callable[..., None]]:
    """foreign("10-mine.conf", text): a file of somebody else, for the time of the test; it says that it is to stay."""
    paths = []

    def write(name: str, text: str, keep: bool = True) -> None:
        paths.append(f"/etc/ssh/sshd_config.d/{name}")
        text = "# webstack.django: keep\n" * keep + text
        assert host.run("printf '%%s\n' %s > %s", text, paths[-1]).rc == 0

    yield write
    host.run("rm -f " + " ".join(paths))


def test_files_that_overrule_are_named(playbook: Any, foreign: Any) -> None:
    foreign("00-aaa.conf", "PasswordAuthentication yes")
    foreign("90-match.conf", "Match User deploy\n MaxAuthTries 9")
    foreign("90-key.conf", "HostKey /etc/ssh/ssh_host_ecdsa_key")
    for check in (True, False):
        run = playbook(check=check)
        assert run.rc != 0
        for words in (
            "00-aaa.conf, line 2: PasswordAuthentication yes",
            "90-match.conf, line 3: MaxAuthTries 9",
            "90-key.conf, line 2: HostKey /etc/ssh/ssh_host_ecdsa_key",
        ):
            assert f"/etc/ssh/sshd_config.d/{words}" in " ".join(run.output.split()), run.output


def test_a_file_that_does_not_is_left_and_comes_into_force(host: Any, playbook: Any, foreign: Any) -> None:
    foreign("90-mine.conf", "VersionAddendum mine\nPasswordAuthentication yes")
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert effective(host)["versionaddendum"] == "mine"
    assert effective(host)["passwordauthentication"] == "no"
    again = playbook()
    assert (again.rc, again.changed) == (0, 0), again.output


def test_a_file_that_nobody_declared_is_removed(host: Any, playbook: Any, foreign: Any) -> None:
    foreign("00-aaa.conf", "PasswordAuthentication yes", keep=False)
    assert playbook(check=True).changed == 1
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert not host.file("/etc/ssh/sshd_config.d/00-aaa.conf").exists
    assert effective(host)["passwordauthentication"] == "no"


def test_host_keys_and_drop_ins(host: Any, playbook: Any) -> None:
    """Keys are root's alone, and what the drop-in says is read before the rest."""
    host.check_output("chmod 0644 /etc/ssh/ssh_host_ed25519_key; sed -i '/^Include/d' /etc/ssh/sshd_config")
    host.check_output("systemctl disable ssh.service")
    assert playbook(check=True).changed >= 1
    assert playbook().rc == 0
    assert host.file("/etc/ssh/ssh_host_ed25519_key").mode == 0o600
    assert host.file("/etc/ssh/sshd_config").content_string.startswith("Include /etc/ssh/sshd_config.d/*.conf\n")
    assert host.service("ssh").is_enabled
    assert effective(host)["passwordauthentication"] == "no"
    assert playbook(check=True).changed == 0


def test_what_was_changed_by_hand_is_put_back(host: Any, playbook: Any) -> None:
    before = host.check_output(f"cat {DROP_IN}")
    host.check_output(f"sed -i 's/^MaxAuthTries.*/MaxAuthTries 9/' {DROP_IN} && chmod 0600 {DROP_IN}")
    assert playbook(check=True).changed == 1
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert host.check_output(f"cat {DROP_IN}") == before.rstrip("\n")


def test_a_run_that_died_before_the_restart_is_healed(host: Any, playbook: Any) -> None:
    started = "systemctl show -p ExecMainStartTimestampMonotonic --value ssh.service"
    before = int(host.check_output(started))
    host.check_output(f"touch {DROP_IN}")
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert int(host.check_output(started)) > before


def test_root_keeps_a_key_as_long_as_root_converges(host: Any, playbook: Any, ssh: Any) -> None:
    assert playbook({"sshd_permit_root_login": "keys", "sshd_allow_groups": []}).rc == 0
    assert ssh("id -u", user="root").stdout == "0\n"
    run = playbook({"ansible_user": "root", "sshd_allow_groups": []})
    assert run.rc == 0, run.output
    assert effective(host)["permitrootlogin"] in ("without-password", "prohibit-password")
    refused = playbook({"ansible_user": "root", "sshd_allow_groups": [], "sshd_permit_root_login": "forbidden"})
    assert refused.rc != 0
    assert "would not let in root" in refused.output, refused.output
    assert playbook().rc == 0
    assert ssh("id -u", user="root").returncode == 255


def test_what_is_not_possible_is_said(playbook: Any) -> None:
    run = playbook(
        {
            "sshd_connect_port": 70000,
            "sshd_match": "PermitRootLogin yes",
            "sshd_settings": {"Match": "User x"},
            "sshd_confirm_seconds": 5,
        }
    )
    assert run.rc != 0
    for words in (
        "sshd_connect_port: 70000 is no port",
        "sshd_connect_port: it says how sshd_port is reached",
        "sshd_match: it has to begin with Match",
        "sshd_settings: Match is not possible there",
        "sshd_confirm_seconds: give at least 30",
    ):
        assert words in " ".join(run.output.split()), run.output
