"""A real uWSGI, started with the configuration file behind a socket of systemd."""

from __future__ import annotations

import json
import re

import pytest

INI = "/etc/webstack/hello/uwsgi.ini"
CODE = "/srv/hello/current"
STATS = (
    "import socket, sys\n"
    "s = socket.socket(socket.AF_UNIX); s.connect('/run/webstack/hello/uwsgi/stats.sock')\n"
    "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
)


@pytest.fixture(autouse=True)
def running(host):
    assert host.run("systemctl start hello.socket hello plain").rc == 0, host.run("journalctl -u hello -n 30").stdout


def client(host, *words):
    done = host.run("python3 /opt/client.py" + " %s" * len(words), *words)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def meanwhile(host, command, seconds=6):
    """What visitors get who ask all the time, while something happens."""
    line = f"python3 /opt/client.py load {seconds} 3 & sleep 1; {command}; wait"
    done = host.run(line)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def journal(host, since):
    host.check_output("journalctl --sync")
    return host.check_output("journalctl -u hello -o cat --since=@%s", since)


def now(host):
    return host.check_output("date +%s")


def show(host, name, unit="hello"):
    return host.check_output(f"systemctl show -p {name} --value {unit}")


def test_serves_the_application_of_the_release(host):
    answer = client(host, "ask", "/x", "a=b")
    assert (answer["PATH_INFO"], answer["QUERY_STRING"]) == ("/x", "a=b")
    assert (answer["version"], answer["threads"]) == ("first", True)


def test_systemd_is_told_when_it_is_ready(host):
    assert show(host, "StatusText") == "uWSGI is ready"
    assert show(host, "ActiveState") == "active"
    main = show(host, "MainPID")
    assert host.check_output(f"ps -o ppid= -p {client(host, 'ask')['pid']}").strip() == main


def test_cookies_may_be_large(host):
    assert len(client(host, "ask", "/", "", "x" * 20000)["HTTP_COOKIE"]) == 20000


def test_processes_come_when_all_are_busy(host):
    """Two of four are always there."""
    host.check_output("systemctl restart hello")
    main = show(host, "MainPID")
    host.check_output(f"timeout 10 sh -c 'until [ $(pgrep -c -P {main}) = 2 ]; do sleep 0.1; done'")
    found = client(host, "many", "24", "2")  # two threads each
    assert found["failures"] == []
    assert len(found["pid"]) == 4


def test_a_request_that_does_not_end_is_killed(host):
    since = now(host)
    done = host.run("python3 /opt/client.py ask /slow 15")
    assert done.rc != 0
    assert int(now(host)) - int(since) < 9
    said = journal(host, since)
    assert "HARAKIRI" in said
    assert "GET /slow" in said
    assert client(host, "ask")["version"] == "first"


def test_requests_under_way_are_finished_at_a_stop(host):
    line = "python3 /opt/client.py many 2 3 & sleep 1; systemctl stop hello; systemctl is-active hello; wait"
    done = host.run(line)
    (answer,) = [line for line in done.stdout.splitlines() if line != "inactive"]
    assert "inactive" in done.stdout.splitlines()
    assert (json.loads(answer)["answers"], json.loads(answer)["failures"]) == (2, [])
    assert show(host, "Result") == "success"


def test_no_request_waits_in_vain_at_a_restart(host):
    found = meanwhile(host, "systemctl restart hello", 5)
    assert found["failures"] == []
    assert found["answers"] > 100
    assert len(found["pid"]) >= 3


def test_new_code_is_loaded_when_the_reload_file_is_touched(host):
    main = show(host, "MainPID")
    change = f"sed -i s/written/changed/ {CODE}/words.py; touch /run/webstack/hello/uwsgi/reload"
    try:
        found = meanwhile(host, change)
        assert found["failures"] == []
        assert found["words"] == ["as changed", "as written"]
        assert client(host, "ask")["words"] == "as changed"
        assert show(host, "MainPID") == main
    finally:
        host.check_output(f"sed -i s/changed/written/ {CODE}/words.py")


def test_new_code_is_loaded_when_the_wsgi_file_is_touched(host):
    try:
        found = meanwhile(host, f"sed -i s/first/other/ {CODE}/hello.py")
        assert found["failures"] == []
        assert found["version"] == ["first", "other"]
    finally:
        host.check_output(f"sleep 1; sed -i s/other/first/ {CODE}/hello.py")


