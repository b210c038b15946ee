"""What people and attackers meet: logins, passwords, su, modules, and what is noted; each part can be turned off."""

from __future__ import annotations

import pytest

# Asks PAM as a program would: service, account, and a password or - (an account that came in by a key).
ASK = """
import ctypes, ctypes.util, sys
pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL("libc.so.6")
class Message(ctypes.Structure): _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]
class Answer(ctypes.Structure): _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]
TALK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.POINTER(Message)),
                        ctypes.POINTER(ctypes.POINTER(Answer)), ctypes.c_void_p)
libc.calloc.restype, libc.strdup.restype = ctypes.c_void_p, ctypes.c_void_p
def talk(count, messages, answers, data):
    room = ctypes.cast(libc.calloc(count, ctypes.sizeof(Answer)), ctypes.POINTER(Answer))
    for n in range(count): room[n].text = libc.strdup(sys.argv[3].encode())
    answers[0] = room
    return 0
class Conversation(ctypes.Structure): _fields_ = [("talk", TALK), ("data", ctypes.c_void_p)]
talking, handle = Conversation(TALK(talk), None), ctypes.c_void_p()
pam.pam_start(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(talking), ctypes.byref(handle))
codes = [] if sys.argv[3] == "-" else [pam.pam_authenticate(handle, 0)]
if not any(codes): codes.append(pam.pam_acct_mgmt(handle, 0))
print(*codes)
"""


def ask(host, service, user, password):
    """What PAM answers, 0 is yes: to the password, and to whether the account may come in."""
    return host.check_output("python3 -c %s %s %s %s", ASK, service, user, password)


def with_password(host, name, password="correct horse battery staple"):
    host.check_output(f"id {name} >/dev/null 2>&1 || useradd -m {name}; echo '{name}:{password}' | chpasswd")


def test_umask(host):
    """People's files are not for everybody; what playbooks and packages make through sudo can be read by services."""
    assert host.check_output("su - ada -c umask") == "0027"
    assert host.check_output("su ada -c 'sudo -n sh -c umask'") == "0022"
    assert host.check_output("su - ada -c 'umask 0077; sudo -n sh -c umask'") == "0022"


def test_no_core_dumps(host):
    assert host.check_output("su - ada -c 'ulimit -H -c'") == "0"
    assert host.check_output("su - root -c 'ulimit -H -c'") == "0"


def test_a_forgotten_shell_ends(host):
    assert host.check_output("su - ada -c 'echo $TMOUT'") == "900"


def test_before_a_login_nothing_is_said_of_the_system(host):
    for path in ("/etc/issue", "/etc/issue.net"):
        text = host.file(path).content_string
        assert text.startswith("This is a private system."), text
        assert "Debian" not in text
        assert "\\" not in text
    assert host.file("/etc/motd").content_string == ""


def test_a_weak_password_is_refused(host):
    with_password(host, "grace")
    host.check_output("passwd -q -n 0 grace")
    change = "runuser -u grace -- env LC_ALL=C passwd"
    old = "correct horse battery staple"
    short, long = "Tr0ub4dor&3", "four words are not short"
    refused = host.run(f"printf '%s\\n' '{old}' '{short}' '{short}' '{short}' '{short}' '{short}' '{short}' | {change}")
    assert refused.rc != 0
    assert "shorter than 16 characters" in refused.stdout + refused.stderr
    assert host.run(f"printf '%s\\n' '{old}' '{long}' '{long}' | {change}").rc == 0
    assert host.check_output("getent shadow grace").split(":")[1].startswith("$y$")
    host.check_output("userdel -r grace")


def test_wrong_passwords_lock_nobody_out_who_has_a_key(host):
    with_password(host, "grace")
    right = "correct horse battery staple"
    assert ask(host, "sshd", "grace", right) == "0 0"
    for _ in range(6):
        assert ask(host, "sshd", "grace", "wrong") != "0 0"
    assert ask(host, "sshd", "grace", right) != "0 0"
    assert ask(host, "sshd", "grace", "-") == "0"
    # who came in by a key has the wrong ones forgotten
    assert ask(host, "sshd", "grace", right) == "0 0"
    host.check_output("userdel -r grace")


def test_a_password_that_is_too_old_keeps_no_key_out(host):
    with_password(host, "grace")
    assert host.check_output("passwd -S grace").split()[3:6] == ["1", "365", "14"]
    host.check_output(r"sed -Ei 's/^(grace:[^:]*):[0-9]*/\1:18262/' /etc/shadow")
    assert ask(host, "sshd", "grace", "-") == "0"
    assert ask(host, "sshd", "grace", "correct horse battery staple") != "0 0"
    host.check_output("usermod -e 2020-01-01 grace")
    assert ask(host, "sshd", "grace", "-") != "0"
    host.check_output("userdel -r grace")


def test_su_is_for_one_group(host):
    refused = host.run("runuser -u ada -- sh -c 'su -c id'")
    assert refused.rc != 0
    assert "Permission denied" in refused.stderr
    assert host.check_output("su ada -c 'id -un'") == "ada"


def test_modules_that_the_server_does_not_need(host):
    for name in ("dccp", "usb-storage", "cramfs"):
        assert host.check_output(f"modprobe -n -v {name}").strip() == "install /bin/false"
        assert host.run(f"modprobe {name}").rc != 0


