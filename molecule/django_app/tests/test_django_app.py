"""Releases of a site, from the first one to one that does not work. The tests build on each other, in this order."""

from __future__ import annotations

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

CLIENT = """
import http.client, json, os, socket, sys, time
def get(path, host="blog.example.com", cookie=""):
    connection = http.client.HTTPConnection(host)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(30)
    connection.sock.connect("/run/webstack/blog/web.sock")
    connection.request("GET", path, headers={"X-Forwarded-Proto": "https", "Cookie": cookie, "Connection": "close"})
    reply = connection.getresponse()
    return {"status": reply.status, "cookie": reply.getheader("Set-Cookie", ""), "body": reply.read().decode()}
"""
ASK = CLIENT + "print(json.dumps(get(*sys.argv[1:])))"
ASK_ON = (
    CLIENT
    + """
while True:
    try:
        reply = get("/")
        print(reply["status"], reply["body"].partition("<h1>")[2].partition("</h1>")[0], flush=True)
    except OSError as error:
        print(repr(error), flush=True)
    time.sleep(0.02)
"""
)
ENVIRONMENT = 'a "b" $c `d` \\e'


def ask(host, *arguments):
    """An answer of the blog, asked as the web server asks it: path, Host, cookie."""
    return json.loads(
        host.check_output("runuser -u www-data -- python3 -c %s" + " %s" * len(arguments), ASK, *arguments)
    )


@contextlib.contextmanager
def visitors(host):
    """Somebody asks for the page all the time; gives the answers, once they are over."""
    answers = []
    run = (
        "systemd-run --quiet --collect --unit=visitors --uid=www-data --property=StandardOutput=truncate:/run/visitors"
    )
    host.check_output(run + " --property=RuntimeMaxSec=150 python3 -c %s", ASK_ON)
    try:
        yield answers
    finally:
        host.check_output("systemctl stop visitors")
        answers += host.check_output("cat /run/visitors").splitlines()


@pytest.fixture
def deploy(playbook, variables):
    """deploy("two", "blog2"): bring an archive as a release of the blog."""

    def run(release, archive, check=False, retry=False, **more):
        source = {"kind": "path", "archive": "{{ archives }}/%s.tar.gz" % archive}
        site = {**variables["blog"], "release_id": release, "source": source, **more}
        return playbook({"django_app_sites": [site], "django_app_retry": retry}, check=check)

    return run


def pid(host):
    return int(host.check_output("systemctl show -p MainPID --value blog-web"))


def serves(host, release, archive):
    """Whether this release is the one that visitors get."""
    page = ask(host, "/")
    assert page["status"] == 200
    assert f"<h1>Notes of {archive}</h1>" in page["body"]
    assert host.check_output("readlink /srv/blog/current") == f"releases/{release}"
    assert f"WEBSTACK_RELEASE={release}\n" in host.check_output(f"tr '\\0' '\\n' < /proc/{pid(host)}/environ") + "\n"
    return True


def releases(host, site="blog"):
    return set(host.check_output(f"ls /srv/{site}/releases").split())


def words(run):
    """Ansible's output in one line."""
    return " ".join(run.output.split())


def writable(host, site, *tops):
    """What the site's user can write to."""
    find = f"cd / && runuser -u {site} -- find -H {' '.join(tops)} -writable -not -type l -print"
    return sorted(host.check_output(find).splitlines())


# The first release -------------------------------------------------------------------------------


def test_the_page_comes_from_the_database(host):
    assert serves(host, "one", "blog")
    assert "the first note, from a migration" in ask(host, "/")["body"]
    rows = host.check_output("runuser -u blog -- psql -tA -h /run/postgresql blog -c 'SELECT text FROM notes_note'")
    assert rows == "the first note, from a migration"


def test_only_its_own_names_are_answered(host):
    assert ask(host, "/", "other.example.com")["status"] == 400


