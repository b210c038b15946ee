"""Units from a list of processes."""

from __future__ import annotations

import re

ASK = (
    "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(60); "
    "s.connect('/run/webstack/%s/web.sock'); s.sendall(b'?'); print(s.recv(100).decode())"
)


def ask(host, user="www-data", site="hello"):
    return host.run(f'runuser -u {user} -- python3 -c "{ASK % site}"')


def pid(host, unit):
    return int(host.check_output(f"systemctl show -p MainPID --value {unit}"))


def test_the_web_server_gets_an_answer_through_the_socket(host):
    done = ask(host)
    assert done.rc == 0, done.stderr
    assert re.fullmatch(r"good day first \d+", done.stdout.strip())


def test_others_cannot_reach_the_socket(host):
    socket = host.file("/run/webstack/hello/web.sock")
    assert (socket.user, socket.group, socket.mode) == ("hello", "www-data", 0o660)
    assert "PermissionError" in ask(host, "nobody").stderr
    assert host.run("runuser -u nobody -- ls /run/webstack/hello").rc != 0


def test_the_directory_of_the_socket_is_made_again_after_a_boot(host, playbook):
    host.check_output("systemctl stop hello-web.socket hello-web; rm -r /run/webstack/hello; systemctl start hello-web")
    assert (host.file("/run/webstack").mode, host.file("/run/webstack/hello").mode) == (0o755, 0o711)
    assert "good day" in ask(host).stdout
    assert playbook(check=True).changed == 0


def test_enabled_and_running(host):
    for unit in ("hello-web.socket", "hello-web.service", "hello-worker.service"):
        assert host.service(unit).is_running
        assert host.service(unit).is_enabled


def test_no_connection_is_refused_during_restarts(host):
    loop = 'for i in $(seq 12); do runuser -u www-data -- python3 -c "%s" || echo REFUSED; done' % (ASK % "hello")
    done = host.run(f"(sleep 0.3; systemctl restart hello-web; systemctl restart hello-web) & {loop}; wait")
    assert "REFUSED" not in done.stdout, done.stderr
    assert done.stdout.count("good day") == 12


def test_signals_reach_the_process_and_its_words_the_journal(host):
    for verb, words in (("reload", "reads its settings again"), ("restart", "finishes its job")):
        before, since = pid(host, "hello-worker"), host.check_output("date +%s.%N")
        host.check_output(f"systemctl {verb} hello-worker")
        said = f"journalctl -q -o cat -t hello-worker --since=@{since} | grep -qx '{words}'"
        host.check_output(f'timeout 30 sh -c "until {said}; do sleep 0.2; done"')
        assert (pid(host, "hello-worker") == before) == (verb == "reload")


def test_it_comes_back_after_a_crash_and_after_a_clean_end(host):
    for signal in ("KILL", "TERM"):
        before = pid(host, "hello-worker")
        host.check_output(f"systemctl kill --kill-who=main --signal={signal} hello-worker")
        host.check_output(
            f"timeout 30 sh -c 'until now=$(systemctl show -p MainPID --value hello-worker);"
            f" test $now -ne 0 -a $now -ne {before}; do sleep 0.2; done'"
        )


def test_many_deployments_in_a_row_are_no_reason_to_give_up(host):
    host.check_output("for i in $(seq 8); do systemctl restart hello-worker || exit 1; done")
    assert host.service("hello-worker").is_running


def test_a_process_without_a_release_waits_for_it(host):
    """Neither its program nor its release exist at first; a deployment needs no more than a restart."""
    assert host.service("later-web.socket").is_enabled
    assert host.service("later-web.service").is_enabled
    host.check_output("systemctl start later-web.socket; systemctl start later-web.service")  # as when it boots
    assert not host.service("later-web.socket").is_running
    assert not host.service("later-web.service").is_running
    assert ask(host, site="later").rc != 0
    assert host.check_output("systemctl --failed --plain --no-legend") == ""
    host.check_output("mkdir -p /srv/later; python3 -m venv --without-pip /srv/later/venv")
    try:
        host.check_output("systemctl restart later-web.service")
        assert ask(host, site="later").stdout.startswith('100% $HOME "quoted" - ')
    finally:
        host.run("systemctl stop later-web.socket later-web.service; rm -r /srv/later")


