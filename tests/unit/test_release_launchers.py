"""Scripts that start the processes of a release."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import configure, files, launchers
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site


@pytest.mark.parametrize(
    ("line", "shell"),
    [
        ("gunicorn -c /etc/webstack/blog/gunicorn.conf.py", "exec gunicorn -c /etc/webstack/blog/gunicorn.conf.py"),
        ("  celery -A config worker  ", "exec celery -A config worker"),
        ("cd src && celery -A x worker", "cd src && exec celery -A x worker"),
        ("a&&b -c 1 &&  c", "a&&b -c 1 &&  exec c"),
        ("echo 'a && b; c' | cat", "echo 'a && b; c' | cat"),
        ('say \'a && b; c\' "d | e \\" &" \\;', 'exec say \'a && b; c\' "d | e \\" &" \\;'),
        ("a; b", "a; b"),
        ("a || b", "a || b"),
        ("a && b &", "a && b &"),
        ("(a)", "(a)"),
        ("{ a; }", "{ a; }"),
        ("a `b`", "a `b`"),
        ("a # && b", "a # && b"),
        ("a#b", "exec a#b"),
        ("a 2>&1 >/dev/null", "exec a 2>&1 >/dev/null"),
        ("a $(b | c; (d)) $E ${F:-g}", "exec a $(b | c; (d)) $E ${F:-g}"),
        ("A=1 B='2 3' a", "exec env A=1 B='2 3' a"),
        ("a=b=c", "exec env a=b=c"),
        ("exec a", "exec a"),
        ("cd x && . ./y", "cd x && . ./y"),
        ("a\nb", "a\nb"),
    ],
)
def test_the_program_takes_the_place_of_the_shell_where_it_can(line: str, shell: str) -> None:
    assert launchers.shell_line(line) == shell


@pytest.mark.parametrize("line", ["", " ", "a &&", "&& a", "a && && b", "a 'b", 'a "b', "a $(b"])
def test_a_line_that_is_no_command(line: str) -> None:
    with pytest.raises(ValueError, match=r"a command is missing|a quote or bracket is not closed"):
        launchers.shell_line(line)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "A", "x" * 33])
def test_names_of_processes(name: str) -> None:
    with pytest.raises(ReleaseError, match=r"site blog, prepare: processes: .* is no name of a process"):
        launchers.scripts(Site({"name": "blog", "processes": {name: "x"}}), "")


def test_a_mistake_names_its_process() -> None:
    with pytest.raises(
        ReleaseError, match=r"site blog, prepare: processes.worker: a quote or bracket is not closed: a 'b"
    ):
        launchers.scripts(Site({"name": "blog", "processes": {"worker": "a 'b"}}), "")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A release of a site, for the account that runs the tests."""
    me = SimpleNamespace(pw_uid=os.geteuid(), pw_gid=os.getegid(), pw_dir="/")
    monkeypatch.setattr(configure, "account", lambda site: me)
    monkeypatch.setattr(configure.os, "chown", lambda *arguments, **more: None)
    monkeypatch.setattr(files.os, "fchown", lambda *arguments: None)
    (tmp_path / "releases/one/code/config").mkdir(parents=True)
    (tmp_path / "releases/one/venv/bin").mkdir(parents=True)
    return {"name": "blog", "root": str(tmp_path), "release_id": "one", "settings_overlay": False}


