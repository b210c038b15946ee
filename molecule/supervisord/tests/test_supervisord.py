"""Programs of supervisord from a list of processes."""

from __future__ import annotations

import json
import re

LOG = "/var/log/supervisor"
ASK = (
    "import http.client, socket; c = http.client.HTTPConnection('hello', timeout=60); "
    "c.sock = s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect('/run/webstack/hello/web.sock'); "
    "c.request('GET', '%s'); print(c.getresponse().read().decode())"
)
GREETING = '100% $HOME "quoted" it\'s first '


def ask(host, user="www-data", path="/"):
    return host.run(f'runuser -u {user} -- python3 -c "{ASK % path}"')


def pid(host, name, number="01"):
    process = f"{name}:{name}_{number}" if name.endswith("web") else name
    return int(host.check_output(f"supervisorctl pid {process}"))


def state(host, name):
    found = json.loads(host.check_output("webstack-supervisord --json status"))
    return found[name]["state"] if name in found else None


def until(host, words, seconds=30):
    host.check_output("timeout %s sh -c %s", str(seconds), f"until {words}; do sleep 0.2; done")


def settled(host, name="hello-worker"):
    until(host, f"webstack-supervisord status {name} | grep -q RUNNING")


def test_gunicorn_answers_the_web_server_through_the_socket(host):
    """Also: odd characters in the environment and a file of it; one that is missing does not matter."""
    done = ask(host)
    assert done.rc == 0, done.stderr
    assert done.stdout.startswith(GREETING)
    assert host.process.get(pid=pid(host, "hello-web")).user == "hello"


def test_others_cannot_reach_the_socket(host):
    socket = host.file("/run/webstack/hello/web.sock")
    assert (socket.user, socket.group, socket.mode) == ("hello", "www-data", 0o660)
    assert host.check_output("ss -Hlx src /run/webstack/hello/web.sock | awk '{print $4}'") == "2048"
    assert "PermissionError" in ask(host, "nobody").stderr


def test_supervisorctl_shows_them_to_root_only(host):
    shown = host.run("supervisorctl status").stdout
    for name in ("hello-web:hello-web_00", "hello-web:hello-web_01", "hello-worker", "foreign"):
        assert re.search(rf"^{name} +RUNNING", shown, re.M), shown
    assert host.run("runuser -u hello -- webstack-supervisord status").rc != 0
    assert host.run("webstack-supervisord pid hello-web").stdout.strip() == str(pid(host, "hello-web"))
    unknown = host.run("webstack-supervisord restart nonsense")
    assert unknown.rc == 1
    assert "supervisord runs no program nonsense; it runs foreign, hello-web" in unknown.stderr


def test_it_took_the_place_of_the_units(host):
    for unit in ("hello-web.socket", "hello-web.service"):
        assert not host.service(unit).is_running
        assert not host.service(unit).is_enabled


def test_no_connection_is_refused_while_it_restarts_or_crashes(host):
    """Visitors who come all the time; those that were being served when it was killed are the only ones to lose."""
    client = """
import http.client, socket, sys, time
end, good, refused, cut = time.monotonic() + 12, 0, 0, 0
while time.monotonic() < end:
    s = socket.socket(socket.AF_UNIX); s.settimeout(30)
    try:
        s.connect("/run/webstack/hello/web.sock")
    except OSError:
        refused += 1
        time.sleep(0.05)
        continue
    try:
        c = http.client.HTTPConnection("hello"); c.sock = s; c.request("GET", "/"); c.getresponse().read(); good += 1
    except OSError:
        cut += 1
    s.close()
    time.sleep(0.02)
print(good, refused, cut)
"""
    holder, before = pid(host, "hello-web", "00"), pid(host, "hello-web")
    events = (
        "webstack-supervisord restart hello-web; kill -KILL $(webstack-supervisord pid hello-web); sleep 4; "
        "webstack-supervisord restart hello-web hello-web"
    )
    done = host.run(f"(sleep 0.5; {events}) & runuser -u www-data -- python3 -c %s; wait", client)
    good, refused, cut = map(int, done.stdout.split())
    assert refused == 0
    assert cut <= 2  # workers of gunicorn
    assert good > 50
    assert pid(host, "hello-web") != before
    assert pid(host, "hello-web", "00") == holder


