"""A server as people and services meet it; every drift is found and put back; mistakes change nothing."""

from __future__ import annotations

import re

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDXrN4QyH8Jq2mH1wq9cH1m0yq7mYx3rVwJ0v7o8s2aK ada@laptop"
KEYS = "/home/ada/.ssh/authorized_keys"
SUDOERS = "/etc/sudoers.d/webstack"
TRUSTED = (
    "import ssl; found = ssl.create_default_context().get_ca_certs(); "
    "print(any('Example Company Root' in str(one['subject']) for one in found))"
)


def trusted(host):
    return host.check_output("python3 -c %s", TRUSTED) == "True"


def test_host_name(host):
    assert host.check_output("uname -n") == "web1.example.com"
    assert host.file("/etc/hostname").content_string == "web1.example.com\n"
    assert host.run("getent hosts web1.example.com").rc == 0
    assert host.run("sudo -n true").stderr == ""


def test_time_zone(host):
    assert host.check_output("date -d '2026-07-01 12:00 UTC' +%H:%M_%Z") == "14:00_CEST"
    assert host.check_output("timedatectl show -p Timezone --value") == "Europe/Berlin"


def test_locale_of_a_login(host):
    assert host.check_output("su - ada -c 'date -d 2026-01-15 +%A'") == "Donnerstag"


def test_time_is_synchronised_with_the_declared_servers(host):
    assert host.service("systemd-timesyncd").is_enabled
    assert host.service("systemd-timesyncd").is_running
    shown = host.check_output("timedatectl show-timesync -p SystemNTPServers --value")
    assert shown == "ntp1.example.com ntp2.example.com"


def test_the_certificate_authority_is_trusted(host):
    assert trusted(host)
    assert host.run("openssl verify /usr/local/share/ca-certificates/example-company.crt").rc == 0


def test_the_journal_is_limited(host):
    journal = host.check_output("journalctl -b -o cat -u systemd-journald | grep 'System Journal' | tail -1")
    assert "max 200" in journal


def test_security_upgrades(host):
    shown = host.check_output("apt-config dump")
    assert 'APT::Periodic::Unattended-Upgrade "1";' in shown
    assert 'APT::Periodic::Update-Package-Lists "1";' in shown
    assert 'Unattended-Upgrade::Automatic-Reboot-Time "04:30";' in shown
    assert 'DPkg::Options:: "--force-confold";' in shown  # else packages with a file of ours are held back
    assert host.service("apt-daily-upgrade.timer").is_running
    assert host.service("apt-daily-upgrade.timer").is_enabled
    done = host.run("unattended-upgrade --dry-run --debug 2>&1")
    assert done.rc == 0
    assert "security" in done.stdout.lower()


def test_kernel_settings(host):
    """In the test bed only the network's part can be written."""
    assert host.sysctl("net.core.somaxconn") == 8192
    assert host.sysctl("net.ipv4.conf.all.accept_redirects") == 0
    assert host.sysctl("net.ipv4.conf.all.rp_filter") == 1
    content = host.file("/etc/sysctl.d/99-webstack.conf").content_string
    assert "\n-net.core.somaxconn = 8192\n" in content
    assert "\n-vm.overcommit_memory = 1\n" in content
    assert "\n-kernel.kptr_restrict = 2\n" in content


def test_packages(host):
    assert host.run("tree --version").rc == 0
    assert host.run("logrotate --debug /etc/logrotate.conf").rc == 0


def test_accounts(host):
    ada = host.user("ada")
    assert (ada.home, ada.shell, ada.groups) == ("/home/ada", "/bin/bash", ["ada", "adm"])
    blog = host.user("blog")
    assert (blog.home, blog.shell, blog.group) == ("/srv/blog", "/usr/sbin/nologin", "blog")
    assert blog.uid < 1000
    assert not host.file("/srv/blog").exists
    assert host.check_output("runuser -u ada -- sudo -n id -u") == "0"
    assert host.run("runuser -u blog -- sudo -n id -u").rc != 0
    assert host.run("runuser -u blog -- sudo -n -l systemctl reload nginx.service").rc == 0
    assert host.run("runuser -u blog -- sudo -n -l systemctl stop nginx.service").rc != 0