def test_a_process_that_fails_is_tried_until_it_can_run(host):
    """Visitors who keep asking in the meantime do not make systemd give up on it."""
    host.check_output("chmod 0600 /srv/hello/server.py")
    try:
        host.check_output("systemctl kill --signal=KILL hello-web")
        loop = f'timeout 1 runuser -u www-data -- python3 -c "{ASK % "hello"}"'
        host.run(f"for i in $(seq 8); do {loop}; sleep 0.5; done")
        assert int(host.check_output("systemctl show -p NRestarts --value hello-web")) > 0
    finally:
        host.check_output("chmod 0644 /srv/hello/server.py")
    done = ask(host)
    assert "good day" in done.stdout, done.stderr + host.run("systemctl status hello-web.socket hello-web").stdout
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_what_was_failing_before_does_not_keep_its_cure_away(host, playbook):
    """The release that repairs a worker comes later in the run than this role."""
    host.check_output("mv /srv/hello/worker.py /srv/hello/worker.away; systemctl kill --signal=KILL hello-worker")
    try:
        waits = "until systemctl show -p SubState --value hello-worker | grep -qx auto-restart; do sleep 0.2; done"
        host.check_output(f"timeout 30 sh -c '{waits}'")
        run = playbook()
        assert (run.rc, run.changed) == (0, 0), run.output
        assert "Failing again and again" in run.output
        assert "hello-worker.service" in run.output
    finally:
        host.check_output("mv /srv/hello/worker.away /srv/hello/worker.py; systemctl restart hello-worker")


def test_a_release_that_was_away_needs_no_more_than_a_restart(host):
    """Whatever became of the socket while visitors asked for a process that cannot run."""
    host.check_output("mv /srv/hello/server.py /srv/hello/server.away")
    try:
        host.check_output("systemctl kill --signal=KILL hello-web")
        host.run(f'timeout 8 runuser -u www-data -- python3 -c "{ASK % "hello"}"')
    finally:
        host.check_output("mv /srv/hello/server.away /srv/hello/server.py")
    host.check_output("systemctl restart hello-web.service")
    done = ask(host)
    assert "good day" in done.stdout, done.stderr + host.run("systemctl status hello-web.socket hello-web").stdout
    assert host.check_output("systemctl --failed --plain --no-legend") == ""


def test_sandbox(host):
    listing = host.run("systemd-analyze security hello-web.service --no-pager").stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", listing).group(1)) <= 1.5, listing
    shown = dict(
        line.split("=", 1)
        for line in host.check_output(
            "systemctl show hello-web -p NoNewPrivileges,ProtectSystem,ReadWritePaths,MemoryMax,KillMode,User,TimeoutStopUSec,UMask"
        ).splitlines()
    )
    assert shown["NoNewPrivileges"] == "yes"
    assert shown["ProtectSystem"] == "strict"
    assert shown["ReadWritePaths"] == "-/srv/hello/data"
    assert shown["MemoryMax"] == str(128 * 1024 * 1024)
    assert shown["KillMode"] == "mixed"
    assert shown["User"] == "hello"
    assert shown["TimeoutStopUSec"] == "20s"
    assert shown["UMask"] == "0027"
    assert host.check_output("systemctl show hello-web.socket -p Backlog --value") == "2048"


def test_a_job_runs_at_its_time_and_not_all_the_time(host):
    assert host.service("hello-night.timer").is_running
    assert host.service("hello-night.timer").is_enabled
    assert host.check_output("systemctl is-active hello-night.service || true") == "inactive"
    shown = host.check_output("systemctl show hello-night.timer -p TimersCalendar,Persistent,NextElapseUSecRealtime")
    assert "OnCalendar=*-*-* 03:30:00" in shown
    assert "Persistent=yes" in shown
    assert " 03:30:00 " in shown
    # What the time does; `start` comes back when the job is done.
    host.check_output("systemctl start hello-night.service")
    assert host.check_output("systemctl show -p Result,SubState hello-night.service").split() == [
        "Result=success",
        "SubState=dead",
    ]
    assert "tidies up for good night" in host.check_output("journalctl --sync; journalctl -q -o cat -t hello-night")
    listing = host.run("systemd-analyze security hello-night.service --no-pager").stdout
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", listing).group(1)) <= 1.5, listing


