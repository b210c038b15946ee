"""Deployments of one site under a strict load: those that go well, those that do not, and the way back."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from servers import ROOT
from site_under_load import HOST, Site


def test_deploys_in_a_row_fail_no_request(site: Site) -> None:
    with site.load():
        for number in range(3):
            site.say(f"words {number}")
            run = site.play("deploy", site="plain")
            assert run.rc == 0, run.end
            assert site.words() == f"words {number}"
    assert site.seen["failed"] == 0, site.seen
    assert site.seen["rate"] >= 50, site.seen
    assert set(site.seen["versions"]) == {"HTTP/1.1", "HTTP/2"}


def test_an_unchanged_commit_changes_nothing(site: Site) -> None:
    before = site.log()
    run = site.play("deploy", site="plain")
    assert (run.rc, run.changed) == (0, 0), run.end
    assert site.log() == before


def test_code_that_somebody_changed_on_the_server_comes_whole(site: Site) -> None:
    """Only what differs from the commit before travels; the rest is taken from the releases, where it is what it was."""
    before = len(site.log())
    site.server.run("for one in /srv/plain/releases/*/code/config/urls.py; do echo '# mine' >> $one; done")
    site.say("whole")
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.words() == "whole"
    serving = site.server.run("cat /srv/plain/current/code/config/urls.py")
    assert serving == (site.code / "config/urls.py").read_text()
    assert [line["result"] for line in site.log()[before:]] == ["ok"]
    assert site.server.run("find /tmp /var/tmp -maxdepth 1 -name 'webstack-*'") == ""


VIEW = "from django.http import HttpResponse\n\n\ndef visits(request):\n    return HttpResponse('')\n\n\ndef index(request):\n"
MIGRATION = """from django.db import migrations, models

{code}

class Migration(migrations.Migration):
    dependencies = [("notes", "0001_initial")]
    operations = [{operation}]
