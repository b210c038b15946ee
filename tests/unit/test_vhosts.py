# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Application servers in the files of the roles nginx and apache."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils.vhosts import WEB_SERVERS, Vhost, VhostError, find

NGINX = """\
# server 10.0.0.9:1;
upstream webstack_blog {
    server 10.0.0.4:8001 max_fails=2 fail_timeout=5s;
    server [fd00::5]:8001 max_fails=2 fail_timeout=5s down;
    server unix:/run/webstack/blog/web.sock fail_timeout=0;
}

server {
    server_name blog.example.com;
}
"""
APACHE = """\
<Proxy "balancer://webstack-blog">
    ProxySet lbmethod=byrequests
    BalancerMember "http://10.0.0.4:8001" disablereuse=On upgrade=websocket retry=5
    BalancerMember "http://[fd00::5]:8001" disablereuse=On retry=5 status=+D
    BalancerMember "unix:/run/webstack/blog/web.sock|uwsgi://blog-3.webstack.invalid" disablereuse=On retry=5
</Proxy>
<VirtualHost *:443>
    ProxyPass "/static/" "!"
    ProxyPass "/" "balancer://webstack-blog/" nocanon
</VirtualHost>
"""
ONE = """\
<VirtualHost *:443>
    ProxyPass "/static/" "!"
    ProxyPass "/" "{}/" nocanon disablereuse=On retry=0
</VirtualHost>
"""
SOCKET = "/run/webstack/blog/web.sock"
TWICE = pytest.mark.parametrize("number", [0, 1], ids=["nginx", "apache"])


def vhost(number: int, text: str = "") -> Vhost:
    return Vhost("blog", WEB_SERVERS[number], "/etc/x.conf", text or (NGINX, APACHE)[number])


@TWICE
def test_all_servers_are_found(number: int) -> None:
    found = [(one.address, one.active) for one in vhost(number).servers()]
    assert found == [("10.0.0.4:8001", True), ("[fd00::5]:8001", False), (SOCKET, True)]


@TWICE
def test_another_site_has_other_servers(number: int) -> None:
    text = (NGINX, APACHE)[number].replace("webstack_blog", "webstack_blogs").replace("webstack-blog", "webstack-blogs")
    assert vhost(number, text).servers() == []


@pytest.mark.parametrize(
    ("number", "address", "line"),
    [
        (0, "10.0.0.4:8001", "    server 10.0.0.4:8001 max_fails=2 fail_timeout=5s down;\n"),
        (0, SOCKET, f"    server unix:{SOCKET} fail_timeout=0 down;\n"),
        (0, f"unix:{SOCKET}", f"    server unix:{SOCKET} fail_timeout=0 down;\n"),
        (1, "10.0.0.4:8001", '"http://10.0.0.4:8001" disablereuse=On upgrade=websocket retry=5 status=+D\n'),
        (1, SOCKET, '|uwsgi://blog-3.webstack.invalid" disablereuse=On retry=5 status=+D\n'),
    ],
)
def test_a_server_goes_and_comes_back(number: int, address: str, line: str) -> None:
    before = vhost(number)
    drained = before.switched(address, False)
    assert line in drained
    assert len(drained.splitlines()) == len(before.text.splitlines())
    again = vhost(number, drained)
    assert again.switched(address, False) == drained
    assert again.switched(address, True) == before.text


def test_a_line_without_parameters() -> None:
    text = "upstream webstack_blog {\n    server 10.0.0.4:1;\n    server 10.0.0.5:1;\n}\n"
    drained = vhost(0, text).switched("10.0.0.5:1", False)
    assert drained == text.replace("5:1;", "5:1 down;")
    assert vhost(0, drained).switched("10.0.0.5:1", True) == text


@TWICE
def test_the_last_one_stays(number: int) -> None:
    less = vhost(number, vhost(number).switched(SOCKET, False))
    with pytest.raises(VhostError, match=r"site blog: 10\.0\.0\.4:8001 is the last application server that gets"):
        less.switched("10.0.0.4:8001", False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8001", "127.0.0.1:8001"),
        (f"unix:{SOCKET}|uwsgi://blog-1.webstack.invalid", SOCKET),
    ],
)
def test_apache_has_no_balancer_for_one_server(url: str, address: str) -> None:
    one = vhost(1, ONE.format(url))
    assert [(server.address, server.active) for server in one.servers()] == [(address, True)]
    assert one.switched(address, True) == one.text
    with pytest.raises(VhostError, match="the last application server"):
        one.switched(address, False)


@TWICE
def test_an_unknown_server(number: int) -> None:
    with pytest.raises(VhostError) as error:
        vhost(number).switched("10.0.0.4:8002", False)
    assert str(error.value).startswith("site blog: address '10.0.0.4:8002' is not one of its application servers in")
    assert f"there are: 10.0.0.4:8001, [fd00::5]:8001, {SOCKET}" in str(error.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for web, text in zip(WEB_SERVERS, (NGINX, APACHE)):
        file = tmp_path / web.file.format("blog")[1:]
        file.parent.mkdir(parents=True)
        file.write_text(text)
        file.with_name("00-default.conf").write_text("")
    return tmp_path


@TWICE
def test_the_web_server_that_runs_counts(root: Path, number: int) -> None:
    found = find("blog", lambda unit: unit == WEB_SERVERS[number].unit, str(root))
    assert (found.web, found.text, found.running) == (WEB_SERVERS[number], (NGINX, APACHE)[number], True)


def test_none_runs(root: Path) -> None:
    assert not find("blog", lambda unit: False, str(root)).running


@pytest.mark.parametrize("name", ["shop", "../../etc/passwd", "b*", ""])
def test_a_site_that_is_not_there(root: Path, name: str) -> None:
    with pytest.raises(VhostError) as error:
        find(name, lambda unit: True, str(root))
    assert f"site {name}: this server has no virtual host of it (there are: blog)" in str(error.value)
