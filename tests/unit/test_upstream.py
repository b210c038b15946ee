# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules upstream and maintenance as a web server runs them, with a systemctl of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_vhosts import nginx

RUN = """
import sys
sys.path.insert(0, {collections!r})
from ansible.module_utils import basic
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction, vhosts
config_files_transaction.STATE_DIR = {root!r} + "/state"
vhosts.PAGES = {root!r}
vhosts.DRAINED = {root!r} + "/drained"
vhosts.WEB_SERVERS = tuple(web._replace(file={root!r} + web.file) for web in vhosts.WEB_SERVERS)
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.webstack.django.plugins.modules import {module}
{module}.main()
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {root}/calls
exit {status}
"""
ROOTS = pytest.mark.skipif(os.geteuid() != 0, reason="the files belong to root")
OTHER = "[fd00::5]:8001"


class Server:
    """A directory that stands for a web server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.flags = root / "drained"
        self.text = nginx(str(self.flags), ["10.0.0.4:8001", OTHER, "10.0.0.6:8001"])
        self.file = root / "etc/nginx/webstack.d/blog.conf"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(self.text)
        (root / "bin").mkdir()
        self.systemctl(0)

    def systemctl(self, status: int) -> None:
        program = self.root / "bin/systemctl"
        program.write_text(SYSTEMCTL.format(root=self.root, status=status))
        program.chmod(0o755)

    def run(self, module: str, check: bool = False, **args: Any) -> dict[str, Any]:
        code = RUN.format(collections=str(ROOT / ".collections"), root=str(self.root), module=module)
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

    def drained(self) -> list[str]:
        return sorted(path.name for path in self.flags.iterdir()) if self.flags.exists() else []


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


@ROOTS
def test_out_and_in_again(server: Server) -> None:
    before = os.umask(0o077)
    try:
        result = server.upstream("drained")
    finally:
        os.umask(before)
    assert result["changed"], result
    assert result["servers"][:2] == [
        {"address": "10.0.0.4:8001", "active": False},
        {"address": OTHER, "active": True},
    ]
    flag = server.flags / "blog:1"
    assert flag.read_text() == "10.0.0.4:8001\n"
    assert (flag.stat().st_mode & 0o777, server.flags.stat().st_mode & 0o777) == (
        0o644,
        0o755,
    )  # nginx looks as www-data
    assert not server.upstream("drained")["changed"]
    assert server.upstream("active")["changed"]
    assert not server.flags.exists()  # as the role would have it
    assert not server.upstream("active")["changed"]
    assert server.file.read_text() == server.text
    assert {line.split()[0] for line in (server.root / "calls").read_text().splitlines()} == {"is-active"}


@ROOTS
def test_several(server: Server) -> None:
    server.upstream("drained")
    server.upstream("drained", address=OTHER)
    assert server.drained() == ["blog:1", "blog:2"]
    result = server.upstream("drained", address="10.0.0.6:8001")
    assert result["failed"] and "is the last application server that gets requests" in result["msg"]
    assert server.drained() == ["blog:1", "blog:2"]
    server.upstream("active")
    assert server.drained() == ["blog:2"]
    (server.flags / "shop:1").touch()
    server.upstream("active", address=OTHER)
    assert server.drained() == ["shop:1"]


@ROOTS
def test_what_a_killed_run_left_behind(server: Server) -> None:
    server.upstream("drained")
    result = server.upstream("drained", address=OTHER, together=[OTHER, "10.0.0.6:8001"])
    assert result["changed"]
    assert server.drained() == ["blog:2"]
    assert server.upstream("drained", address="10.0.0.6:8001", together=[OTHER, "10.0.0.6:8001"])["changed"]
    assert server.drained() == ["blog:2", "blog:3"]


def test_a_check_changes_nothing(server: Server) -> None:
    result = server.upstream("drained", check=True)
    assert result["changed"]
    assert result["diff"][-1]["after"] == "10.0.0.4:8001\n"
    assert result["servers"][0]["active"] is False
    assert not server.flags.exists()
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


@ROOTS
def test_a_web_server_that_does_not_run(server: Server) -> None:
    """It has no requests, and may have none when it is started in the middle of a deployment."""
    server.systemctl(3)
    assert server.upstream("drained")["changed"]
    assert server.drained() == ["blog:1"]


# Maintenance ---------------------------------------------------------------------------------------


@ROOTS
def test_a_page_comes_and_goes(server: Server) -> None:
    page = server.root / "blog.html"
    server.file.write_text(f"{server.text}if (-f {page})\n")
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
    assert "reload" not in (server.root / "calls").read_text()


def test_a_site_that_cannot_be_put_into_maintenance(server: Server) -> None:
    result = server.run("maintenance", site="shop", state="on", content="x")
    assert result["failed"] and "site shop: this server has no virtual host of it" in result["msg"]
    result = server.run("maintenance", site="blog", state="on", content="x")
    assert result["failed"] and "knows no maintenance; run the playbook webstack.django.site" in result["msg"]
    assert not (server.root / "blog.html").exists()