def test_a_reload_replaces_the_processes(host):
    """Not the program, which could not start itself again in a virtual environment."""
    host.check_output("systemctl restart hello")
    main = show(host, "MainPID")
    found = meanwhile(host, "systemctl reload hello")
    assert found["failures"] == []
    assert len(found["pid"]) >= 4
    assert show(host, "MainPID") == main
    assert show(host, "NRestarts") == "0"


def test_the_state_of_the_workers_is_for_the_group_only(host):
    client(host, "ask")
    stats = json.loads(host.check_output("python3 -c %s", STATS))
    assert len(stats["workers"]) == 4
    assert sum(worker["requests"] for worker in stats["workers"]) > 0
    assert host.run("runuser -u nobody -- python3 -c %s", STATS).rc != 0
    assert host.run("runuser -u nobody -- ls /run/webstack/hello/uwsgi").rc != 0


def test_errors_are_in_the_journal_and_requests_are_not(host):
    since = now(host)
    client(host, "ask", "/quiet")
    assert host.run("python3 /opt/client.py ask /error").rc != 0
    said = journal(host, since)
    assert "RuntimeError: an error of the application" in said
    assert re.search(r"GET /error => .*\(HTTP/1.1 500\)", said)
    assert "/quiet" not in said


def test_http_on_a_port_of_its_own(host):
    """One process with two threads, replaced after a few requests."""
    ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8009/x', timeout=20).read().decode())"
    answers = [json.loads(host.check_output("python3 -c %s", ask)) for _ in range(8)]
    assert {(one["PATH_INFO"], one["threads"]) for one in answers} == {("/x", True)}
    assert len({one["pid"] for one in answers}) >= 2
    assert show(host, "NRestarts", "plain") == "0"


def test_the_configuration_is_for_the_group_only(host):
    file = host.file(INI)
    assert (file.user, file.group, file.mode) == ("root", "hello", 0o640)


def test_the_directory_of_the_sockets_is_there_after_a_boot(host):
    host.check_output("systemctl stop hello hello.socket; rm -r /run/webstack/hello")
    host.check_output("systemd-tmpfiles --create /etc/tmpfiles.d/webstack-uwsgi-hello.conf")
    made = host.file("/run/webstack/hello/uwsgi")
    assert (made.user, made.group, made.mode) == ("root", "hello", 0o770)
    host.check_output("systemctl start hello.socket")
    assert client(host, "ask")["version"] == "first"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bogus": 1}, "[strict-mode] unknown config directive: bogus"),
        ({"not a name": 1}, "is no `name = value` of the section [uwsgi]: not a name = 1"),
    ],
)
def test_a_mistake_leaves_the_old_configuration(host, playbook, settings, said):
    before = host.file(INI).content_string
    run = playbook({"uwsgi_settings": settings})
    assert run.rc != 0
    assert said in run.output
    assert "the old configuration stays in place" in run.output
    assert host.file(INI).content_string == before


def test_an_absent_instance_goes_when_it_is_retired(host, playbook, variables):
    """Until then it may still be running. Without a program, only the form of its configuration is looked at."""
    gone = {"name": "gone", "group": "hello", "config_file": "/etc/webstack/gone/uwsgi.ini", "workers": 1}
    files = [gone["config_file"], "/etc/tmpfiles.d/webstack-uwsgi-gone.conf"]
    run = playbook({"uwsgi_instances": [*variables["uwsgi_instances"], gone]})
    assert run.rc == 0, run.output
    absent = {"uwsgi_instances": [*variables["uwsgi_instances"], {**gone, "state": "absent"}]}
    run = playbook(absent)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert [host.file(path).exists for path in files] == [True, True]
    run = playbook(absent, path="../shared/retire.yml")
    assert (run.rc, run.changed) == (0, 1), run.output
    assert [host.file(path).exists for path in files] == [False, False]
    assert host.file(INI).exists
    assert playbook(absent, path="../shared/retire.yml").changed == 0


def test_what_cannot_be_is_refused(playbook):
    one = {"group": "hello", "config_file": "/etc/x/uwsgi.ini"}
    run = playbook(
        {"uwsgi_instances": [{**one, "name": "A b"}, {**one, "name": "x", "workers": 0}, {**one, "name": "x"}]}
    )
    assert run.rc != 0
    words = " ".join(run.output.split())
    assert "uwsgi_instances: A b: a name has lower-case letters, digits, `-` and `_`" in words
    assert "every instance needs a name of its own" in words
    assert "x: workers is at least 1" in words
