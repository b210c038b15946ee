"""Releases that follow the first one, and what does not work. The tests build on each other, in this order."""

from __future__ import annotations

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

from blog import ask, pid, releases, serves, visitors, words, writable

# Another release ---------------------------------------------------------------------------------


def test_a_release_is_switched_to_without_a_failed_request(host, deploy):
    """A check says so before; old pages keep their stylesheets."""
    old = re.search(r'href="([^"]+)"', ask(host, "/")["body"]).group(1)
    predicted = deploy("two", "blog2", check=True)
    assert "blog: would deploy release two" in predicted.output
    assert releases(host) == {"one"}
    with visitors(host) as answers:
        run = deploy("two", "blog2")
    assert run.rc == 0, run.output
    assert (predicted.changed, run.changed) == (2, 2), predicted.output + run.output
    assert serves(host, "two", "blog2")
    django = "/srv/blog/releases/%s/venv/lib/python3*/site-packages/django/__init__.py"
    assert len(set(host.check_output(f"stat -c %i {django % 'one'} {django % 'two'}").split())) == 1  # not built twice
    assert set(answers) == {"200 Notes of blog", "200 Notes of blog2"}
    assert len(answers) > 20
    assert host.file(f"/srv/blog/public{old}").exists
    assert host.file("/srv/blog/public/static/notes/second.css").exists


def test_a_release_that_does_not_serve_is_taken_back(host, deploy):
    health = {"socket": "/run/webstack/blog/web.sock", "host": "blog.example.com", "path": "/", "timeout": 3}
    run = deploy("three", "failing", health=health)
    assert run.rc != 0
    assert "site blog, activate: release three does not serve: / answers with status 500" in words(run)
    assert "ZeroDivisionError" in run.output, run.output
    assert "The previous release two serves again." in words(run)
    assert serves(host, "two", "blog2")
    before = pid(host)
    again = deploy("three", "failing", health=health)
    assert again.rc != 0
    assert "release three did not serve before (/ answers with status 500" in words(again)
    assert "django_app_retry: true" in words(again)
    assert pid(host) == before
    retried = deploy("three", "failing", health=health, retry=True)
    assert "release three does not serve" in words(retried)
    assert serves(host, "two", "blog2")
    assert pid(host) != before


def test_settings_that_cannot_be_imported_stop_before_the_switch(host, deploy):
    before = pid(host)
    run = deploy("four", "broken")
    assert run.rc != 0
    assert "site blog, settings: " in run.output
    assert "ZeroDivisionError: division by zero" in run.output
    assert "the settings cannot be imported as the site's user" in words(run)
    assert serves(host, "two", "blog2")
    assert pid(host) == before


def test_a_migration_that_fails_leaves_the_old_release(host, deploy):
    before = pid(host)
    run = deploy("five", "migration")
    assert run.rc != 0
    assert "site blog, migrate notes.0002_halt: " in run.output
    assert "RuntimeError: this migration does not work" in run.output
    assert serves(host, "two", "blog2")
    assert pid(host) == before
    assert "half of a migration" not in ask(host, "/")["body"]


def test_the_way_back_to_a_release_that_is_still_there(host, deploy):
    """It is not built again, and keep_releases counts what is left of the others."""
    built = host.file("/srv/blog/releases/one/release.json").mtime
    assert releases(host) == {"one", "two", "three", "four", "five"}
    run = deploy("one", "blog")
    assert run.rc == 0, run.output
    assert serves(host, "one", "blog")
    assert host.file("/srv/blog/releases/one/release.json").mtime == built
    assert releases(host) == {"one", "two"}


# What dies half-way ------------------------------------------------------------------------------


