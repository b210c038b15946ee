# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.action.sysctl import outcome, question
from ansible_collections.webstack.django.plugins.module_utils import sysctl


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A directory that stands for /proc/sys."""
    for name, value in {
        "vm/swappiness": "60\n",
        "net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
        "net/ipv4/conf/eth0.5/rp_filter": "0\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(value)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("vm.swappiness", "/proc/sys/vm/swappiness"),
        ("vm/swappiness", "/proc/sys/vm/swappiness"),
        ("net.ipv4.conf.eth0/5.rp_filter", "/proc/sys/net/ipv4/conf/eth0.5/rp_filter"),
        ("net/ipv4/conf/eth0.5/rp_filter", "/proc/sys/net/ipv4/conf/eth0.5/rp_filter"),
    ],
)
def test_keys_are_read_like_sysctl_does(key: str, path: str) -> None:
    assert sysctl.path_of(key) == path


def test_what_differs_is_found_and_written(kernel: Path) -> None:
    settings = {"vm.swappiness": 10, "net.ipv4.tcp_rmem": "4096 131072 6291456", "net.ipv4.conf.eth0/5.rp_filter": True}
    outcome = sysctl.compare(settings, str(kernel))
    assert outcome.changed == {"vm.swappiness": ("60", "10"), "net.ipv4.conf.eth0/5.rp_filter": ("0", "1")}
    assert outcome.skipped == {}
    assert (kernel / "vm/swappiness").read_text() == "60\n"  # comparing writes nothing
    sysctl.apply(outcome, str(kernel))
    assert (kernel / "vm/swappiness").read_text() == "10"
    assert (kernel / "net/ipv4/conf/eth0.5/rp_filter").read_text() == "1"
    assert sysctl.compare(settings, str(kernel)).changed == {}


def test_a_setting_that_the_kernel_lacks_is_skipped_with_the_reason(kernel: Path) -> None:
    outcome = sysctl.compare({"vm.no_such_setting": 1}, str(kernel))
    assert (outcome.changed, outcome.skipped) == ({}, {"vm.no_such_setting": "this kernel has no such setting"})


def test_a_setting_that_may_not_be_written_is_skipped_unless_it_is_right(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: str, flags: int) -> int:
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr(os, "open", read_only)
    assert sysctl.compare({"vm.swappiness": 60}, str(kernel)).skipped == {}
    outcome = sysctl.compare({"vm.swappiness": 10}, str(kernel))
    assert outcome.skipped == {"vm.swappiness": "cannot be written here (Read-only file system)"}
    assert outcome.changed == {}


def test_a_setting_that_the_kernel_does_not_permit_in_the_end_moves_to_the_skipped(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = sysctl.compare({"vm.swappiness": 10}, str(kernel))

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("builtins.open", refuse)
    sysctl.apply(outcome, str(kernel))
    assert outcome.changed == {}
    assert outcome.skipped == {"vm.swappiness": "cannot be written here (Operation not permitted)"}


def test_a_value_that_the_kernel_refuses_is_an_error_that_names_it(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = sysctl.compare({"vm.swappiness": 1000}, str(kernel))

    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(sysctl.SysctlError) as error:
        sysctl.apply(outcome, str(kernel))
    assert str(error.value) == (
        "vm.swappiness = 1000: the kernel refuses this value (Invalid argument); correct it in the settings"
    )


SHELL = [
    ({"vm.swappiness": 60, "net.ipv4.tcp_rmem": "4096 131072  6291456"}, 0),
    ({"vm.swappiness": "60", "net.ipv4.conf.eth0/5.rp_filter": False, "vm.no_such_setting": 1}, 0),
    ({"vm.swappiness": 10}, 1),
    ({"net.ipv4.conf.eth0/5.rp_filter": True}, 1),
]


@pytest.mark.parametrize(("settings", "status"), SHELL)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_shell_sees_the_same(kernel: Path, shell: str, settings: dict[str, object], status: int) -> None:
    done = subprocess.run([shell], input=question(settings, str(kernel)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    if status == 0:
        assert outcome(done.stdout) == sysctl.compare(settings, str(kernel))
    assert (kernel / "vm/swappiness").read_text() == "60\n"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_shell_says_why_something_cannot_be_written(shell: str) -> None:
    """Of a setting that only tells something: root cannot write it either."""
    settings: dict[str, object] = {"kernel.ostype": "none"}
    done = subprocess.run([shell], input=question(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert outcome(done.stdout).skipped == {"kernel.ostype": "cannot be written here (Permission denied)"}
    assert outcome(done.stdout) == sysctl.compare(settings)