def test_swap_is_left_to_the_host_of_a_container(host):
    assert host.run("systemctl is-active swapfile.swap").stdout.strip() == "inactive"
    assert host.check_output("systemctl is-enabled swapfile.swap") == "enabled"
    assert not host.file("/swapfile").exists
    assert host.run("systemd-analyze verify swapfile.swap webstack-swapfile.service").rc == 0


def test_a_swap_file_is_made_in_the_right_size(host):
    make = "/usr/local/lib/webstack/make-swapfile /var/tmp/swap"
    host.check_output(f"{make} 8")
    first = host.check_output("stat -c '%i %s %a' /var/tmp/swap")
    assert first.endswith(" 8388608 600")
    assert "swap" in host.check_output("blkid -p -o value -s TYPE /var/tmp/swap")
    host.check_output(f"{make} 8")
    assert host.check_output("stat -c '%i %s %a' /var/tmp/swap") == first
    host.check_output(f"{make} 12")
    assert host.file("/var/tmp/swap").size == 12582912
    refused = host.run(f"{make} 99999999")
    assert refused.rc == 1
    assert "os_swap_mb: 99999999 MB and 500 MB to spare are needed" in refused.stderr
    host.check_output("rm -f /var/tmp/swap")


def test_what_makes_the_swap_file_has_few_rights(host):
    """The unit itself, but for the file and for its condition."""
    score = host.check_output("systemd-analyze security --no-pager webstack-swapfile.service | tail -n 1")
    assert float(re.search(r": ([\d.]+)", score).group(1)) <= 2.5, score
    edits = "-e /^Condition/d -e /^Before=/d -e 's# /swapfile .*# /swapfile-tried 8#'"
    unit = "/run/systemd/system/swapfile-tried.service"
    host.check_output(f"sed {edits} /etc/systemd/system/webstack-swapfile.service > {unit}; systemctl daemon-reload")
    host.check_output("systemctl start swapfile-tried.service")
    assert host.check_output("stat -c '%s %a %U' /swapfile-tried") == "8388608 600 root"
    assert "swap" in host.check_output("blkid -p -o value -s TYPE /swapfile-tried")
    host.check_output(f"systemctl stop swapfile-tried; rm {unit} /swapfile-tried; systemctl daemon-reload")


def test_the_key_of_a_person_opens_the_server(host, playbook):
    host.check_output("rm -f /root/ada /root/ada.pub; ssh-keygen -q -t ed25519 -N '' -C new -f /root/ada")
    key = host.file("/root/ada.pub").content_string
    run = playbook({"os_users": [{"name": "ada", "keys": [key], "sudo": "nopasswd", "groups": ["adm"]}]})
    assert (run.rc, run.changed) == (0, 1), run.output
    ssh = "ssh -i /root/ada -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null ada@127.0.0.1"
    assert host.check_output(f"{ssh} sudo -n id -u") == "0"
    assert playbook().rc == 0
    assert host.check_output(f"{ssh} true; echo $?") == "255"