"""
RAISES = 'def fail(apps, schema_editor):\n    apps.get_model("notes", "Note").objects.extra(where=["no_such_column > 1"]).count()\n\n'
# What goes wrong, the files of the commit, and what the run says.
BAD = {
    "syntax": ({"notes/views.py": "def index(request:\n"}, ["check", "SyntaxError"]),
    "dependency": (
        {"config/wsgi.py": "import not_to_be_had\n"},
        ["does not serve", "No module named 'not_to_be_had'", "goes on serving"],
    ),
    "status 500": (
        {"notes/views.py": VIEW + "    raise RuntimeError('broken page')\n"},
        ["/ answers with status 500", "broken page", "goes on serving"],
    ),
    "hangs": (
        {"notes/views.py": "import time\n" + VIEW + "    time.sleep(600)\n"},
        ["does not serve", "timed out", "goes on serving"],
    ),
    "migration": (
        {
            "notes/migrations/0002_wrong.py": MIGRATION.format(
                code=RAISES, operation="migrations.RunPython(fail, migrations.RunPython.noop)"
            )
        },
        ["migrate notes.0002_wrong", 'column "no_such_column" does not exist', "The old release keeps serving"],
    ),
    "no network": ({"requirements.txt": "django>=5.2,<5.3\nsix==1.16.0\n"}, ["build", "cannot reach"]),
    "disk": ({"requirements.txt": "django>=5.2,<5.3\nsix==1.15.0\n"}, ["build", "the disk is full"]),
}
BEFORE = {
    "no network": "echo UV_DEFAULT_INDEX=http://127.0.0.1:9/simple >> /etc/environment",
    "disk": "mount -t tmpfs -o size=64k tmpfs /var/cache/webstack/plain/uv",
}
AFTER = {
    "no network": "sed -i /UV_DEFAULT_INDEX=http:..127/d /etc/environment",
    "disk": "umount /var/cache/webstack/plain/uv",
}


@pytest.mark.parametrize("kind", list(BAD))
def test_a_bad_deployment_is_seen_by_nobody(site: Site, kind: str) -> None:
    files, needles = BAD[kind]
    good = site.git("rev-parse", "HEAD")
    words, serving = site.words(), site.serving()
    site.commit(files)
    site.given["health"] = {"timeout": 8}
    site.server.run(BEFORE.get(kind, "true"))
    try:
        with site.load():
            run = site.play("deploy", site="plain")
    finally:
        site.server.run(AFTER.get(kind, "true"))
        site.git("reset", "--quiet", "--hard", good)
        site.given.pop("health")
    assert run.rc != 0, run.end
    assert all(one in run.output for one in needles), run.end
    assert site.seen["failed"] == 0, site.seen
    assert (site.words(), site.serving()) == (words, serving)
    last = site.log()[-1]
    assert (last["result"], last["from"], last["what"]) == ("failed", serving, "deploy")
    assert last["message"]
    assert site.server.run("ls /run/webstack-deploy-plain.json 2>/dev/null || true") == ""


def test_a_migration_that_waits_for_a_lock_gives_up_soon(site: Site) -> None:
    good, serving = site.git("rev-parse", "HEAD"), site.serving()
    operation = 'migrations.AddField("note", "more", models.IntegerField(default=0))'
    site.commit({"notes/migrations/0002_more.py": MIGRATION.format(code="", operation=operation)})
    server = site.server
    hold = "BEGIN; SELECT count(*) FROM notes_note; SELECT pg_sleep(60)"
    server.run(f"systemd-run --quiet --unit=holder --uid=postgres psql --dbname=plain --command='{hold}'")
    try:
        with site.load():
            run = site.play("deploy", site="plain")
    finally:
        server.run(
            "runuser -u postgres -- psql -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()\""
        )
        site.git("reset", "--quiet", "--hard", good)
    assert run.rc != 0, run.end
    assert "migrate notes.0002_more" in run.output
    assert "did not get a lock on a table within 5 seconds" in run.output
    assert site.seen["failed"] == 0, site.seen
    assert site.serving() == serving


def test_a_migration_is_shown_backed_up_and_stands_in_the_way_back(site: Site) -> None:
    operation = 'migrations.AddField("note", "more", models.IntegerField(default=0, db_default=0))'
    site.commit({"notes/migrations/0002_more.py": MIGRATION.format(code="", operation=operation)})
    site.given["backup_before_migrate"] = True
    before = site.serving()
    run = site.play("deploy", "--check", site="plain")
    assert run.rc == 0, run.end
    assert "would migrate notes/migrations/0002_more.py" in run.output
    assert site.serving() == before
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert "migrate notes.0002_more" in run.output
    dump = site.server.run("ls /var/backups/webstack/plain").strip()
    assert dump.endswith(site.serving() + ".dump")
    assert "notes_note" in site.server.run(f"pg_restore --list /var/backups/webstack/plain/{dump}")
    assert site.server.run("stat -c %a:%U /var/backups/webstack/plain/*").strip() == "600:root"
    after = site.serving()
    run = site.play("rollback", "--check", site="plain")
    assert "1 migrations stand between and stay applied: notes.0002_more" in run.output, run.end
    assert site.serving() == after
    with site.load():
        began = time.monotonic()
        run = site.play("rollback", site="plain")
        seconds = time.monotonic() - began
    print(f"rollback: {seconds:.1f} s")
    assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert site.serving() == before
    assert site.log()[-1] | {"seconds": 0, "time": "", "who": ""} == {
        "time": "", "who": "", "what": "rollback", "from": after, "to": before, "result": "ok", "seconds": 0,
        "step": "rollback", "message": "",
    }  # fmt: skip
    run = site.play("rollback", site="plain", release=after[:12])  # forward again
    assert run.rc == 0, run.end
    assert site.serving() == after
    run = site.play("rollback", site="plain", release="nosuch")
    assert run.rc != 0
    assert before in run.output, run.end


def test_two_deployments_at_once(site: Site) -> None:
    site.say("the first of two")
    argv = site.command("deploy", site="plain")
    with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE) as first:
        while "webstack-deploy-plain.json\n" not in site.server.run("ls /run"):
            time.sleep(0.1)
        second = site.play("deploy", site="plain")
        output, _error = first.communicate()
    assert first.returncode == 0, output
    assert second.rc != 0, second.end
    assert re.search(r"site plain, lock: \S+@\S+ has been at it since 20\d\d-", second.output), second.end
    assert site.words() == "the first of two"


STEPS = ["stage", "build", "prepare", "activate"]


def at(site: Site, step: str) -> None:
    """Wait until a deployment is at a step; the first one may be over before anybody has looked."""
    reached = "|".join(STEPS[STEPS.index(step) :])
    look = f'until grep -Eqs \'"step": "({reached})"\' /run/webstack-deploy-plain.json; do sleep 0.01; done'
    site.server.run(f"timeout 60 sh -c {shlex.quote(look)}")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["the controller", "both ends"])
def test_a_deployment_that_is_killed_is_completed_by_the_next(site: Site, step: str, what: str) -> None:
    words = f"killed {what} at {step}"
    site.say(words)
    argv = site.command("deploy", site="plain")
    with site.load():
        with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True) as process:
            at(site, step)
            if what == "both ends":
                site.server.run("pkill -9 -x -f '/usr/bin/python3[.0-9]*'")
            subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=False)
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert site.words() == words


def tidy(site: Site) -> None:
    """There is what is to be kept, and nothing else."""
    server = site.server
    assert len(server.run("ls /srv/plain/releases").split()) == 3
    assert len(server.run("ls /srv/plain/environments").split()) == 1
    main = server.run("systemctl show --property=MainPID --value plain-web").strip()
    strangers = f"ps -o pid=,ppid=,args= -u plain | awk '$1 != {main} && $2 != {main}'"
    assert server.run(strangers) == ""
    # (A module that is killed leaves Ansible's own directory in /tmp.)
    left = "find /run /srv/plain -maxdepth 2 \\( -name 'webstack-trial*' -o -name '*.tmp' \\)"
    assert server.run(left) == ""


def test_twenty_deployments_leave_what_is_to_be_kept(site: Site) -> None:
    with site.load():
        for number in range(20):
            site.say(f"one of twenty: {number}")
            run = site.play("deploy", site="plain")
            assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert site.words() == "one of twenty: 19"
    tidy(site)


def test_a_commit_that_brings_a_process_and_one_that_takes_it_away(site: Site) -> None:
    site.commit(
        {"Procfile": "web: gunicorn config.wsgi\nclock: python manage.py shell -c 'import time; time.sleep(9999)'\n"}
    )
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.server.run("systemctl is-active plain-clock").strip() == "active"
    run = site.play("deploy", site="plain")
    assert (run.rc, run.changed) == (0, 0), run.end
    site.git("rm", "--quiet", "Procfile")
    site.commit({})
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.server.run("systemctl is-active plain-clock || true").strip() == "inactive"


def test_task_files_of_the_user_come_at_their_places(site: Site, tmp_path: Path) -> None:
    places = ["before_build", "after_build", "before_migrate", "after_migrate", "before_switch", "after_switch"]
    for place in places:
        line = f'echo "{place} {{{{ webstack_site }}}} $(readlink /srv/plain/current)" >> /run/hooks'
        (tmp_path / f"{place}.yml").write_text(f"- ansible.builtin.shell: |\n    {line}\n")
    before, commit = site.serving(), site.say("with task files")
    site.given["hooks"] = {place: [str(tmp_path / f"{place}.yml")] for place in places}
    try:
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
        again = site.play("deploy", site="plain")
    finally:
        site.given.pop("hooks")
    assert site.serving().startswith(commit[:12])
    serving = [before] * 5 + [site.serving()]
    lines = [f"{place} plain releases/{release}" for place, release in zip(places, serving)]
    assert site.server.run("cat /run/hooks").splitlines() == lines
    assert (again.rc, again.changed) == (0, 0), again.end


def test_a_server_that_fetches_itself_and_loses_its_network(site: Site) -> None:
    server, repo, words = site.server, site.given["repo"], site.words()
    server.run("command -v git >/dev/null || apt-get -qq install -y git >/dev/null 2>&1")
    bundle = site.code.parent / "plain.bundle"
    site.say("fetched by the server")
    site.git("bundle", "create", "--quiet", str(bundle), "HEAD", "main")
    subprocess.run(
        ["docker", "cp", "--quiet", str(bundle), f"{server.facts['container']}:/srv/plain.bundle"], check=True
    )
    server.run(
        "git clone --quiet --bare /srv/plain.bundle /srv/git/plain.git && chmod -R a+rX /srv/git && systemd-run --quiet"
        " --unit=gitd -p User=nobody git -c safe.directory='*' daemon --reuseaddr --export-all --base-path=/srv/git;"
        "nft add rule inet webstack input tcp dport 9418 accept"
    )
    site.given |= {"repo": f"git://{server.facts['address']}/plain.git", "fetch": "host"}
    gone = "git config --system url.git://127.0.0.1:9/.insteadOf git://"
    try:
        server.run(gone)
        with site.load():
            run = site.play("deploy", site="plain")
        assert run.rc != 0, run.end
        assert "site plain, fetch" in run.output, run.end
        assert "check that this host reaches the repository" in run.output, run.end
        assert (site.seen["failed"], site.words()) == (0, words), site.seen
        server.run("git config --system --unset-all url.git://127.0.0.1:9/.insteadOf")
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
        assert site.words() == "fetched by the server"
    finally:
        site.given["repo"] = repo
        site.given.pop("fetch")
        server.run("systemctl stop gitd; rm -f /etc/gitconfig; systemctl reload webstack-firewall")


def test_a_restart_of_the_server_in_the_middle(site: Site) -> None:
    site.say("after the restart")
    argv = site.command("deploy", site="plain")
    with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.DEVNULL) as process:
        at(site, "prepare")
        site.server.restart()
        process.wait()
    assert site.server.wait(f"https://{HOST}/")["status"] == 200
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.words() == "after the restart"
