"""A real gunicorn, started with the configuration file."""

from __future__ import annotations

import re

import pytest

ASK = (
    "import http.client, socket, sys\n"
    "c = http.client.HTTPConnection('localhost')\n"
    "c.sock = socket.socket(socket.AF_UNIX); c.sock.connect('/run/hello/web.sock')\n"
    "c.request('GET', '/', headers={'X-Forwarded-Proto': sys.argv[1], 'Connection': 'close'})\n"
    "print(c.getresponse().read().decode())"
)


@pytest.fixture(autouse=True)
def running(host):
    assert host.run("systemctl start hello").rc == 0, host.run("journalctl -u hello -n 30").stdout


def ask(host, scheme="https"):
    done = host.run("python3 -c %s %s", ASK, scheme)
    assert done.rc == 0, done.stderr
    return done.stdout.split()


def test_serves_the_application_of_the_release(host):
    scheme, _pid, threads = ask(host)
    assert scheme == "https"
    assert threads == "True"


def test_the_scheme_of_the_proxy_is_believed(host):
    assert ask(host, "http")[0] == "http"


def test_two_workers_that_are_replaced_after_a_few_requests(host):
    master = host.check_output("systemctl show -p MainPID --value hello")
    # One that has just had its last request may be on its way out.
    host.check_output(f"timeout 30 sh -c 'until [ $(pgrep -c -P {master}) = 2 ]; do sleep 0.1; done'")
    assert len({ask(host)[1] for _ in range(16)}) >= 3


def test_settings_as_gunicorn_understands_them(host):
    shown = host.run(
        "cd /srv/hello/current && /srv/hello/venv/bin/gunicorn --print-config -c /etc/webstack/hello/gunicorn.conf.py"
    ).stdout
    values = dict(re.findall(r"^(\w+)\s+= (.*)$", shown, re.MULTILINE))
    assert values["timeout"] == "25"
    assert values["graceful_timeout"] == "20"
    assert values["max_requests"] == "5"
    assert values["max_requests_jitter"] == "1"
    assert values["worker_tmp_dir"] == "/dev/shm"
    assert values["workers"] == "2"
    assert values["raw_env"] == "['GREETING=good day']"
    assert values["sendfile"] == "False"
    # What another host's web server says is believed too; who gets that far is up to the firewall.
    assert values["forwarded_allow_ips"] == "['*']"
    assert values["secure_scheme_headers"] == "{'X-FORWARDED-PROTO': 'https'}"
    assert values["proc_name"] == "hello"


def test_no_socket_for_commands(host):
    assert "gunicorn.ctl" not in host.check_output("ss -Hlx")
    assert "ontrol server error" not in host.check_output("journalctl -u hello")


def test_configuration_is_for_the_group_only(host):
    file = host.file("/etc/webstack/hello/gunicorn.conf.py")
    assert (file.user, file.group, file.mode) == ("root", "hello", 0o640)


def test_a_mistake_leaves_the_old_configuration(host, playbook):
    before = host.file("/etc/webstack/hello/gunicorn.conf.py").content_string
    run = playbook({"gunicorn_settings": {"not python": 1}})
    assert run.rc != 0
    assert "SyntaxError" in run.output
    assert "the old configuration stays in place" in run.output
    assert host.file("/etc/webstack/hello/gunicorn.conf.py").content_string == before


def test_an_absent_instance_goes_when_it_is_retired(host, playbook, variables):
    """Until then it may still be running."""
    present = variables["gunicorn_instances"]
    gone = {"name": "gone", "group": "hello", "config_file": "/etc/webstack/gone/gunicorn.conf.py"}
    run = playbook({"gunicorn_instances": [*present, {**gone, "asgi_app": "x:y"}]})
    assert run.rc == 0, run.output
    absent = {"gunicorn_instances": [*present, {**gone, "state": "absent"}]}
    run = playbook(absent)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert '"asgi", "x:y"' in host.file(gone["config_file"]).content_string
    run = playbook(absent, path="../shared/retire.yml")
    assert (run.rc, run.changed) == (0, 1), run.output
    assert not host.file(gone["config_file"]).exists
    assert host.file("/etc/webstack/hello/gunicorn.conf.py").exists
    assert playbook(absent, path="../shared/retire.yml").changed == 0


def test_an_instance_without_an_application_is_refused(playbook):
    run = playbook({"gunicorn_instances": [{"name": "x", "group": "hello", "config_file": "/etc/x/gunicorn.conf.py"}]})
    assert run.rc != 0
    assert "gunicorn_instances: x: give release_file" in run.output
