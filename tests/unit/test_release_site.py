"""A site of `django_app_sites`: environment files, names of configurations, secrets, versions of Python."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import configure, running
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site, environment_file, quote
from ansible_collections.webstack.django.plugins.module_utils.release.versions import satisfies
from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders
from hypothesis import given
from hypothesis import strategies as st

BLOG: dict[str, Any] = {
    "name": "blog",
    "release_id": "one",
    "settings": "config.settings",
    "domains": ["blog.example.com", "*.example.org"],
    "secret_key": "the-key-of-the-blog",
    "env": {"GREETING": "good day", "COUNT": 3, "GONE": None, "API_TOKEN": "token-of-the-blog"},
    "database": {"engine": "postgresql", "name": "blog", "user": "blog", "host": "db", "password": "password-of-blog"},
    "cache": {"url": "redis://:password-of-redis@cache:6379/0"},
}


# Environment -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("good day", '"good day"'),
        ("", '""'),
        ('a "b"', '"a \\"b\\""'),
        ("$HOME `id`", '"\\$HOME \\`id\\`"'),
        ("C:\\new", '"C:\\\\new"'),
        ("it's # no comment", '"it\'s # no comment"'),
    ],
)
def test_quoting(value: str, quoted: str) -> None:
    assert quote(value) == quoted


@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_a_shell_reads_what_was_written(value: str) -> None:
    text = environment_file({"VALUE": value}, "# header\n")
    done = subprocess.run(["sh", "-c", text + 'printf "%s" "$VALUE"'], capture_output=True, check=True)
    assert done.stdout.decode() == value


def test_the_order_of_variables_is_always_the_same() -> None:
    assert environment_file({"B": "2", "A": "1"}, "# header\n") == '# header\nA="1"\nB="2"\n'


def test_the_environment_of_a_site() -> None:
    assert Site(BLOG).variables == {
        "GREETING": "good day",
        "COUNT": "3",
        "API_TOKEN": "token-of-the-blog",
        "WEBSTACK_SECRET_KEY": "the-key-of-the-blog",
        "WEBSTACK_DATABASE_PASSWORD": "password-of-blog",
        "WEBSTACK_CACHE_URL": "redis://:password-of-redis@cache:6379/0",
    }
    by_socket = {**BLOG, "database": {**BLOG["database"], "host": "/run/postgresql"}, "cache": None}
    assert "WEBSTACK_DATABASE_PASSWORD" not in Site(by_socket).variables
    assert "WEBSTACK_CACHE_URL" not in Site(by_socket).variables
    own = Site({**BLOG, "settings_overlay": False}).variables
    assert sorted(own) == ["API_TOKEN", "COUNT", "GREETING"]


def test_the_environment_of_a_release() -> None:
    assert configure.release_environment(Site({**BLOG, "project_dir": "src"}), "0123") == {
        "DJANGO_SETTINGS_MODULE": "webstack_settings",
        "PYTHONPATH": "/srv/blog/releases/one/overlay:/srv/blog/releases/one/code/src",
        "WEBSTACK_CONFIG": "0123",
        "WEBSTACK_RELEASE": "one",
        "WEBSTACK_SITE": "blog",
    }
    own = Site({**BLOG, "settings_overlay": False, "env": {"PYTHONPATH": "/opt/more"}})
    found = configure.release_environment(own, "")
    assert found["DJANGO_SETTINGS_MODULE"] == "config.settings"
    assert found["PYTHONPATH"] == "/srv/blog/releases/one/code:/opt/more"


def test_domains_as_django_takes_them() -> None:
    site = Site(BLOG)
    assert site.allowed_hosts == ["blog.example.com", ".example.org"]
    assert site.trusted_origins == ["https://blog.example.com", "https://*.example.org"]
    assert Site({**BLOG, "allowed_hosts": ["x"], "trusted_origins": []}).allowed_hosts == ["x"]


def test_no_secret_in_the_generated_settings() -> None:
    text = configure.overlay_files(Site(BLOG), {"webstack_production.py": ""})["webstack_settings.py"]
    assert "from config.settings import *" in text
    assert "'name': 'blog', 'user': 'blog', 'host': 'db'" in text
    for secret in ("the-key-of-the-blog", "password-of-blog", "password-of-redis", "token-of-the-blog"):
        assert secret not in text
    assert configure.overlay_files(Site({**BLOG, "settings_overlay": False}), {"x.py": ""}) == {}


# The name of a configuration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"env": {"GREETING": "good evening"}},
        {"secret_key": "another-key"},
        {"files": [{"path": "x", "content": "1"}]},
        {"shared": ["data"]},
        {"directories": ["queue"]},
        {"commands": {"after_migrate": ["rebuild_index"]}},
        {"order": ["migrate", "collectstatic"]},
        {"static": {"url": "/assets/"}},
        {"domains": ["www.example.com"]},
    ],
)
def test_what_configures_a_release_names_its_configuration(change: dict[str, Any]) -> None:
    def digest(values: dict[str, Any]) -> str:
        site = Site(values)
        return site.digest(configure.overlay_files(site, {"webstack_production.py": "1"}))

    assert digest({**BLOG, **change}) != digest(BLOG)
    assert digest({**BLOG, "env": dict(reversed(BLOG["env"].items()))}) == digest(BLOG)


def test_what_a_process_does_not_see_changes_no_name() -> None:
    more = {"keep_releases": 9, "health": {"timeout": 1}, "packages": {"build": ["gcc"]}}
    assert Site({**BLOG, **more}).digest({}) == Site(BLOG).digest({})
    assert Site(BLOG).digest({"webstack_cache.py": "1"}) != Site(BLOG).digest({"webstack_cache.py": "2"})


# Secrets -----------------------------------------------------------------------------------------


def test_an_error_names_site_and_step_and_shows_no_secret() -> None:
    found = str(
        Site(BLOG).error(
            "migrate",
            "no connection to postgres://blog:anything@db/blog with password-of-blog, token-of-the-blog, good day\n",
            "look at redis://:password-of-redis@cache:6379/0",
        )
    )
    assert found == (
        "site blog, migrate: no connection to postgres://blog:********@db/blog with ********, ********, good day\n"
        "What to do: look at ********"
    )


# Versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "specifier", "fits"),
    [
        ("3.11.2", ">=3.10", True),
        ("3.11.2", ">=3.12", False),
        ("3.11.2", ">=3.10,<4", True),
        ("3.13.5", ">=3.10, <3.13", False),
        ("3.11.2", "==3.11.*", True),
        ("3.12.0", "==3.11.*", False),
        ("3.11.2", "!=3.11.*", False),
        ("3.11.2", "~=3.10", True),
        ("3.11.2", "~=3.10.0", False),
        ("4.0.0", "~=3.10", False),
        ("3.9.9", "~=3.9.10", False),
        ("3.11.2", "!=3.11.2", False),
        ("3.11.2", "!=3.11.3", True),
        ("3.11.0", "==3.11", True),
        ("3.11.2", ">3.11.2", False),
        ("3.11.2", "<=3.11.2", True),
        ("3.10.4", "<3.9", False),
        ("3.11.2", "", True),
        ("3.11.2", "anything", True),
    ],
)
def test_versions_of_python(version: str, specifier: str, fits: bool) -> None:
    assert satisfies(version, specifier) is fits


# Placeholders ------------------------------------------------------------------------------------


def test_placeholders() -> None:
    assert placeholders.fill("a ${domain} $${domain} $x {y}", {"domain": "b"}) == "a b ${domain} $x {y}"
    with pytest.raises(KeyError):
        placeholders.fill("${domain}", {})
    assert placeholders.unknown("${database.host} $${anything}") == []
    (words,) = placeholders.unknown("${databse.host}")
    assert "${databse.host} is no value of the plan" in words
    assert "database.host" in words


# Health ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "wanted", "good"),
    [
        (200, [], True),
        (302, [], True),
        (404, [], True),
        (400, [], False),
        (500, [], False),
        (503, [], False),
        (200, [204], False),
        (503, [503], True),
    ],
)
def test_statuses_that_mean_health(status: int, wanted: list[int], good: bool) -> None:
    assert running.good(status, wanted) is good


def test_nobody_behind_the_socket(tmp_path: Path) -> None:
    health = {"socket": str(tmp_path / "web.sock"), "timeout": 1}
    found = running.unhealthy(Site({**BLOG, "health": health}), [])
    assert found == f"{tmp_path}/web.sock: [Errno 2] No such file or directory, for 1 seconds"
    assert running.unhealthy(Site(BLOG), []) is None


ANSWERS = """
import http.server, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        right = (self.headers["Host"], self.headers["X-Forwarded-Proto"]) == ("health-check.example.org", "https")
        self.send_response(int(self.path[1:]) if right else 400)
        self.end_headers()
    def address_string(self):
        return ""
class Server(socketserver.UnixStreamServer):
    pass
with Server(sys.argv[1], Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""


def test_a_site_is_asked_through_its_socket_as_its_visitors_do(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    with subprocess.Popen(
        ["python3", "-c", ANSWERS, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()

            def ask(**health: Any) -> str | None:
                given = {"socket": path, "host": "*.example.org", "timeout": 1, **health}
                return running.unhealthy(Site({**BLOG, "health": given}), [])

            assert ask(path="/200") is None
            assert ask(path="/404") is None
            assert ask(path="/503", status=[503]) is None
            assert ask(path="/503") == "/503 answers with status 503, for 1 seconds"
            refused = "/200 answers with status 400 (is blog.example.com among the project's ALLOWED_HOSTS?)"
            assert ask(path="/200", host="blog.example.com") == refused + ", for 1 seconds"
        finally:
            server.kill()
