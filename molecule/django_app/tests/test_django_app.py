"""The first release of a site, and a project with settings of its own."""

from __future__ import annotations

import json
import re

from blog import ask, pid, serves, writable

ENVIRONMENT = 'a "b" $c `d` \\e'


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
        "/srv/blog": ("root", "blog", 0o751),
        "/etc/webstack/blog": ("root", "root", 0o711),
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