def test_what_was_changed_by_hand_is_found_and_put_back(host, playbook):
    by_hand = {
        "ln -sfn /usr/share/zoneinfo/Asia/Tokyo /etc/localtime": "/etc/localtime",
        "sysctl -qw net.core.somaxconn=100 net.ipv4.conf.all.accept_redirects=1": "net.core.somaxconn = 8192",
        "rm /etc/systemd/journald.conf.d/webstack.conf": "/etc/systemd/journald.conf.d/webstack.conf",
        f"echo 'ssh-ed25519 AAAA intruder' >>{KEYS}": "intruder",
        f"chmod 0777 {SUDOERS}": SUDOERS,
        "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/etc/apt/apt.conf.d/60webstack": "60webstack",
        "rm /etc/ssl/certs/example-company.pem": "the store of certificate authorities has example-company",
        "hostname elsewhere": "the host name is web1.example.com",
        "systemctl -q disable --now systemd-timesyncd": "start systemd-timesyncd.service",
        "usermod -s /bin/bash blog": "blog",
        "rm /etc/default/locale": "/etc/default/locale",
        "systemctl -q disable --now apt-daily.timer": "start apt-daily.timer",
        "systemctl -q disable --now apt-daily-upgrade.timer": "start apt-daily-upgrade.timer",
        "systemctl -q disable --now unattended-upgrades": "enable unattended-upgrades.service",
        "rm /etc/sysctl.d/99-webstack.conf": "/etc/sysctl.d/99-webstack.conf",
        "echo 'Debian 99' >/etc/issue": "/etc/issue",
        "sed -i 's/^UMASK.*/UMASK 000/' /etc/login.defs": "/etc/login.defs",
        "sed -i /pam_faillock/d /etc/pam.d/common-auth": "PAM has the rules of this role",
        "chmod 4755 /usr/bin/su": "su may be called by sudo",
        "rm /etc/modprobe.d/webstack.conf": "/etc/modprobe.d/webstack.conf",
        "echo '-D' >/etc/audit/rules.d/webstack.rules": "webstack.rules",
        "rm /etc/security/limits.d/webstack.conf": "limits.d/webstack.conf",
        "echo 'minlen = 1' >/etc/security/pwquality.conf.d/webstack.conf": "pwquality.conf.d/webstack.conf",
        "rm /etc/profile.d/webstack.sh": "/etc/profile.d/webstack.sh",
        "chmod 0777 /etc/cron.daily; echo ada >>/etc/cron.allow": "/etc/cron.allow",
        "systemctl -q disable --now webstack-integrity.timer": "start webstack-integrity.timer",
        "echo '/tmp Same' >>/etc/aide/aide.conf": "/etc/aide/aide.conf",
        "mount -o remount,hidepid=0 /proc": "users see their own processes only",
        "echo allow >>/etc/usbguard/rules.conf": "/etc/usbguard/rules.conf",
    }
    for command in by_hand:
        host.check_output(command)
    predicted = playbook(check=True)
    assert predicted.rc == 0, predicted.output
    for name in by_hand.values():
        assert name in predicted.output, f"{name} is not named in\n{predicted.output}"
    assert host.sysctl("net.core.somaxconn") == 100
    done = playbook()
    assert done.rc == 0, done.output
    assert done.changed == predicted.changed
    assert playbook(check=True).changed == 0
    assert host.sysctl("net.core.somaxconn") == 8192
    assert host.file(KEYS).content_string.endswith(f"\n{KEY}\n")
    assert trusted(host)
    assert host.check_output("uname -n") == "web1.example.com"
    assert "pam_faillock.so preauth" in host.file("/etc/pam.d/common-auth").content_string
    assert host.check_output("stat -c %a /usr/bin/su") == "4750"
    assert "hidepid" in host.check_output("findmnt -no OPTIONS /proc")


def test_a_package_installation_that_was_cut_is_finished(host, playbook):
    """dpkg killed in the middle, and the file with which Ansible's module keeps daemons from starting still there."""
    host.check_output("mkdir -p /tmp/cut/DEBIAN")
    host.check_output(
        "printf 'Package: cut\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' >/tmp/cut/DEBIAN/control"
    )
    host.check_output(
        "printf '#!/bin/sh\\n[ -e /run/cut ] || { touch /run/cut; kill -KILL $PPID; }\\n' >/tmp/cut/DEBIAN/postinst"
    )
    host.check_output("chmod 0755 /tmp/cut/DEBIAN/postinst; rm -f /run/cut; dpkg-deb -b /tmp/cut /tmp/cut.deb")
    assert host.run("dpkg -i /tmp/cut.deb").rc != 0
    host.check_output("printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d")
    assert "dpkg was interrupted" in host.run("LC_ALL=C apt-get install -y tree").stderr
    predicted = playbook(check=True)
    for name in ("every package is configured", "packages may start their daemons"):
        assert name in predicted.output, predicted.output
    done = playbook()
    assert (done.rc, done.changed) == (0, 1), done.output
    assert host.check_output("dpkg-query -W -f '${db:Status-Status}' cut") == "installed"
    assert not host.file("/usr/sbin/policy-rc.d").exists
    host.check_output("dpkg --purge cut; rm -r /tmp/cut /tmp/cut.deb /run/cut")


def test_another_package_manager_at_work_is_waited_for(host, playbook):
    """A new server upgrades itself; without python3-apt Ansible's module would not wait."""
    lock = "import fcntl, time; fcntl.lockf(open('/var/lib/dpkg/lock-frontend', 'a'), fcntl.LOCK_EX); time.sleep(12)"
    host.check_output(
        f'systemd-run --quiet --unit=other-apt python3 -c "{lock}"; sleep 1; dpkg --purge --force-depends python3-apt'
    )
    run = playbook()
    assert run.rc == 0, run.output
    assert host.package("python3-apt").is_installed
    assert playbook().changed == 0


