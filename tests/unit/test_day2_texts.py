# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Texts of the playbooks logs, shell and manage, and what a module is told of a site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import site_logs
from ansible_collections.webstack.django.plugins.plugin_utils.day2 import brief, logs, shell
from ansible_collections.webstack.django.plugins.plugin_utils.plan import validate

WEB, WORKER = {"process": "web", "lines": ["a", "b"]}, {"process": "worker", "lines": []}


def answer(*found: dict[str, Any], known: tuple[str, ...] = ("web", "worker", "nginx")) -> dict[str, Any]:
    return {"known": list(known), "logs": list(found)}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"web1": answer(WEB)}, "a\nb"),
        ({"web1": answer(WEB, WORKER)}, "web    | a\nweb    | b\nworker | (no lines)"),
        ({"web1": answer(WEB), "x": answer(WEB)}, "web1 | a\nweb1 | b\nx    | a\nx    | b"),
        (
            {"web1": answer(WEB, WORKER), "web2": {"unreachable": True, "msg": "no\nway"}},
            "web    | a\nweb    | b\nworker | (no lines)\n! web2: no way",
        ),
        ({"web1": answer(known=())}, "site blog: there are no logs; no server has anything of it"),
    ],
)
def test_log_lines(results: dict[str, Any], expected: str) -> None:
    assert logs.text(results, "blog") == expected


def test_a_process_that_no_server_has() -> None:
    results = {"web1": answer(), "web2": answer(known=("web", "beat"))}
    with pytest.raises(logs.UnknownProcess) as error:
        logs.text(results, "blog", "workr")
    assert str(error.value) == "site blog: process: 'workr' is none of web, worker, nginx, beat; did you mean 'worker'?"
    assert logs.text({"web1": answer(), "web2": answer(WEB)}, "blog", "web") == "a\nb"


def test_lines_of_an_error_log_that_are_about_a_site(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    lines = [
        '1 upstream timed out, server: blog.example.com, request: "GET /"',
        '2 upstream timed out, server: www.blog.example.com, request: "GET /"',
        '3 open() "/srv/blog/public/x" failed, server: other.example.com, request: "GET /x"',
        '4 open() "/srv/blog-api/public/x" failed, server: api.example.com, request: "GET /x"',
        "5 reloaded",
    ]
    path.write_text("\n".join(lines) + "\n")
    about = site_logs.about("blog", ["blog.example.com"])
    assert [line[0] for line in site_logs.tail(str(path), 10, about)] == ["1", "3"]
    assert site_logs.tail(str(path), 2) == lines[-2:]
    assert site_logs.tail(str(tmp_path / "none"), 2) == []


SSH = {
    "ansible_host": "203.0.113.10",
    "ansible_user": "debian",
    "ansible_port": 2222,
    "ansible_ssh_private_key_file": "~/.ssh/my key",
    "ansible_ssh_common_args": "-o ProxyJump=gate",
    "ansible_password": "hunter2",
    "webstack_tiers": ["app", "web"],
}
LINES = """\
web1 (app, web)
  # Django shell
  ssh -t -p 2222 -i '~/.ssh/my key' -o ProxyJump=gate debian@203.0.113.10 'sudo webstack-manage blog shell'
  # database shell
  ssh -t -p 2222 -i '~/.ssh/my key' -o ProxyJump=gate debian@203.0.113.10 'sudo webstack-manage blog dbshell'
  # log, as it comes
  ssh -t -p 2222 -i '~/.ssh/my key' -o ProxyJump=gate debian@203.0.113.10 'sudo journalctl -u blog-web -f'
  # root shell
  ssh -t -p 2222 -i '~/.ssh/my key' -o ProxyJump=gate debian@203.0.113.10 'sudo -i'

db1 (database)
  # root shell
  ssh -t root@db1"""


def test_lines_that_lead_to_a_site() -> None:
    variables = {"web1": SSH, "db1": {"ansible_user": "root", "webstack_tiers": ["database"]}}
    text = shell.lines({"name": "blog", "process_manager": "systemd"}, variables, ["web1", "db1"])
    assert text == LINES
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("variables", "manager", "expected"),
    [
        ({}, "supervisord", "ssh -t web1 'sudo tail -F /var/log/supervisor/blog-web.log'"),
        ({"ansible_connection": "local"}, "systemd", "sudo journalctl -u blog-web -f"),
        (
            {"ansible_connection": "community.docker.docker", "ansible_user": "root"},
            "systemd",
            "docker exec -it web1 journalctl -u blog-web -f",
        ),
    ],
)
def test_other_ways_to_a_server(variables: dict[str, Any], manager: str, expected: str) -> None:
    own = {"web1": {**variables, "webstack_tiers": ["app"]}}
    assert f"  {expected}" in shell.lines({"name": "blog", "process_manager": manager}, own, ["web1"]).splitlines()


@pytest.mark.parametrize(
    "command", ["migrate --plan", "createsuperuser --noinput --username a", "shell -c 'print(1)'", "flush --no-input"]
)
def test_a_command_that_asks_nothing(command: str) -> None:
    assert shell.refusal(command, "blog", "web1", SSH) == ""


def test_a_command_that_asks() -> None:
    assert shell.refusal("createsuperuser --username ada", "blog", "web1", {"ansible_user": "root"}) == (
        "site blog: `createsuperuser` asks questions, and there is no terminal here. Run it there:\n"
        "ssh -t root@web1 'webstack-manage blog createsuperuser --username ada'\n"
        "or give it --noinput"
    )
    assert shell.refusal("changepassword ada", "blog", "web1", {}).endswith("blog changepassword ada'")
    assert "close its quotes" in shell.refusal("shell -c 'x", "blog", "web1", {})
    assert "command: is empty" in shell.refusal(" ", "blog", "web1", {})


def test_a_module_is_told_nothing_secret() -> None:
    given = [
        {
            "name": "blog",
            "domains": ["blog.example.com"],
            "redirect_domains": ["www.blog.example.com"],
            "path": "/x",
            "app_server": "uwsgi",
            "env": {"TOKEN": "hunter2"},
            "health": {"path": "/up", "status": [204]},
            "database": {"engine": "mariadb", "name": "posts"},
        },
        {"name": "gone", "state": "absent"},
    ]
    sites, errors = validate.sites(given)
    assert errors == []
    assert brief.briefs(sites) == [
        {
            "name": "blog",
            "domains": ["blog.example.com", "www.blog.example.com"],
            "host": "blog.example.com",
            "tls": "auto",
            "path": "/up",
            "status": [204],
            "protocol": "uwsgi",
            "engine": "mysql",
            "database": "posts",
        }
    ]
    (gone,) = brief.briefs(sites, ["gone"])
    assert (gone["domains"], gone["engine"], gone["database"]) == ([], "postgresql", "gone")
