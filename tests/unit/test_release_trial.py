# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a release proves itself: the module that it is served by, the socket that it is tried on, the way back."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import (
    backup,
    configure,
    needs,
    prepare,
    rollback,
    serve,
    trial,
    venv,
)
from ansible_collections.webstack.django.plugins.module_utils.release.site import (
    ReleaseError,
    Site,
    environment_file,
    read_environment,
)

WSGI = """
def application(environ, start_response):
    start_response("404 Not Found", [("A", "b")])
    return [b"no"]
"""
ASGI = """
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"no"})
"""


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, **more: Any) -> Any:
    """The module of a release, loaded beside a project."""
    project = tmp_path / "project"
    project.mkdir()
    name = f"served_{tmp_path.name.replace('-', '_')}"
    (project / f"{name}.py").write_text(WSGI if kind == "wsgi" else ASGI)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv("WEBSTACK_RELEASE", "abc-1")
    site = Site({"name": "blog", kind: f"{name}:application", "app_server": "gunicorn", **more})
    text = serve.text(site, "# header\n")
    assert text
    path = tmp_path / "webstack_serve.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("webstack_serve", path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("asked", "always", "seen"),
    [(None, False, None), ("abc-2", False, None), ("abc-1", False, "abc-1"), (None, True, "abc-1")],
)
def test_a_release_says_so_to_who_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, always: bool, seen: str | None
) -> None:
    found = module(tmp_path, monkeypatch, "wsgi", release_header=always)
    answer: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]]) -> None:
        answer.update(headers, status=status)

    environ = {"HTTP_X_WEBSTACK_RELEASE": asked} if asked else {}
    assert found.application(environ, start) == [b"no"]
    assert answer.get("X-Webstack-Release") == seen
    assert (answer["status"], answer["A"]) == ("404 Not Found", "b")


@pytest.mark.parametrize(("asked", "seen"), [(b"abc-1", b"abc-1"), (b"abc-2", None)])
def test_so_does_one_that_is_served_by_asgi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bytes, seen: bytes | None
) -> None:
    pytest.importorskip("asgiref")
    found = module(tmp_path, monkeypatch, "asgi")
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [[b"x-webstack-release", asked]]}
    asyncio.run(found.application(scope, None, send))
    assert dict(sent[0]["headers"]).get(b"x-webstack-release") == seen
    assert sent[1]["body"] == b"no"


def test_the_application_of_the_release_is_that_module() -> None:
    given = {"name": "blog", "release_id": "1", "wsgi": "config.wsgi:application", "settings": "config.settings"}
    served = configure.release_environment(Site({**given, "app_server": "uwsgi"}), "digest")
    assert served["WEBSTACK_APPLICATION"] == "webstack_serve:application"
    assert served["PYTHONPATH"].split(":")[-1] == "/srv/blog/releases/1/serve"
    alone = configure.release_environment(Site(given), "digest")  # whoever serves it knows nothing of ours
    assert alone["WEBSTACK_APPLICATION"] == "config.wsgi:application"


def test_a_trial_of_uwsgi_takes_nothing_of_the_one_that_serves() -> None:
    lines = """[uwsgi]
strict = true
workers = 4
cheaper = 2
cheaper-algo = spare
stats = /run/webstack/blog/uwsgi/stats.sock
touch-chain-reload = /run/webstack/blog/uwsgi/reload
if-env = WEBSTACK_WSGI_FILE
touch-chain-reload = %(_)
end-if =
threads = 2
harakiri = 30
module = $(WEBSTACK_APPLICATION)""".splitlines()
    kept = [line for line in lines if not trial._OTHERS.match(line)]
    assert kept == ["[uwsgi]", "strict = true", "threads = 2", "harakiri = 30", "module = $(WEBSTACK_APPLICATION)"]


@pytest.mark.parametrize(("parent", "said"), [(0, "/run/web a b\n"), (1, "")])
def test_a_trial_whose_run_is_gone_does_not_start(parent: int, said: str) -> None:
    argv = ["sh", "-c", trial._CHILD, "sh", str(parent or os.getpid()), "echo", "/run/web", "a b"]
    assert subprocess.run(argv, check=False, capture_output=True, text=True).stdout == said


def test_an_environment_is_read_as_it_was_written() -> None:
    given = {"A": 'a "b" $c `d` \\e', "B": "", "C": "a=b"}
    assert read_environment(environment_file(given, "# header = x\n")) == given


# Migrations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "given", "options"),
    [(5, None, "-c lock_timeout=5s"), (9, "-c geqo=off", "-c geqo=off -c lock_timeout=9s"), (0, None, None)],
)
def test_a_migration_gives_a_lock_up(seconds: int, given: str | None, options: str | None) -> None:
    env = {"PGOPTIONS": given} if given else {}
    found = prepare.lock_timeout(Site({"name": "blog", "migrate_lock_timeout": seconds, "env": env}))
    assert found.get("PGOPTIONS") == options


SOCKET = {"engine": "postgresql", "name": "b", "user": "u", "host": "/run/postgresql", "port": 5432, "password": "p"}
FAR = {
    "engine": "mysql",
    "name": "b",
    "user": "u",
    "host": "10.0.0.2",
    "port": 3306,
    "password": "p",
    "sslmode": "require",
}


def test_what_dumps_a_database() -> None:
    argv, environment, ending = backup._command({**SOCKET, "sslmode": None})
    assert argv == ["pg_dump", "--format=custom", "--no-owner", "--no-password"]
    assert environment == {"PGHOST": "/run/postgresql", "PGPORT": "5432", "PGUSER": "u", "PGDATABASE": "b"}
    assert ending == "dump"
    argv, environment, ending = backup._command(FAR)
    assert argv[-5:] == ["--host=10.0.0.2", "--port=3306", "--ssl", "--skip-ssl-verify-server-cert", "b"]
    assert (environment, ending) == ({"MYSQL_PWD": "p"}, "sql")  # not in argv