def test_sessions_live_without_the_cache(host):
    """The cache of this site was never there."""
    first = ask(host, "/visits/")
    assert json.loads(first["body"]) == {"visits": 1, "secure": True}
    name, attributes = first["cookie"].split(";", 1)
    assert name.startswith("__Secure-sessionid=")
    assert "Secure" in attributes
    assert json.loads(ask(host, "/visits/", "blog.example.com", name)["body"])["visits"] == 2


def test_owners_and_modes(host):
    expected = {
        "/srv/blog": ("root", "root", 0o755),
        "/srv/blog/releases": ("root", "blog", 0o750),
        "/srv/blog/releases/one": ("root", "blog", 0o750),
        "/srv/blog/releases/one/code": ("root", "blog", 0o750),
        "/srv/blog/releases/one/code/manage.py": ("root", "blog", 0o640),
        "/srv/blog/releases/one/venv/bin/gunicorn": ("root", "blog", 0o750),
        "/srv/blog/releases/one/overlay/webstack_settings.py": ("root", "blog", 0o640),
        "/srv/blog/releases/one/release.json": ("root", "blog", 0o640),
        "/srv/blog/releases/one/env": ("root", "blog", 0o640),
        "/srv/blog/public": ("root", "root", 0o755),
        "/srv/blog/shared": ("blog", "www-data", 0o710),
        "/srv/blog/shared/media": ("blog", "www-data", 0o2750),
        "/etc/webstack/blog/env": ("root", "blog", 0o640),
        "/var/cache/webstack/blog": ("blog", "blog", 0o700),
    }
    shown = host.check_output("stat --format='%n %U %G %a' " + " ".join(expected))
    found = {path: (user, group, int(mode, 8)) for path, user, group, mode in map(str.split, shown.splitlines())}
    assert found == expected
    assert host.user("blog").shell == "/usr/sbin/nologin"
    assert host.user("blog").uid < 1000


def test_the_site_writes_nothing_but_its_data(host):
    assert writable(host, "blog", "/srv/blog", "/etc/webstack") == ["/srv/blog/shared", "/srv/blog/shared/media"]
    for path in ("/etc/webstack/blog/env", "/srv/blog/releases/one/env", "/srv/blog/current/code/manage.py"):
        assert host.run(f"runuser -u shop -- cat {path}").rc != 0


def test_facts_of_the_release(host):
    facts = json.loads(host.file("/srv/blog/current/release.json").content_string)
    assert (facts["id"], facts["settings"], facts["wsgi"]) == ("one", "config.settings", "config.wsgi:application")
    assert host.file("/srv/blog/current/project").linked_to == "/srv/blog/releases/one/code"


def test_the_environment_arrives_as_it_was_written(host):
    environment = host.check_output(f"tr '\\0' '\\n' < /proc/{pid(host)}/environ").splitlines()
    assert f"QUOTED={ENVIRONMENT}" in environment
    assert "DJANGO_LOG_LEVEL=INFO" in environment
    shell = host.run("webstack-manage blog shell -c %s", "import os; print('<' + os.environ['QUOTED'] + '>')")
    assert f"<{ENVIRONMENT}>" in shell.stdout


def test_the_settings_are_fit_for_production(host):
    done = host.run("webstack-manage blog check --deploy")
    assert done.rc == 0
    assert "System check identified no issues" in done.stdout + done.stderr
    code = "from django.conf import settings as s; print([s.DEBUG, s.ALLOWED_HOSTS, s.DATABASES['default']['ENGINE']])"
    shown = host.check_output("webstack-manage blog shell -c %s", code)
    assert "[False, ['blog.example.com'], 'django.db.backends.postgresql']" in shown


def test_webstack_manage_refuses_what_it_cannot_do(host):
    assert "usage: webstack-manage SITE COMMAND" in host.run("webstack-manage").stderr
    assert "no release of a site of that name" in host.run("webstack-manage ../etc check").stderr
    assert "run this as root" in host.run("runuser -u nobody -- webstack-manage blog check").stderr