def test_certificate_authorities_people_and_swap_go(host, playbook):
    gone = {
        "os_ca_certificates": [{"name": "example-company", "state": "absent"}],
        "os_users": [{"name": "ada", "state": "absent"}],
        "os_system_users": [{"name": "blog", "state": "absent"}],
        "os_sudo_rules": [],
        "os_swap_mb": 0,
        "os_ntp_servers": [],
    }
    done = playbook(gone)
    assert done.rc == 0, done.output
    assert not trusted(host)
    assert not host.user("ada").exists
    assert not host.user("blog").exists
    assert host.file("/home/ada").is_directory
    for path in (SUDOERS, "/etc/systemd/system/swapfile.swap", "/etc/systemd/timesyncd.conf.d/webstack.conf"):
        assert not host.file(path).exists
    assert playbook(gone).changed == 0
    host.check_output("rm -rf /home/ada")
    assert playbook().rc == 0
    assert playbook(check=True).changed == 0


def test_a_mistake_in_the_configuration_leaves_the_old_one(host, playbook):
    """What only the host can judge: certificates, sudo rules, the time zones and locales that there are."""
    before = host.file(SUDOERS).content_string
    none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    for variables, message in (
        ({"os_ca_certificates": [{"name": "example-company", "content": none}]}, "openssl x509"),
        ({"os_sudo_rules": ["ada ALL=(root NOPASSWD ALL"]}, "visudo -cf /etc/sudoers"),
        ({"os_timezone": "Europe/Nowhere"}, "os_timezone: this host knows no time zone Europe/Nowhere"),
        ({"os_locale": "xx_YY.UTF-8"}, "os_locale, os_locales: this host knows no locale xx_YY.UTF-8"),
    ):
        run = playbook(variables)
        assert (run.rc, run.changed) == (2, 0), run.output
        assert "so the old configuration stays in place" in run.output
        assert message in run.output
    assert host.file(SUDOERS).content_string == before
    assert host.check_output("runuser -u ada -- sudo -n id -u") == "0"


def test_mistakes_are_named_before_anything_changes(playbook):
    key = "ssh-ed25519 AAAAnokey ada"
    run = playbook(
        {
            "os_hostname": "bad_name",
            "os_timezone": "../../etc/passwd",
            "os_ca_certificates": [{"name": "x", "content": "no certificate"}],
            "os_users": [{"name": "ada", "keys": [key], "sudo": "maybe"}, {"name": "Ada Lovelace"}],
        }
    )
    assert (run.rc, run.changed) == (2, 0), run.output
    for message in (
        "os_hostname: bad_name is no host name",
        "os_timezone: ../../etc/passwd is no time zone",
        "os_ca_certificates: x: content must hold one certificate",
        f"os_users: ada: key 1 ({key}...) is no public SSH key",
        "os_users: ada: sudo is true, false or nopasswd, not maybe",
        "the name Ada Lovelace: use a-z",
    ):
        assert message in run.output


def test_a_kernel_setting_that_cannot_be(playbook):
    run = playbook({"os_sysctl": {"net.core.somaxconn": 8192, "net.ipv4.ip_default_ttl": "many"}})
    assert run.rc != 0
    assert "net.ipv4.ip_default_ttl = many: the kernel refuses this value" in run.output
    assert playbook().rc == 0


def test_nobody_takes_away_their_own_way_in(host, playbook):
    """The converging user is `deploy`: other keys, a password for sudo that there is none of, no account, no group."""
    keys = "/home/deploy/.ssh/authorized_keys"
    before = host.file(keys).content_string
    for user, message in (
        ({"keys": [KEY], "sudo": "nopasswd"}, "would not let in deploy: deploy@127.0.0.1: Permission denied"),
        ({"sudo": True}, "would not let in deploy: sudo: Ein Passwort"),
        ({"state": "absent"}, "deploy is the account that you log in with; it cannot remove itself"),
        ({"groups": ["adm"]}, "deploy is the account that you log in with; with these groups alone"),
    ):
        run = playbook({"os_users": [{"name": "deploy", **user}]})
        assert run.rc == 2, run.output
        assert message in " ".join(run.output.split()), run.output
        assert host.file(keys).content_string == before
    run = playbook({"os_users": [{"name": "deploy", "keys": [before.strip(), KEY], "sudo": "nopasswd"}]})
    assert run.rc == 0, run.output
    assert playbook().rc == 0