def test_a_request_under_way_is_finished(host):
    done = host.run(
        f'runuser -u www-data -- python3 -c "{ASK % "/long"}" & sleep 1; webstack-supervisord restart hello-web; wait'
    )
    assert done.stdout.startswith(GREETING), done.stderr


def test_a_worker_ends_warm_and_nobody_waits_for_it(host):
    settled(host)
    before = pid(host, "hello-worker")
    host.check_output("touch /srv/hello/busy")
    try:
        host.check_output("timeout 3 webstack-supervisord --no-block restart hello-worker")
        host.check_output("timeout 3 webstack-supervisord --no-block restart hello-worker")
        until(host, f"tail -n 1 {LOG}/hello-worker.log | grep -qx 'finishes its job'")
        assert pid(host, "hello-worker") == before
        assert f"hello-worker RUNNING {before} (ending)" in host.check_output(
            "webstack-supervisord status hello-worker"
        )
    finally:
        host.check_output("rm /srv/hello/busy")
    until(host, f"! test -e /proc/{before}")
    until(host, f"tail -n 1 {LOG}/hello-worker.log | grep -q '^runs as'")
    lines = host.check_output(f"tail -n 3 {LOG}/hello-worker.log").splitlines()
    assert lines[:2] == ["finishes its job", "has finished"]  # told once
    assert pid(host, "hello-worker") != before


def test_a_stop_has_its_time_and_no_more(host):
    settled(host)
    host.check_output("touch /srv/hello/busy")
    try:
        took = host.check_output(
            "sh -c 'begin=$(date +%s); webstack-supervisord stop hello-worker; echo $(($(date +%s) - begin))'"
        )
        assert 5 <= int(took) <= 12  # its stop_timeout is 6
    finally:
        host.check_output("rm /srv/hello/busy; webstack-supervisord start hello-worker")


def test_it_comes_back_after_a_crash_and_after_a_clean_end(host):
    for signal in ("KILL", "QUIT"):
        settled(host)
        before = pid(host, "hello-worker")
        host.check_output(f"kill -{signal} {before}")
        until(host, f"pid=$(webstack-supervisord pid hello-worker) && test $pid != {before}")


def test_it_runs_as_its_user_and_group_with_a_clean_environment(host):
    group = host.check_output("getent group www-data | cut -d: -f3")
    assert f"runs as {group} /srv/hello None" in host.check_output(f"grep 'runs as' {LOG}/hello-worker.log | tail -n 1")
    limits = host.check_output(f"cat /proc/{pid(host, 'hello-web')}/limits")
    assert re.search(r"Max data size +536870912 +536870912", limits)
    status = host.check_output(f"cat /proc/{pid(host, 'hello-web')}/status")
    assert re.search(r"NoNewPrivs:\s+1\n", status)
    assert re.search(r"CapEff:\s+0+\n", status)
    assert re.search(r"Umask:\s+0027\n", status)


def test_logs_are_put_aside_and_private(host):
    assert host.file(LOG).mode == 0o2750
    log = host.file(f"{LOG}/hello-worker.log")
    assert (log.user, log.group, log.mode) == ("root", "adm", 0o640)
    shown = host.check_output(
        'python3 -c "from supervisor.xmlrpc import SupervisorTransport as T; from xmlrpc.client import ServerProxy as P; '
        "print(*[(c['stdout_logfile_maxbytes'], c['stdout_logfile_backups']) for c in "
        "P('http://x', T(serverurl='unix:///run/supervisor/supervisor.sock')).supervisor.getAllConfigInfo() "
        "if c['name'] == 'hello-worker'])\""
    )
    assert shown == "(1048576, 2)"


