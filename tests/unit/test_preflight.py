# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a server is said in words that name the remedy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import preflight


@pytest.mark.parametrize(
    ("name", "version"),
    [("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04"), ("ubuntu", "26.04")],
)
def test_a_supported_system_is_no_problem(name: str, version: str) -> None:
    text = f'PRETTY_NAME="Some Linux"\nNAME="Some"\nVERSION_ID="{version}"\nID={name}\nHOME_URL="https://x/"\n'
    assert preflight.system(preflight.os_release(text)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"', "Debian GNU/Linux 11 (bullseye)"),
        ('ID="rocky"\nVERSION_ID="9.4"\n', "rocky 9.4"),
        ("ID=debian\nPRETTY_NAME='Debian GNU/Linux forky/sid'", "Debian GNU/Linux forky/sid"),
        ("", "unknown"),
    ],
)
def test_another_system_is_named_and_those_that_would_do(text: str, found: str) -> None:
    assert preflight.system(preflight.os_release(text)) == [
        f"the operating system is {found}; supported are Debian 12 and 13, Ubuntu 22.04, 24.04 and 26.04. "
        "Reinstall the server with one of these."
    ]


def test_who_is_not_root_is_told_to_use_sudo() -> None:
    assert preflight.root(0) == []
    assert preflight.root(1000) == [
        "the tasks do not run as root; log in as root, or as a user with sudo and `become: true`."
    ]


def test_without_systemd_it_is_said_what_runs_instead() -> None:
    assert preflight.init("systemd") == []
    assert preflight.init("tini") == ["systemd is not process 1 but tini; the roles need systemd."]
    assert preflight.init("") == ["systemd is not process 1 but something unknown; the roles need systemd."]


def test_a_clock_of_long_ago_is_a_problem() -> None:
    assert preflight.clock(1767225600) == []
    assert preflight.clock(86400) == [
        "the clock says 1970-01-02 00:00 UTC; set it right (`timedatectl set-time`), or downloads cannot be verified."
    ]


def disk(monkeypatch: pytest.MonkeyPatch, free_mb: int, inodes: int = 100_000, all_inodes: int = 200_000) -> None:
    """Any file system has this room."""
    values = (4096, 4096, 10**6, free_mb * 300, free_mb * 256, all_inodes, inodes, inodes, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))


def test_a_full_disk_is_named_once_with_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk(monkeypatch, 100)
    assert preflight.disks({str(tmp_path): 100}) == []
    words = f"the disk of {tmp_path} has 100 MB free; at least 101 MB are needed. Free some space."
    assert preflight.disks({str(tmp_path): 101, str(tmp_path.parent): 50}) == [words]


def test_of_two_directories_on_one_disk_the_greater_need_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk(monkeypatch, 100)
    assert len(preflight.disks({str(tmp_path): 50, str(tmp_path.parent): 200})) == 1


def test_a_directory_that_does_not_exist_yet_is_on_the_root_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 1)
    assert preflight.disks({"/no/such/directory": 2}) == [
        "the disk of / has 1 MB free; at least 2 MB are needed. Free some space."
    ]


def test_few_inodes_are_a_problem_unless_the_file_system_has_no_such_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 100, inodes=19_999)
    assert preflight.disks({"/": 1}) == ["the file system of / has 19999 inodes left; remove many small files."]
    disk(monkeypatch, 100, inodes=20_000)
    assert preflight.disks({"/": 1}) == []
    disk(monkeypatch, 100, inodes=0, all_inodes=0)  # btrfs
    assert preflight.disks({"/": 1}) == []


def test_listening_sockets_are_read_from_the_kernels_tables() -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    four = (
        f"{head}   0: 00000000:0050 00000000:0000 0A {rest} 111 1 0 100 0 0 10 0\n"
        f"   1: 0100007F:01BB 0100007F:9999 01 {rest} 222 1 0 20 4 30 10 -1\n"
    )
    six = f"{head}   0: {'0' * 32}:0050 {'0' * 32}:0000 0A {rest} 333 1 0 100 0 0 10 0\n"
    assert preflight.listeners([four, six]) == {80: {"111", "333"}}
    assert preflight.listeners(["", head]) == {}


def has_ipv6() -> bool:
    """A container may have the kernel's tables of IPv6 and no address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_taken_by_another_program_names_it(family: int, address: str) -> None:
    """A real program with a real socket."""
    script = f"import socket; s = socket.socket({int(family)}); s.bind(({address!r}, 0)); s.listen(); "
    script += "print(s.getsockname()[1], flush=True); input()"
    if family == socket.AF_INET6 and not has_ipv6():
        pytest.skip("no IPv6 here")
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline())
        name = Path(f"/proc/{program.pid}/comm").read_text().strip()
        # What is leaving holds it rightly until its successor starts.
        assert preflight.ports({port: ["nginx"]}, leaving=[name]) == []
        assert preflight.ports({port: ["nginx"]}) == [
            f"port {port}, which nginx is to have, is taken by {name} (pid {program.pid}); stop that program, or keep this "
            "server out of the tier"
        ]
        assert preflight.ports({port: ["nginx", name]}) == []
        program.communicate(b"\n")
    assert preflight.ports({port: ["nginx"]}) == []


def test_what_is_not_chosen_any_more_is_found(tmp_path: Path) -> None:
    for name in ("redis-a.conf", "redis-b.conf"):
        (tmp_path / name).write_text("")
    pattern, kept = f"{tmp_path}/redis-*.conf", f"{tmp_path}/redis-a.conf"
    assert preflight.left([pattern], [kept]) == [f"{tmp_path}/redis-b.conf"]
    assert preflight.left([pattern], [kept, f"{tmp_path}/redis-b.conf"]) == []
    assert preflight.left([f"{tmp_path}/nothing"], []) == []