def test_retired_units_are_gone_and_come_back(host, playbook):
    run = playbook(path="../shared/retire.yml")
    assert run.rc == 0, run.output
    assert host.check_output("grep -rl webstack.django.systemd /etc/systemd/system || true") == ""
    assert host.check_output("systemctl list-units --all --plain --no-legend 'hello-*'") == ""
    assert ask(host).rc != 0
    assert playbook(path="../shared/retire.yml").changed == 0
    assert playbook().rc == 0
    assert "good day" in ask(host).stdout


def test_a_newer_environment_restarts_the_process(host, playbook):
    before = ask(host).stdout.split()[-1]
    host.run("echo SECRET=second > /etc/hello.env")
    run = playbook()
    assert run.rc == 0, run.output
    assert "good day second" in ask(host).stdout
    assert ask(host).stdout.split()[-1] != before
    assert playbook().changed == 0
    host.check_output("echo SECRET=first > /etc/hello.env; systemctl restart hello-web")


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


def test_an_absent_process_is_stopped_and_removed(host, playbook, variables):
    processes = variables["systemd_processes"]
    others = [one for one in processes if one["name"] != "hello-worker"]
    run = playbook({"systemd_processes": [*others, {"name": "hello-worker", "state": "absent"}]})
    assert run.rc == 0, run.output
    assert not host.service("hello-worker").is_running
    assert host.check_output("find /etc/systemd/system -name hello-worker.service") == ""
    assert playbook().rc == 0
    assert host.service("hello-worker").is_running


def test_a_unit_changed_by_hand_is_put_back(host, playbook):
    host.run("sed -i s/ProtectSystem=strict/ProtectSystem=no/ /etc/systemd/system/hello-worker.service")
    host.run("mkdir -p /etc/systemd/system/hello-worker.service.d")
    host.run("printf '[Service]\\nUser=root\\n' > /etc/systemd/system/hello-worker.service.d/override.conf")
    host.run("systemctl daemon-reload; systemctl restart hello-worker; systemctl disable hello-worker")
    assert host.process.get(pid=pid(host, "hello-worker")).user == "root"
    run = playbook()
    assert run.rc == 0, run.output
    assert host.process.get(pid=pid(host, "hello-worker")).user == "hello"
    assert "ProtectSystem=strict" in host.check_output("systemctl show -p ProtectSystem hello-worker")
    assert host.service("hello-worker").is_enabled
    assert playbook().changed == 0


def test_a_run_that_was_cut_is_healed(host, playbook):
    """Killed after the units were written: their processes and sockets are older than they are."""
    host.check_output("sed -i s/SocketMode=0660/SocketMode=0600/ /etc/systemd/system/hello-web.socket")
    host.check_output("systemctl daemon-reload; systemctl stop hello-web.socket hello-web; systemctl start hello-web")
    assert host.file("/run/webstack/hello/web.sock").mode == 0o600
    web, worker = pid(host, "hello-web"), pid(host, "hello-worker")
    host.check_output("sed -i s/SocketMode=0600/SocketMode=0660/ /etc/systemd/system/hello-web.socket")
    host.check_output("touch /etc/systemd/system/hello-worker.service")
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert host.file("/run/webstack/hello/web.sock").mode == 0o660
    assert pid(host, "hello-worker") != worker
    assert "good day" in ask(host).stdout
    assert pid(host, "hello-web") != web
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
    assert "every command begins with the absolute path" in " ".join(run.output.split())


def test_a_mistyped_setting_is_refused(host, playbook):
    """systemd itself would pass over it."""
    run = playbook({"systemd_settings": {"NoNewPriviliges": True}})
    assert run.rc != 0
    assert "NoNewPriviliges" in run.output
    assert "the old configuration stays in place" in run.output
    assert "NoNewPriviliges" not in host.file("/etc/systemd/system/hello-web.service").content_string