def test_a_process_without_a_release_waits_for_it(host):
    assert state(host, "later-web") == "EXITED"
    assert host.run("ss -Hlnt | grep 8001").rc != 0
    host.check_output("touch /srv/later")
    try:
        host.check_output("webstack-supervisord restart later-web")
        assert (
            host.check_output(
                "python3 -c \"import socket; print(socket.create_connection(('127.0.0.1', 8001)).recv(9))\""
            )
            == "b'later'"
        )
    finally:
        host.check_output("rm /srv/later; webstack-supervisord stop later-web")
    assert host.run("ss -Hlnt | grep 8001").rc != 0


def test_a_program_that_does_not_stay_up_says_why(host):
    host.check_output("mv /srv/hello/worker.py /srv/hello/worker.away")
    try:
        done = host.run("webstack-supervisord restart hello-worker")
        assert done.rc == 1
        assert "hello-worker does not stay up" in done.stderr
        assert "can't open file '/srv/hello/worker.py'" in done.stderr
    finally:
        host.check_output("mv /srv/hello/worker.away /srv/hello/worker.py")
    settled(host)  # by itself


def test_cron_runs_what_has_a_calendar(host):
    until(host, 'journalctl -q -o cat -t hello-clock | grep -qx "tick of hello first"', 70)
    assert state(host, "hello-clock") is None


def test_sandbox(host):
    listing = host.run("systemd-analyze security supervisor.service --no-pager").stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", listing).group(1)) <= 2.5, listing
    shown = dict(
        line.split("=", 1)
        for line in host.check_output(
            "systemctl show supervisor -p NoNewPrivileges,ProtectSystem,ReadWritePaths,KillMode,TimeoutStopUSec"
        ).splitlines()
    )
    assert shown["NoNewPrivileges"] == "yes"
    assert shown["ProtectSystem"] == "strict"
    assert shown["ReadWritePaths"] == "-/run/webstack -/srv -/var/log/supervisor"
    assert shown["KillMode"] == "mixed"
    assert shown["TimeoutStopUSec"] == "55s"


def test_everything_comes_back_after_the_service_restarts(host):
    """As after a boot: the directories of the sockets are made again. It stops all programs at once, and in their time."""
    host.check_output(
        "systemctl stop supervisor; rm -r /run/webstack; systemd-tmpfiles --create; systemctl start supervisor"
    )
    log = host.check_output("journalctl -q -o cat -u supervisor | tail -n 30")
    assert "Killing process" not in log
    until(host, "webstack-supervisord status | grep -c RUNNING | grep -qx 3")
    assert ask(host).stdout.startswith(GREETING)
    socket = host.file("/run/webstack/hello/web.sock")
    assert (socket.user, socket.group, socket.mode) == ("hello", "www-data", 0o660)
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_a_newer_environment_restarts_the_program_and_nothing_else(host, playbook):
    """Also what is not declared any more goes."""
    host.check_output(
        "cd /etc/supervisor/conf.d; sed 's/hello-worker/hello-old/g' webstack-hello-worker.conf > webstack-hello-old.conf; "
        "cp -p /etc/supervisor/webstack/hello-worker /etc/supervisor/webstack/hello-old; "
        "supervisorctl update hello-old; echo hello-old >> /run/webstack/programs"
    )
    web, holder, worker = pid(host, "hello-web"), pid(host, "hello-web", "00"), pid(host, "hello-worker")
    old = pid(host, "hello-old")
    host.check_output("echo SECRET=second > /etc/hello.env")
    run = playbook()
    assert (run.rc, run.changed) == (0, 2), run.output
    assert "it's second " in ask(host).stdout
    assert pid(host, "hello-web") != web
    assert (pid(host, "hello-web", "00"), pid(host, "hello-worker")) == (holder, worker)
    assert "remove hello-old" in run.output
    assert state(host, "hello-old") is None
    assert not host.file(f"/proc/{old}").exists
    assert not host.file("/etc/supervisor/webstack/hello-old").exists
    host.check_output("echo SECRET=first > /etc/hello.env; webstack-supervisord restart hello-web")