def test_scripts_come_and_go(site: dict[str, Any], tmp_path: Path) -> None:
    program = tmp_path / "releases/one/venv/bin/tell"
    program.write_text('#!/bin/sh\necho $$ "$@" $GREETING "$VIRTUAL_ENV"\n')
    program.chmod(0o755)
    given = {**site, "processes": {"web": "tell me", "worker": "tell you"}}
    said = configure.apply(Site(given), {}, check_mode=True)
    assert "blog: write run/web of release one" in said
    assert not (tmp_path / "releases/one/run").exists()
    configure.apply(Site(given), {}, check_mode=False)
    web = tmp_path / "releases/one/run/web"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (web.parent, web)] == [0o750, 0o750]
    with subprocess.Popen(
        [web], env={"PATH": "/nowhere", "GREETING": "good day"}, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.read() == f"{run.pid} me good day {tmp_path}/releases/one/venv\n"
    said = configure.apply(Site({**site, "processes": {"web": "tell me"}}), {}, check_mode=True)
    assert "blog: write no run/worker of release one" in said
    assert (tmp_path / "releases/one/run/worker").exists()
    configure.apply(Site({**site, "processes": {"web": "tell me"}}), {}, check_mode=False)
    assert os.listdir(tmp_path / "releases/one/run") == ["web"]
    configure.apply(Site(site), {}, check_mode=False)
    assert os.listdir(tmp_path / "releases/one/run") == []


def test_processes_go_through_a_pooler_and_all_else_past_it(site: dict[str, Any], tmp_path: Path) -> None:
    """Also once the site has none any more, where the release, and so its scripts, stayed what they were."""
    program = tmp_path / "releases/one/venv/bin/tell"
    program.write_text('#!/bin/sh\necho "$PGHOST|$ODD"\n')
    program.chmod(0o755)
    odd = "a $(touch x) `b` \"c\" 'd' \\ e"
    pooled = {"env": {"PGHOST": "/run/pgbouncer", "ODD": odd}, "past": ["listen"]}
    made = Site(
        {**site, "env": {"PGHOST": "/run/postgresql"}, "processes": {"web": "tell", "listen": "tell"}, "pooled": pooled}
    )
    configure.apply(made, {}, check_mode=False)

    def said(process: str, environment: dict[str, str]) -> str:
        script = tmp_path / "releases/one/run" / process
        more = {"PATH": os.environ["PATH"], **environment}
        return subprocess.run([script], env=more, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert made.variables["PGHOST"] == "/run/postgresql"
    assert said("web", made.variables) == f"/run/pgbouncer|{odd}\n"
    assert said("listen", made.variables) == "/run/postgresql|\n"
    assert said("web", {"PGHOST": "/run/postgresql"}) == "/run/postgresql|\n"
    assert not (tmp_path / "x").exists()


WSGI, ASGI = "config.wsgi:application", "config.asgi:application"


@pytest.mark.parametrize(
    ("given", "interface", "application"),
    [
        ({"wsgi": WSGI, "asgi": ASGI}, "wsgi", WSGI),
        ({"wsgi": WSGI, "asgi": ASGI, "interface": "asgi"}, "asgi", ASGI),
        ({"asgi": ASGI}, "asgi", ASGI),
        ({"wsgi": "config.wsgi"}, "wsgi", WSGI),
        ({}, "wsgi", None),
    ],
)
def test_what_is_served(site: dict[str, Any], tmp_path: Path, given: Any, interface: str, application: str) -> None:
    file = tmp_path / "releases/one/code/config/wsgi.py"
    file.write_text("")
    made = Site({**site, **given})
    assert (made.interface, made.application) == (interface, application)
    environment = configure.release_environment(made, "")
    assert environment.get("WEBSTACK_APPLICATION") == application
    assert environment.get("WEBSTACK_WSGI_FILE") == (str(file) if application == WSGI else None)
    files.write(str(tmp_path / "releases/one/release.json"), '{"id": "one"}')
    configure.apply(Site({**site, **given, "app_server": "uwsgi"}), {}, check_mode=False)
    facts = json.loads((tmp_path / "releases/one/release.json").read_text())
    assert (facts["interface"], facts["app_server"]) == (interface, "uwsgi")
    assert (facts["wsgi"], facts["asgi"]) == (given.get("wsgi"), given.get("asgi"))


def test_processes_name_the_configuration(site: dict[str, Any]) -> None:
    digests = {
        Site({**site, **more}).digest({})
        for more in (
            {},
            {"processes": {"web": "a"}},
            {"processes": {"web": "b"}},
            {"wsgi": WSGI},
            {"asgi": ASGI},
            {"pooled": {"past": ["a"]}},
        )
    }
    assert len(digests) == 6
