# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When apt is asked for packages. What it then does is for the scenarios of the roles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import packages

SAID = """\
installed nginx
config-files memcached
not-installed valkey-server
half-configured fail2ban
installed ssl-cert
automatic ssl-cert
automatic libc6
"""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["nginx"], []),
        (["nginx", "memcached"], ["memcached"]),
        (["valkey-server", "fail2ban"], ["valkey-server", "fail2ban"]),
        (["ssl-cert"], ["ssl-cert"]),  # an autoremove would take it away
        (["no-such-package"], ["no-such-package"]),
        (["nginx=1.22.1-9", "nginx*", "nginx:i386"], ["nginx=1.22.1-9", "nginx*", "nginx:i386"]),
        ([], []),
    ],
)
def test_what_apt_is_asked_for(names: list[str], expected: list[str]) -> None:
    assert packages.missing(names, SAID) == expected


def test_what_the_report_says_of_them() -> None:
    wanted = ["memcached", "valkey-server", "fail2ban", "ssl-cert", "no-such-package"]
    found = packages.differences(wanted, SAID, "memcached 2026-11-30T03:12:45Z\n")
    assert [(one["thing"], one["expected"], one["found"], one["since"]) for one in found] == [
        ("package memcached", "installed", "removed", "2026-11-30T03:12:45Z"),
        ("package valkey-server", "installed", "missing", None),
        ("package fail2ban", "installed", "half-configured", None),
        ("package ssl-cert", "installed", "installed with another package only, and so removed by an autoremove", None),
        ("package no-such-package", "installed", "missing", None),
    ]


def test_the_log_of_dpkg_is_in_local_time(tmp_path: Path) -> None:
    (tmp_path / "dpkg.log").write_text(
        "2026-11-30 03:12:44 status half-configured memcached:amd64 1.6\n"
        "2026-11-30 03:12:45 status config-files memcached:amd64 1.6\n"
        "2026-11-30 03:12:46 status installed other:amd64 1.6\n"
    )
    command = packages.history(["memcached", "nginx"]).replace("/var/log", str(tmp_path))
    environment = {"PATH": "/usr/bin:/bin", "TZ": "XXX-2"}
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("memcached 2026-11-30T01:12:45Z\n", "")


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="no Debian")
def test_the_command_is_one_of_a_shell() -> None:
    names = ["dpkg", "no-such-package", "dpkg; echo installed no-such-package", "--help"]
    done = subprocess.run(["sh", "-c", packages.query(names)], check=False, capture_output=True, text=True)
    assert (done.stdout.partition("automatic ")[0], done.stderr) == ("installed dpkg\n", "")