def test_only_what_was_changed_is_replaced(host, playbook):
    """What was changed by hand, and a socket that is not as declared; the program of somebody else stays."""
    host.check_output(
        "cd /etc/supervisor/conf.d; sed -i 's/stopwaitsecs=6/stopwaitsecs=7/' webstack-hello-worker.conf; "
        "supervisorctl update hello-worker; chmod 0600 /run/webstack/hello/web.sock"
    )
    foreign, worker, web = pid(host, "foreign"), pid(host, "hello-worker"), pid(host, "hello-web")
    run = playbook()
    assert run.rc == 0, run.output
    for action in ("replace hello-worker", "replace hello-web"):
        assert action in run.output
    assert host.file("/run/webstack/hello/web.sock").mode == 0o660
    assert pid(host, "hello-worker") != worker
    assert pid(host, "hello-web") != web
    assert pid(host, "foreign") == foreign


def test_what_is_wrong_is_refused_and_the_old_configuration_stays(host, playbook, variables):
    """Also: after all that there is nothing to do for what is declared."""
    before = host.file("/etc/supervisor/conf.d/webstack-hello-worker.conf").content_string
    bad = [
        {"name": "x", "command": ["python3"], "user": "hello", "socket": {"address": "[::1]:80"}},
        {"name": "a/b", "command": ["/bin/true"]},
    ]
    untimely = [{"name": "x", "command": ["/bin/true"], "user": "hello", "calendar": "*-*~1"}]
    refused = [{"settings": {"stopsignal": "NONSENSE"}}, {"processes": bad}, {"processes": untimely}]
    web, worker = pid(host, "hello-web"), pid(host, "hello-worker")
    run = playbook({"refused": refused, "declared": variables["supervisord_processes"]}, path="refused.yml")
    said = " ".join(run.output.split())
    assert (run.rc, run.changed) == (0, 0) and "rescued=3 " in said, run.output
    for words in (
        "value 'NONSENSE' is not a valid signal name",
        "the old configuration stays in place",
        "every command begins with the absolute path of its program",
        "a/b has no user",
        "the name a/b",
        "the address [::1]:80",
        "cannot be run by cron: days cannot be counted from the end",
    ):
        assert words in said, run.output
    assert host.file("/etc/supervisor/conf.d/webstack-hello-worker.conf").content_string == before
    assert (pid(host, "hello-web"), pid(host, "hello-worker")) == (web, worker)


def test_retiring_keeps_what_others_need_and_it_comes_back(host, playbook):
    run = playbook(path="../shared/retire.yml")
    assert run.rc == 0, run.output
    assert host.check_output("supervisorctl status | awk '{print $1, $2}'") == "foreign RUNNING"
    assert host.check_output("ls /etc/supervisor/conf.d") == "foreign.conf"
    assert not host.file("/etc/cron.d/webstack-hello-clock").exists
    host.check_output("mv /etc/supervisor/conf.d/foreign.conf /root")
    try:
        run = playbook(path="../shared/retire.yml")
        assert run.rc == 0, run.output
        assert not host.service("supervisor").is_running
        assert not host.service("supervisor").is_enabled
        assert host.check_output("find /etc /usr/local -name '*webstack*' -path '*superv*'") == ""
        assert host.check_output("dpkg --verify supervisor") == ""  # all as the package brought it
        run = playbook({"supervisord_state": "absent", "times": 2}, path="../shared/retire.yml")
        assert (run.rc, run.changed) == (0, 1), run.output  # the package, and nothing the second time
        assert not host.package("supervisor").is_installed
        assert not host.file("/etc/supervisor/supervisord.conf").exists
    finally:
        host.check_output("mkdir -p /etc/supervisor/conf.d; mv /root/foreign.conf /etc/supervisor/conf.d")
        run = playbook()
    assert run.rc == 0, run.output
    assert ask(host).stdout.startswith(GREETING)