@contextlib.contextmanager
def killed(host, run):
    """Start a deployment, and kill it in the command that waits for /tmp/hold to go away."""
    host.check_output("touch /tmp/hold; rm -f /tmp/held")
    with ThreadPoolExecutor() as pool:
        started = pool.submit(run)
        try:
            host.check_output("timeout 90 sh -c 'until test -e /tmp/held; do sleep 0.2; done'")
            host.check_output("kill -9 $(ps -o ppid= -p $(cat /tmp/held))")
            assert started.result().rc != 0
            yield
        finally:
            host.check_output("rm /tmp/hold")


HOLD = "echo $$ > /tmp/held; while test -e /tmp/hold; do sleep 0.1; done; rm -f /tmp/held"


def test_a_build_that_was_killed_begins_again(host, deploy):
    more = {"build": [HOLD], "packages": {"build": ["bzip2"]}}
    with killed(host, lambda: deploy("six", "blog2", **more)):
        assert serves(host, "one", "blog")
        assert host.package("bzip2").is_installed
        assert host.file("/tmp/held").exists, "what the killed run left is still at work"
        host.check_output("touch /srv/blog/releases/six/code/of-the-killed-run")
    run = deploy("six", "blog2", **more)
    assert run.rc == 0, run.output
    assert serves(host, "six", "blog2")
    assert not host.file("/tmp/held").exists
    assert not host.file("/srv/blog/releases/six/code/of-the-killed-run").exists
    assert not host.package("bzip2").is_installed
    assert releases(host) == {"one", "six"}
    assert writable(host, "blog", "/srv/blog/releases") == []


def test_a_preparation_that_was_killed_leaves_nothing_behind(host, deploy):
    """Also where the next run does not want what the killed one wanted."""
    commands = {"before_migrate": [HOLD]}
    before = pid(host)
    with killed(host, lambda: deploy("six", "blog2", commands=commands)):
        assert serves(host, "six", "blog2")
        assert "/srv/blog/releases/six/code" in writable(host, "blog", "/srv/blog/releases/six")
    run = deploy("six", "blog2")
    assert run.rc == 0, run.output
    assert serves(host, "six", "blog2")
    assert pid(host) == before
    assert writable(host, "blog", "/srv/blog/releases") == []


def test_a_full_disk(host, deploy, variables):
    before = pid(host)
    used = host.check_output("du -sm /srv/blog/environments").split()[0]
    host.check_output(f"mount -t tmpfs -o size={int(used) + 20}M,mode=0750 none /mnt")
    host.check_output("cp -a /srv/blog/environments/. /mnt && mount --bind /mnt /srv/blog/environments")
    try:
        # With other dependencies, or it would take the environment over, which needs no space.
        given = variables["blog"]["dependencies"]
        run = deploy("seven", "blog", dependencies={**given, "add": [*given.get("add", []), "six"]})
        assert run.rc != 0
        assert "site blog, build: " in run.output
        assert "the disk is full: free some space" in words(run)
        assert releases(host) == {"one", "six"}
        assert serves(host, "six", "blog2")
        assert pid(host) == before
    finally:
        host.check_output("umount /srv/blog/environments /mnt")


def test_another_environment_restarts_the_process(host, deploy, variables):
    before = pid(host)
    env = {**variables["blog"]["env"], "GREETING": "good day", "DJANGO_LOG_LEVEL": None}
    run = deploy("six", "blog2", env=env)
    assert run.rc == 0, run.output
    assert "good day" not in run.output
    assert serves(host, "six", "blog2")
    assert pid(host) != before
    environment = host.check_output(f"tr '\\0' '\\n' < /proc/{pid(host)}/environ").splitlines()
    assert "GREETING=good day" in environment
    assert not any(line.startswith("DJANGO_LOG_LEVEL=") for line in environment)
    assert deploy("six", "blog2", env=env).changed == 0