# The way back ------------------------------------------------------------------------------------


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """releases("1", "2", ..., serving="2"): a site whose releases served in this order."""
    monkeypatch.setattr(rollback, "Site", lambda given: Site({**given, "root": str(tmp_path)}))

    def make(*names: str, serving: str, **states: dict[str, Any]) -> None:
        for number, name in enumerate(names, start=1):
            directory = tmp_path / "releases" / name
            directory.mkdir(parents=True)
            (directory / "release.json").write_text(json.dumps({"id": name}))
            way = {"activate": [["true", name]], "app_server": "gunicorn"}
            state = {"activated_at": number, "way": way, "migrations": ["a.1"], **states.get("r" + name, {})}
            (directory / ".state.json").write_text(json.dumps(state))
        (tmp_path / "current").symlink_to(f"releases/{serving}")

    return make


def back(wanted: str = "", retry: bool = False) -> rollback.Rollback:
    return rollback.Rollback("blog", wanted, retry, check_mode=True)


def test_back_goes_to_the_good_release_before(releases: Any) -> None:
    releases("1", "2", "3", "4", serving="3", r2={"bad": {"reason": "it hangs"}}, r3={"migrations": ["a.1", "a.2"]})
    found = back()
    assert (found.target, found.between()) == ("1", ["a.2"])
    assert found.site["activate"] == [["true", "3"]]  # what runs its processes now
    assert found.run()[-1] == "blog: go back from release 3 to 1"
    assert back("4").target == "4"  # forward
    assert back("3").run() == []
    assert back("2", retry=True).target == "2"
    with pytest.raises(ReleaseError, match="release 2 did not serve before: it hangs"):
        back("2")
    with pytest.raises(ReleaseError, match=r"'9' names none of the releases .*\n.*name one of: 4 \(served since 1970"):
        back("9")


def test_there_may_be_no_way_back(releases: Any) -> None:
    releases("11", "12", "13", serving="11", r12={"way": {"app_server": "uwsgi"}})
    with pytest.raises(ReleaseError, match="no release that served before 11 is there"):
        back()
    with pytest.raises(ReleaseError, match="names more than one"):
        back("1")
    with pytest.raises(ReleaseError, match="release 12 was made for another application server"):
        back("12")


# What a server has -------------------------------------------------------------------------------


def test_processes_that_are_set_up(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "blog-web.service").write_text(
        "# webstack.django.systemd: blog-web\nExecStart=/srv/blog/current/run/web\n"
    )
    (units / "other.service").write_text("[Unit]\n")
    for path in ("etc/supervisor/conf.d/webstack-shop-web.conf", "etc/cron.d/webstack-shop-night"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    launchers = tmp_path / "etc/supervisor/webstack"
    launchers.mkdir()
    for name in ("shop-web", "shop-night"):
        (launchers / name).write_text("exec /srv/shop/current/run/x\n")
    assert needs.known(["blog", "shop"], str(tmp_path)) == {"blog-web", "shop-web", "shop-night"}
    assert sorted(needs.known(["blog"], str(tmp_path)) ^ {"blog-web", "blog-worker"}) == ["blog-worker"]
    assert sorted(needs.known(["shop"], str(tmp_path)) ^ {"shop-web"}) == ["shop-night"]


# The environment of an earlier release -----------------------------------------------------------


def test_the_same_dependencies_are_not_installed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = type("Account", (), {"pw_uid": os.getuid(), "pw_gid": os.getgid()})
    monkeypatch.setattr(venv, "account", lambda _site: user)
    sites = [Site({"name": "blog", "root": str(tmp_path), "release_id": name}) for name in ("old", "new", "third")]
    old, new, third = sites
    (tmp_path / "environments").mkdir()
    for one in sites:
        Path(one.code).mkdir(parents=True)
        (Path(one.code) / "requirements.txt").write_text("-r base.txt\n")
        (Path(one.code) / "base.txt").write_text("django\n")
    name = venv.key(old, "/usr/bin/python3", "3.13.5")
    assert venv.key(new, "/usr/bin/python3", "3.13.5") == name
    assert venv.key(new, "/usr/bin/python3", "3.13.6") != name
    (Path(new.code) / "base.txt").write_text("django\nsix\n")
    assert venv.key(new, "/usr/bin/python3", "3.13.5") != name
    venv.make(old, name)
    assert os.readlink(old.venv) == f"../../environments/{name[:16]}"
    assert old.environment == str(tmp_path / "environments" / name[:16])
    library = Path(old.environment) / "lib/python3.13/site-packages"
    library.mkdir(parents=True)
    assert venv.whole(old)
    (Path(old.release) / "release.json").write_text(json.dumps({"id": "old", "environment": name}))
    assert venv.take_over(new, "another") is None
    assert venv.take_over(new, name) == "old"
    assert (new.environment, venv.shared(new), venv.shared(third)) == (old.environment, True, False)
    venv.make(third, name)
    assert third.environment == old.environment + "-2"
    shutil.rmtree(third.release)
    assert venv.prune(new, check_mode=True) == [f"blog: remove environment {name[:16]}-2"]
    assert len(list((tmp_path / "environments").iterdir())) == 2
    assert venv.prune(new) == [f"blog: remove environment {name[:16]}-2"]
    shutil.rmtree(old.release)
    assert venv.prune(new) == []
    assert library.is_dir()
    (library / "blog.pth").write_text(new.code + "\n")  # the project is installed from its code
    assert not venv.whole(new)
