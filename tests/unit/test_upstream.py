# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules upstream and maintenance as a web server runs them, with a systemctl and an nginx of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_vhosts import NGINX

RUN = """
import sys
sys.path.insert(0, {collections!r})
from ansible.module_utils import basic
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction, private_view, services, vhosts
config_files_transaction.STATE_DIR = {root!r} + "/state"
services.Manager.__init__.__defaults__ = ({root!r} + "/loaded", 0.0)
vhosts.PAGES = {root!r}
vhosts.WEB_SERVERS = tuple(web._replace(file={root!r} + web.file) for web in vhosts.WEB_SERVERS)
if not {preview!r}:
    def refuse(paths, work):
        raise private_view.Unavailable("not in this test")
    private_view.run = refuse
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.webstack.django.plugins.modules import {module}
{module}.main()
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {root}/calls
[ "$1" = is-active ] && exec test ! -e {root}/stopped
[ "$1" = show ] && cat {root}/shown
exit 0
"""
CHECKER = """#!/bin/sh
grep -q ' down;' {file} && [ -e {root}/strict ] && {{ echo "nginx: that is not allowed" >&2; exit 1; }}
exit 0
"""
SHOWN = """Id=nginx.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=disabled
NeedDaemonReload=no
CanReload=yes
InvocationID=0123
DropInPaths=
ExecMainStartTimestamp={} UTC
"""
BOTH = pytest.mark.parametrize("preview", [True, False], ids=["preview", "live"])


class Server:
    """A directory that stands for a web server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "etc/nginx/webstack.d/blog.conf"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(NGINX)
        self.file.chmod(0o640)
        programs = root / "bin"
        programs.mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("nginx", CHECKER)):
            (programs / name).write_text(text.format(root=root, file=self.file))
            (programs / name).chmod(0o755)
        later = time.gmtime(time.time() + 1)  # the vhost was there before
        (root / "shown").write_text(SHOWN.format(time.strftime("%a %Y-%m-%d %H:%M:%S", later)))
        time.sleep(1.1)

    def run(self, module: str, preview: bool = True, check: bool = False, **args: Any) -> dict[str, Any]:
        code = RUN.format(collections=str(ROOT / ".collections"), root=str(self.root), preview=preview, module=module)
        flags = {"_ansible_check_mode": check, "_ansible_diff": True}
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **flags}}).encode(),
            env={**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}"},
            capture_output=True,
            check=False,
        )
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout))

    def upstream(self, state: str, address: str = "10.0.0.4:8001", **more: Any) -> dict[str, Any]:
        return self.run("upstream", site="blog", address=address, state=state, **more)

    def reloads(self) -> int:
        calls = self.root / "calls"
        return calls.read_text().count("reload -- nginx.service") if calls.exists() else 0


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@BOTH
def test_out_and_in_again(server: Server, preview: bool) -> None:
    result = server.upstream("drained", preview=preview)
    assert result["changed"] and result["actions"] == ["reload nginx.service"], result
    assert "8001 max_fails=2 fail_timeout=5s down;" in server.file.read_text()
    assert result["servers"][0] == {"address": "10.0.0.4:8001", "active": False}
    assert server.file.stat().st_mode & 0o777 == 0o640
    assert server.reloads() == 1
    again = server.upstream("drained", preview=preview)
    assert (again["changed"], again["actions"], server.reloads()) == (False, [], 1)
    assert server.upstream("active", preview=preview)["changed"]
    assert (server.file.read_text(), server.reloads()) == (NGINX, 2)


def test_the_unit_is_not_enabled_by_that(server: Server) -> None:
    server.upstream("drained")
    assert not any(f"{verb} -- nginx" in (server.root / "calls").read_text() for verb in ("enable", "disable", "start"))


def test_a_reload_that_a_killed_run_did_not_reach(server: Server) -> None:
    server.file.write_text(server.file.read_text().replace("8001 max_fails=2 fail_timeout=5s;", "8001 down;", 1))
    result = server.upstream("drained")
    assert (result["changed"], result["actions"], server.reloads()) == (True, ["reload nginx.service"], 1)


@BOTH
def test_what_nginx_refuses_is_not_put_in_place(server: Server, preview: bool) -> None:
    server.file.write_text(NGINX.replace(" down;", ";"))
    (server.root / "strict").touch()
    result = server.upstream("drained", preview=preview)
    assert result["failed"]
    assert "site blog: nginx -t -q refused it (exit status 1)" in result["msg"]
    assert "stays as it was. Its words:\nnginx: that is not allowed" in result["msg"]
    assert " down;" not in server.file.read_text()
    assert server.reloads() == 0


def test_a_check_changes_nothing(server: Server) -> None:
    result = server.upstream("drained", check=True)
    assert result["changed"] and result["actions"] == ["reload nginx.service"]
    assert "fail_timeout=5s down;" in result["diff"][0]["after"]
    assert result["servers"][0]["active"] is False
    assert (server.file.read_text(), server.reloads()) == (NGINX, 0)
    assert not server.upstream("active", check=True)["changed"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"address": "10.0.0.7:1"}, "address '10.0.0.7:1' is not one of its application servers"),
        ({"site": "shop"}, "site shop: this server has no virtual host of it (there are: blog)"),
    ],
)
def test_what_is_not_there(server: Server, args: dict[str, Any], words: str) -> None:
    result = server.run("upstream", **{"site": "blog", "address": "10.0.0.4:8001", "state": "drained", **args})
    assert result["failed"] and words in result["msg"], result


def test_the_last_server_is_not_drained(server: Server) -> None:
    server.upstream("drained")
    result = server.upstream("drained", address="/run/webstack/blog/web.sock")
    assert result["failed"] and "is the last application server that gets requests" in result["msg"]
    assert server.reloads() == 1


def test_a_web_server_that_does_not_run(server: Server) -> None:
    (server.root / "stopped").touch()
    result = server.upstream("drained")
    assert result["failed"] and "nginx.service, whose file" in result["msg"], result
    assert server.file.read_text() == NGINX


# Maintenance ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="the page belongs to root")
def test_a_page_comes_and_goes(server: Server) -> None:
    page = server.root / "blog.html"
    server.file.write_text(f"{NGINX}if (-f {page})\n")
    on = {"site": "blog", "state": "on", "content": "<h1>ä</h1>"}
    assert server.run("maintenance", check=True, **on)["changed"]
    assert not page.exists()
    result = server.run("maintenance", **on)
    assert (result["changed"], result["path"]) == (True, str(page))
    assert page.read_text() == "<h1>ä</h1>"
    assert (page.stat().st_mode & 0o777, page.stat().st_uid) == (0o644, 0)
    assert not server.run("maintenance", **on)["changed"]
    assert server.run("maintenance", site="blog", state="off")["changed"]
    assert not page.exists()
    assert not server.run("maintenance", site="blog", state=False)["changed"]
    assert server.reloads() == 0


def test_a_site_that_cannot_be_put_into_maintenance(server: Server) -> None:
    result = server.run("maintenance", site="shop", state="on", content="x")
    assert result["failed"] and "site shop: this server has no virtual host of it" in result["msg"]
    result = server.run("maintenance", site="blog", state="on", content="x")
    assert result["failed"] and "knows no maintenance; run the playbook webstack.django.site" in result["msg"]
    assert not (server.root / "blog.html").exists()