def test_a_process_that_runs_something_else_is_restarted(host, deploy):
    """And what somebody changed in the release is put back."""
    host.check_output("echo '# by hand' >> /srv/blog/releases/six/overlay/webstack_settings.py")
    host.check_output("chmod 0666 /etc/webstack/blog/env; systemctl stop blog-web.socket blog-web.service")
    host.check_output("systemctl start blog-web.socket")
    run = deploy("six", "blog2")
    assert run.rc == 0, run.output
    assert serves(host, "six", "blog2")
    assert "by hand" not in host.file("/srv/blog/releases/six/overlay/webstack_settings.py").content_string
    assert host.file("/etc/webstack/blog/env").mode == 0o640


# Sites that come and go --------------------------------------------------------------------------


def test_a_site_that_the_host_fetches_and_its_removal(host, machine, other, playbook):
    """Its static files go to the other machine, its first release does not serve, and then it is not wanted any more."""
    name = f"on-{machine}"
    mirror = "debian13" if machine == "debian12" else "debian12"
    site = {
        "name": name,
        "source": {"kind": "git", "repo": "/opt/hosted.bundle", "version": "main", "fetch": "host"},
        "release_id": "one",
        "shared": ["db.sqlite3"],
        "secret_key": "another-secret-key-for-the-scenario-of-this-role-9876",
        "health": {"socket": "/run/nobody.sock", "host": "hosted.example.com", "timeout": 1},
    }
    run = playbook({"django_app_sites": [site], "django_app_static_hosts": [mirror]})
    assert run.rc != 0
    assert f"site {name}, activate: release one does not serve: /run/nobody.sock: " in words(run)
    assert "There is no earlier release to go back to." in words(run)
    assert not host.file(f"/srv/{name}/current").exists
    del site["health"]
    run = playbook({"django_app_sites": [site], "django_app_static_hosts": [mirror]})
    assert run.rc == 0, run.output
    facts = json.loads(host.file(f"/srv/{name}/current/release.json").content_string)
    assert (facts["settings"], facts["wsgi"], facts["manage"]) == (
        "config.settings",
        "config.wsgi:application",
        "manage.py",
    )
    assert host.file(f"/srv/{name}/shared/db.sqlite3").user == name
    public = f"/srv/{name}/public/static/notes/style.css"
    assert "rebeccapurple" in other(mirror).check_output(f"runuser -u nobody -- cat {public}")
    assert not other(mirror).file(f"/srv/{name}/current").exists
    gone = {"django_app_sites": [{"name": name, "state": "absent"}], "django_app_static_hosts": [mirror]}
    run = playbook(gone)
    assert run.rc == 0, run.output
    assert host.check_output(f"ls /srv/{name}") == "shared"
    assert host.file(f"/srv/{name}/shared/db.sqlite3").exists
    assert not host.file(f"/etc/webstack/{name}").exists
    assert not host.file(f"/var/cache/webstack/{name}").exists
    assert not other(mirror).file(f"/srv/{name}").exists
    gone["django_app_sites"][0]["purge"] = True
    run = playbook(gone)
    assert run.rc == 0, run.output
    assert not host.file(f"/srv/{name}").exists


def test_bad_input_is_refused(host, playbook, variables):
    blog = variables["blog"]
    for sites, message in (
        ([blog, blog], "django_app_sites: every site needs a name of its own; found blog, blog."),
        ([{**blog, "realease_id": "x"}], "realease_id"),
        ([{**blog, "release_id": "../x"}], "site blog, fetch: '../x' is no name of a release"),
    ):
        run = playbook({"django_app_sites": sites})
        assert run.rc != 0
        assert message in words(run)
    assert serves(host, "six", "blog2")


def test_back_to_the_beginning(host, playbook):
    """So that the tests can run again."""
    run = playbook()
    assert run.rc == 0, run.output
    assert serves(host, "one", "blog")
    host.check_output("rm -r /srv/blog/previous /srv/blog/releases/six /srv/shop/previous /srv/shop/releases/two")
    host.check_output("rm /srv/shop/shared/src/data/kept /srv/blog/public/static/notes/second*")
