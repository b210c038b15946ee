"""Deployments of one site under a strict load: those that go well, those that do not, and the way back."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import ROOT, Server, project
from site_under_load import HOST, Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("deploy")
    server = Server("deploy", "debian13", "deploy", directory)
    server.up()
    try:
        found = Site([server], Path(project(directory / "projects", "plain")))
        run = found.play("site")
        assert run.rc == 0, run.end
        yield found
    finally:
        server.down()


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


@pytest.mark.parametrize("seconds", [4.0, 7.0])
def test_a_deployment_that_is_killed_is_completed_by_the_next(site: Site, seconds: float) -> None:
    site.say(f"killed after {seconds}")
    argv = site.command("deploy", site="plain")
    with site.load():
        with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, start_new_session=True) as process:
            time.sleep(seconds)
            subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=False)
        run = site.play("deploy", site="plain")
        assert run.rc == 0, run.end
    assert site.seen["failed"] == 0, site.seen
    assert site.words() == f"killed after {seconds}"


def test_many_deployments_leave_what_is_to_be_kept(site: Site) -> None:
    assert len(site.server.run("ls /srv/plain/releases").split()) == 3
    assert site.server.run("pgrep -u plain -a -f webstack-trial || true") == ""
    assert site.server.run("ls -d /run/webstack-trial* 2>/dev/null || true") == ""


def test_a_restart_of_the_server_in_the_middle(site: Site) -> None:
    site.say("after the restart")
    argv = site.command("deploy", site="plain")
    with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.DEVNULL) as process:
        time.sleep(5)
        site.server.restart()
        process.wait()
    assert site.server.wait(f"https://{HOST}/")["status"] == 200
    run = site.play("deploy", site="plain")
    assert run.rc == 0, run.end
    assert site.words() == "after the restart"
