"""Python and uv as the applications use them."""

from __future__ import annotations

import pytest

UV = "/opt/webstack/uv/bin/uv"


def version(host):
    return host.check_output(f"{UV} --version").split()[1]


def test_uv_is_the_declared_version_and_everybody_may_run_it(host):
    assert host.check_output(f"runuser -u nobody -- {UV} --version").split()[1] == "0.13.8"


def test_a_user_builds_an_environment_from_the_package_index(host):
    build = f"cd && rm -rf env && {UV} venv -q env && {UV} pip install -q -p env six==1.17.0 && env/bin/python -m six; "
    done = host.run("runuser -l deploy -c %s", build + "env/bin/python -c 'import six; print(six.__version__)'")
    assert done.stdout.strip() == "1.17.0", done.stderr


def test_the_distribution_makes_environments_too(host):
    assert host.run("python3 -m venv --clear /tmp/env && /tmp/env/bin/pip --version").rc == 0


def test_packages_of_applications(host):
    assert host.run("git --version").rc == 0
    assert host.run("pkg-config --version").rc == 0
    assert host.run("python3 -c 'import ctypes; ctypes.CDLL(\"libmagic.so.1\")'").rc == 0


def test_a_version_that_does_not_exist_leaves_the_old_uv(host, playbook):
    run = playbook({"python_uv_version": "99.0.1"})
    assert run.rc != 0
    assert "python_uv_version: is 99.0.1 a version of uv" in run.output
    assert version(host) == "0.13.8"
    assert host.check_output("ls /opt/webstack") == "uv\nuv-0.13.8"


def test_another_version_and_a_damaged_one(host, playbook):
    run = playbook({"python_uv_version": "0.13.7"})
    assert (run.rc, run.changed) == (0, 1), run.output
    assert version(host) == "0.13.7"
    host.check_output("cd /opt/webstack && rm uv && mkdir -p uv/bin uv-0.13.8 && touch uv/bin/uv")
    assert playbook(check=True).changed == 1
    assert playbook().rc == 0
    assert version(host) == "0.13.8"
    assert host.check_output("ls /opt/webstack") == "uv\nuv-0.13.8"


def test_a_umask_of_the_administrator_locks_nobody_out(host, playbook):
    host.check_output("echo 'Defaults umask=0077, umask_override' >/etc/sudoers.d/umask; rm -r /opt/webstack")
    try:
        assert playbook().rc == 0
    finally:
        host.check_output("rm /etc/sudoers.d/umask")
    test_uv_is_the_declared_version_and_everybody_may_run_it(host)


def test_python_of_the_distribution_needs_no_download(host, playbook, machine):
    run = playbook({"python_versions": [{"debian12": "3.11", "debian13": "3.13"}[machine]]})
    assert (run.rc, run.changed) == (0, 0), run.output
    assert not host.file("/opt/webstack/python").exists


@pytest.mark.parametrize("wanted", ["3.10", "3.99"])
def test_python_that_cannot_be_had(host, playbook, wanted):
    run = playbook({"python_versions": [wanted], "python_mirror": "http://127.0.0.1:9"})
    assert run.rc != 0
    assert f"python_versions: the distribution has no Python {wanted}, and uv could not download it" in run.output
    assert wanted == "3.99" or "http://127.0.0.1:9" in run.output
    assert version(host) == "0.13.8"


def test_versions_that_are_none(playbook):
    run = playbook({"python_versions": ["three"], "python_uv_version": "latest"}, check=True)
    assert (run.rc, run.changed) == (2, 0)
    assert "python_versions: three is no version of Python" in run.output
    assert "python_uv_version: latest is no version" in run.output