def test_static_files_are_published_under_names_with_a_hash(host):
    href = re.search(r'href="(/static/notes/style\.[0-9a-f]{12}\.css)"', ask(host, "/")["body"]).group(1)
    assert "rebeccapurple" in host.check_output(f"runuser -u nobody -- cat /srv/blog/public{href}")
    # Its stylesheet refers to a file that nobody has: kept as it is.
    assert "nowhere.png" in host.check_output("runuser -u nobody -- cat /srv/blog/public/static/notes/broken.css")
    assert not host.file("/srv/blog/public/static/staticfiles.json").exists


# A project with settings of its own --------------------------------------------------------------


def test_own_settings_with_files_and_directories(host):
    assert host.file("/etc/shop/shop.ini").content_string == "[shop]\n"
    placed = host.file("/srv/shop/current/code/src/config/local_settings.py")
    assert (placed.user, placed.group, placed.mode) == ("root", "shop", 0o640)
    shown = host.check_output(
        "webstack-manage shop shell -c %s", "from django.conf import settings as s; print([s.DEBUG, s.ALLOWED_HOSTS])"
    )
    assert "[False, ['shop.example.com']]" in shown
    assert not host.file("/srv/shop/current/overlay").exists


def test_the_lock_file_is_followed(host):
    installed = host.check_output("/opt/webstack/uv/bin/uv pip freeze --python /srv/shop/current/venv/bin/python")
    assert "django==5.2.8" in installed
    assert "tzdata" not in installed


def test_build_and_packages_that_only_it_needs(host):
    """bzip2 was there for `build`, which wrote the file that a command copied to the static files."""
    assert host.file("/srv/shop/public/assets/built.txt").content_string == "built\n"
    assert not host.package("bzip2").is_installed
    assert not host.file("/var/lib/webstack/build-packages/shop.json").exists


def test_the_order_of_migrations_and_static_files(host):
    marker = host.check_output("find /srv/shop/shared/.webstack -name 'once-*'")
    assert host.check_output(f"find /srv/shop/current/code/src/collected/built.txt -newer {marker}")


def test_the_site_writes_to_what_it_shares(host):
    assert writable(host, "shop", "/srv/shop", "/etc/shop") == [
        "/srv/shop/releases/one/code/src/logs",
        "/srv/shop/releases/one/code/src/logs/shop.log",
        "/srv/shop/shared",
        "/srv/shop/shared/media",
        "/srv/shop/shared/src",
        "/srv/shop/shared/src/data",
        "/srv/shop/shared/src/data/README",
        "/srv/shop/shared/src/data/shop.sqlite3",
    ]
    assert host.file("/srv/shop/current/code/src/uploads").linked_to == "/srv/shop/shared/media"


def test_data_outlives_a_release_and_once_is_once(host, playbook, variables):
    """A second createsuperuser of the same name would fail."""
    host.check_output("runuser -u shop -- sh -c 'echo of the site > /srv/shop/current/code/src/data/kept'")
    run = playbook({"django_app_sites": [{**variables["shop"], "release_id": "two"}]})
    assert run.rc == 0, run.output
    assert host.check_output("readlink /srv/shop/current") == "releases/two"
    assert host.file("/srv/shop/current/code/src/data/kept").content_string == "of the site\n"
    code = (
        "from django.contrib.auth import authenticate as a; print(a(username='shopkeeper', password='correct-horse-9'))"
    )
    assert "shopkeeper" in host.check_output("webstack-manage shop shell -c %s", code)


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
    assert (predicted.changed, run.changed) == (4, 4), predicted.output + run.output
    assert serves(host, "two", "blog2")
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


def test_a_full_disk(host, deploy):
    before = pid(host)
    used = host.check_output("du -sm /srv/blog/releases").split()[0]
    host.check_output(f"mount -t tmpfs -o size={int(used) + 20}M,mode=0750 none /mnt")
    host.check_output("cp -a /srv/blog/releases/. /mnt && mount --bind /mnt /srv/blog/releases")
    try:
        run = deploy("seven", "blog")
        assert run.rc != 0
        assert "site blog, build: " in run.output
        assert "the disk is full: free some space" in words(run)
        assert releases(host) == {"one", "six"}
        assert serves(host, "six", "blog2")
        assert pid(host) == before
    finally:
        host.check_output("umount /srv/blog/releases /mnt")


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
