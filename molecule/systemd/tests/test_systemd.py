"""Units from a list of processes."""

from __future__ import annotations

import re

ASK = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(15); "
    "s.connect('/run/webstack/hello/web.sock'); s.sendall(b'?'); print(s.recv(100).decode())"
)


def ask(host, user="www-data"):
    return host.run(f'runuser -u {user} -- python3 -c "{ASK}"')


def test_the_web_server_gets_an_answer_through_the_socket(host):
    done = ask(host)
    assert done.rc == 0, done.stderr
    assert re.fullmatch(r"good day first \d+", done.stdout.strip())


def test_others_cannot_reach_the_socket(host):
    socket = host.file("/run/webstack/hello/web.sock")
    assert (socket.user, socket.group, socket.mode) == ("hello", "www-data", 0o660)
    assert "PermissionError" in ask(host, "nobody").stderr


def test_enabled_and_running(host):
    for unit in ("hello-web.socket", "hello-web.service", "hello-worker.service"):
        assert host.service(unit).is_running
        assert host.service(unit).is_enabled


def test_no_connection_is_refused_during_restarts(host):
    loop = 'for i in $(seq 12); do runuser -u www-data -- python3 -c "%s" || echo REFUSED; done' % ASK
    done = host.run(f"(sleep 0.3; systemctl restart hello-web; systemctl restart hello-web) & {loop}; wait")
    assert "REFUSED" not in done.stdout, done.stderr
    assert done.stdout.count("good day") == 12


def test_sandbox(host):
    listing = host.run("systemd-analyze security hello-web.service --no-pager").stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", listing).group(1)) <= 2.0, listing
    shown = dict(
        line.split("=", 1)
        for line in host.check_output(
            "systemctl show hello-web -p NoNewPrivileges,ProtectSystem,ReadWritePaths,MemoryMax,KillMode,User,TimeoutStopUSec"
        ).splitlines()
    )
    assert shown["NoNewPrivileges"] == "yes"
    assert shown["ProtectSystem"] == "strict"
    assert shown["ReadWritePaths"] == "-/srv/hello/data"
    assert shown["MemoryMax"] == str(128 * 1024 * 1024)
    assert shown["KillMode"] == "mixed"
    assert shown["User"] == "hello"
    assert shown["TimeoutStopUSec"] == "20s"


def test_a_newer_environment_restarts_the_process(host, playbook):
    before = ask(host).stdout.split()[-1]
    host.run("echo SECRET=second > /etc/hello.env")
    run = playbook()
    assert run.rc == 0, run.output
    assert "good day second" in ask(host).stdout
    assert ask(host).stdout.split()[-1] != before
    assert playbook().changed == 0


def test_undeclared_units_are_stopped_and_removed(host, playbook):
    host.run(
        "sed 's/hello-worker/hello-old/' /etc/systemd/system/hello-worker.service > /etc/systemd/system/hello-old.service"
    )
    host.run("systemctl daemon-reload; systemctl enable --now hello-old")
    assert host.service("hello-old").is_running
    run = playbook()
    assert run.rc == 0, run.output
    assert not host.file("/etc/systemd/system/hello-old.service").exists
    assert not host.service("hello-old").is_running
    assert host.service("hello-worker").is_running
    assert playbook().changed == 0


def test_a_broken_unit_leaves_the_old_one(host, playbook):
    before = host.file("/etc/systemd/system/hello-worker.service").content_string
    run = playbook({"systemd_settings": {"ExecStartPre": "relative/path"}})
    assert run.rc != 0
    assert "systemd-analyze verify" in run.output
    assert "the old configuration stays in place" in run.output
    assert host.file("/etc/systemd/system/hello-worker.service").content_string == before
    assert host.service("hello-worker").is_running


def test_a_command_without_a_path_is_refused(host, playbook):
    run = playbook({"systemd_processes": [{"name": "x", "command": ["python3"], "user": "hello"}]})
    assert run.rc != 0
    assert "every command must begin with the absolute path" in run.output