def test_cron_is_for_root(host):
    assert host.file("/etc/cron.allow").content_string == "root\n"
    assert host.file("/etc/cron.daily").mode == 0o700


def test_the_audit_rules(host):
    """In the test bed the kernel takes none; the program that loads them has read them."""
    rules = host.check_output("augenrules --check >/dev/null; cat /etc/audit/rules.d/webstack.rules")
    for line in ("-w /etc/sudoers.d -p wa -k sudo", "-w /etc/letsencrypt -p wa -k certificates"):
        assert line in rules
    assert host.check_output("systemctl is-enabled auditd") == "enabled"


def test_what_a_container_cannot_take_is_named(playbook):
    output = playbook("-v").output
    assert "a condition of the unit is not met (in a container, for instance): auditd.service" in output
    assert "Kernel settings left as they are" in output


def test_what_differs_from_the_day_before_is_in_the_journal(host):
    run = "systemctl start webstack-integrity.service"
    host.check_output(run)
    host.check_output("cp -p /usr/bin/tree /root/tree; echo >>/usr/bin/tree; echo x >/etc/intruder")
    host.check_output(run)
    said = host.check_output("journalctl -p warning -o cat -u webstack-integrity.service --since -10min")
    assert "/etc/intruder" in said
    assert "/usr/bin/tree" in said
    assert "not as its package brought it" in said
    host.check_output(f"mv /root/tree /usr/bin/tree; rm /etc/intruder; {run}")
    assert host.check_output("systemctl is-enabled webstack-integrity.timer") == "enabled"


def test_what_somebody_wrote_into_pam_is_not_lost(host, playbook):
    path = "/etc/pam.d/common-auth"
    before = host.file(path).content_string
    line = "auth optional pam_echo.so by hand"
    host.check_output(f"sed -i -e /pam_faillock/d -e '/pam_unix/i {line}' {path}")
    run = playbook()
    assert run.rc == 2
    assert "by hand:\n" in run.output
    assert "auth pam_echo.so" in run.output
    assert line in host.file(path).content_string
    host.check_output("cat >%s <<'E'\n%sE" % (path, before))
    assert playbook(check=True).changed == 0


def test_users_see_their_own_processes(host):
    assert host.check_output("runuser -u ada -- sh -c 'ls -d /proc/1 2>&1; ls -d /proc/$$'").count("/proc/") == 2
    assert host.run("runuser -u ada -- cat /proc/1/cmdline").rc != 0
    assert host.check_output("ls /proc/1/cmdline") == "/proc/1/cmdline"


@pytest.mark.parametrize("unit", ["webstack-hidepid.service", "webstack-integrity.service"])
def test_units_have_few_rights(host, unit):
    score = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(score.split(":")[1].split()[0]) <= 2.5, score


def test_usb_devices_that_are_plugged_in(host):
    """The test bed has no USB: what the daemon would read is asked of its own parser."""
    parsed = host.check_output("usbguard-rule-parser -f /etc/usbguard/rules.conf")
    assert "OUTPUT: allow with-interface match-all { 03:*:* 09:*:* }" in parsed
    settings = host.file("/etc/usbguard/usbguard-daemon.conf").content_string.splitlines()
    assert {"PresentDevicePolicy=keep", "ImplicitPolicyTarget=block"} <= set(settings)
    assert host.check_output("systemctl is-enabled usbguard.service") == "enabled"


def test_each_part_can_be_turned_off(host, playbook):
    off = {
        "banner": "",
        "umask": "",
        "idle_timeout": 0,
        "core_dumps": True,
        "passwords": False,
        "su_group": "",
        "cron_users": [],
        "denied_modules": [],
        "audit": False,
        "integrity": False,
        "hide_processes": False,
        "usb_guard": False,
        "upgrade_news": False,
    }
    try:
        run = playbook({"os_hardening": off})
        assert run.rc == 0, run.output
        assert playbook({"os_hardening": off}, check=True).changed == 0
        # not as a child of the connection, which has limits of its own from before
        login = "systemd-run --quiet --wait --pipe su - ada -c 'ulimit -H -c; echo $TMOUT'"
        assert host.check_output(login) == "unlimited"
        assert host.run("runuser -u ada -- sh -c 'command -v su && test -x /usr/bin/su && test -e /proc/1'").rc == 0
        assert (
            host.run(
                "cd /etc/pam.d; grep -E 'pam_faillock|no_pass_expiry|umask=' common-auth common-account common-session"
            ).rc
            != 0
        )
        assert host.run("modprobe -n -v dccp").stdout == ""
        assert host.run("systemctl is-active webstack-integrity.timer").stdout.strip() == "inactive"
        assert host.run("systemctl is-enabled usbguard.service").stdout.strip() == "disabled"
    finally:
        run = playbook()
    assert run.rc == 0, run.output


def test_mistakes_are_named(playbook):
    run = playbook({"os_hardening": {"umask": "rwx", "idle_timeout": -1, "denied_modules": ["x y"]}})
    assert (run.rc, run.changed) == (2, 0), run.output
    for message in (
        "os_hardening: umask: rwx is none; write it in quotes, like",
        "os_hardening: idle_timeout: give 0 or more",
        "os_hardening: denied_modules: x y is no name of a module",
    ):
        assert message in run.output
