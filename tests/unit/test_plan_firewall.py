# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is let into each server, with values written out, and how it becomes rules."""

from __future__ import annotations

import re
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.module_utils import firewall
from ansible_collections.webstack.django.plugins.plugin_utils import logins, openings
from ansible_collections.webstack.django.plugins.plugin_utils.plan import validate
from hypothesis import given

TIERS = {"database": ["h1"], "cache": ["h2"], "app": ["h3", "h4"], "web": ["h5"]}
APPS = ["10.0.0.3", "10.0.0.4"]


def plans(groups: dict[str, list[str]] | None, count: int, *sites: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return worlds.servers(groups, count).plans(worlds.valid(*sites))


def said(plan: dict[str, Any]) -> list[tuple[int, list[str]]]:
    assert {one["protocol"] for one in plan["firewall_openings"]} <= {"tcp"}  # no HTTP/3, so no UDP
    return [(one["port"], one["from"]) for one in plan["firewall_openings"]]


def test_one_server_is_open_for_the_web_only() -> None:
    plan = plans(None, 1, worlds.site(broker="redis"))["h1"]
    assert said(plan) == [(80, []), (443, [])]
    assert plan["firewall_peers"] == []


def test_servers_that_are_each_complete_know_nothing_of_each_other() -> None:
    for plan in plans(None, 2, worlds.site()).values():
        assert said(plan) == [(80, []), (443, [])]
        assert plan["firewall_peers"] == []


def test_each_tier_is_open_for_those_who_use_it() -> None:
    found = plans(
        TIERS, 5, worlds.site(broker="redis"), worlds.site("shop", cache="memcached", database="mariadb"),
    )  # fmt: skip
    assert {name: said(plan) for name, plan in found.items()} == {
        "h1": [(5432, APPS), (3306, APPS)],
        "h2": [(6379, APPS), (6380, APPS), (11211, APPS)],
        "h3": [(8001, ["10.0.0.5"]), (8002, ["10.0.0.5"])],
        "h4": [(8001, ["10.0.0.5"]), (8002, ["10.0.0.5"])],
        "h5": [(80, []), (443, [])],
    }
    for plan in found.values():
        assert plan["firewall_peers"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]


def test_supervisord_and_uwsgi_listen_at_the_same_ports() -> None:
    site = worlds.site(app_server="uwsgi", process_manager="supervisord")
    assert said(plans(TIERS, 5, site)["h4"]) == [(8001, ["10.0.0.5"])]


def test_a_server_that_is_two_tiers_is_not_open_for_itself() -> None:
    found = plans({"database": ["h1"], "cache": ["h1"], "app": ["h1", "h2"], "web": ["h1"]}, 2, worlds.site())
    assert said(found["h1"]) == [(80, []), (443, []), (5432, ["10.0.0.2"]), (6379, ["10.0.0.2"])]
    assert said(found["h2"]) == [(8001, ["10.0.0.1"])]


def test_log_in_pages_are_watched_where_the_web_server_is() -> None:
    sites = (
        worlds.site(),
        worlds.site("shop", login_paths=["/accounts/login/", "/admin/login/"], login_api_paths=["/api/token/"]),
    )
    found = plans(TIERS, 5, *sites, worlds.site("quiet", login_paths=[]))
    assert found["h5"]["firewall_login_pages"] == [
        {"site": "blog", "domains": ["blog.example.com"], "forms": ["/admin/login/"], "apis": []},
        {"site": "shop", "domains": ["shop.example.com"], "forms": ["/accounts/login/", "/admin/login/"], "apis": ["/api/token/"]},
    ]  # fmt: skip
    assert found["h5"]["firewall_login_logs"] == ["/var/log/nginx/access.log"]
    assert found["h3"]["firewall_login_pages"] == found["h3"]["firewall_login_logs"] == []
    apache = plans(None, 1, worlds.site(web_server="apache"))["h1"]
    assert apache["firewall_login_logs"] == ["/var/log/apache2/access.log"]


@pytest.mark.parametrize("path", ["admin/login/", "/a b/", '/a"', "/a?b=c", ""])
def test_what_is_no_log_in_page(path: str) -> None:
    _sites, errors = validate.sites([worlds.site(login_paths=[path])])
    assert [error.key for error in errors] == ["login_paths[0]"]


@given(worlds.sites(), worlds.topologies())
def test_nothing_but_the_web_is_open_for_everybody(raw: list[dict[str, Any]], servers: worlds.Servers) -> None:
    found = servers.plans(worlds.valid(*raw))
    addresses = {host.address for host in servers.hosts.values()}
    for name, plan in found.items():
        for one in plan["firewall_openings"]:
            assert one["from"] or one["port"] in (80, 443)
            assert set(one["from"]) <= addresses - {servers.hosts[name].address}
            assert one["port"] in [port["port"] for port in plan["ports"]]


# Rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opening", "expected"),
    [
        ({"port": 443}, ["tcp dport 443 accept"]),
        ({"port": "443", "from": [], "comment": "HTTPS"}, ['tcp dport 443 accept comment "HTTPS"']),
        ({"port": "8000-8010", "protocol": "udp"}, ["udp dport 8000-8010 accept"]),
        ({"port": 1, "from": ["10.0.0.2", "10.0.0.2/32"]}, ["ip saddr { 10.0.0.2 } tcp dport 1 accept"]),
        (
            {"port": 1, "from": ["fd00::/8", "10.1.0.0/16", "10.0.0.0/16", "fd00::1"]},
            ["ip saddr { 10.0.0.0/15 } tcp dport 1 accept", "ip6 saddr { fd00::/8 } tcp dport 1 accept"],
        ),
        ({"from": ["10.0.0.2"]}, ["ip saddr { 10.0.0.2 } accept"]),
    ],
)
def test_an_opening(opening: dict[str, Any], expected: list[str]) -> None:
    assert openings.rules([opening, opening]) == expected


@pytest.mark.parametrize(
    ("opening", "words"),
    [
        ({"port": 0}, "neither a port (1 to 65535) nor a range"),
        ({"port": 65536}, "neither a port"),
        ({"port": "9-8"}, "neither a port"),
        ({"port": "ssh"}, "neither a port"),
        ({"port": 1, "protocol": "sctp"}, "neither tcp nor udp"),
        ({"port": 1, "from": ["example.com"]}, "neither an address nor a network"),
        ({"port": 1, "from": ["10.0.0.1/8"]}, "has host bits set"),
        ({"port": 1, "comment": 'a"; drop'}, "no quotes"),
        ({"port": 1, "comment": "x" * 121}, "at most 120 characters"),
    ],
)
def test_what_is_no_opening(opening: dict[str, Any], words: str) -> None:
    with pytest.raises(openings.OpeningError, match=re.escape(words)):
        openings.rules([opening])


# Log-ins ---------------------------------------------------------------------------------------------

PAGE = {
    "site": "blog",
    "domains": ["a.example.com", "*.b.example.com"],
    "forms": ["/admin/login/", "/*/enter/"],
    "apis": ["/api/"],
}


@pytest.mark.parametrize(
    ("request_line", "status", "host", "counts"),
    [
        ("POST /admin/login/?next=/admin/", 200, "a.example.com", True),
        ("POST //%61dmin/login/", 403, "x.b.example.com", True),
        ("POST /de/enter/", 429, "a.example.com", True),
        ("POST /admin/login/", 302, "a.example.com", False),
        ("POST /admin/login/x", 200, "a.example.com", False),
        ("GET /admin/login/", 200, "a.example.com", False),
        ("POST /admin/login/", 200, "c.example.com", False),
        ("POST /admin/login/", 500, "a.example.com", False),
        ("POST /api/", 400, "a.example.com", True),
        ("POST /api/", 200, "a.example.com", False),
        ("POST /de/x/enter/", 200, "a.example.com", False),
    ],
)
def test_a_refused_log_in(request_line: str, status: int, host: str, counts: bool) -> None:
    line = f'192.0.2.7 - - [30/Nov/2026:12:00:00 +0000] "{request_line} HTTP/2.0" {status} 512 "-" "curl/8" {host} 0.010 0.009'
    found = [one.replace("%%", "%").replace("<ADDR>", r"([0-9.]+)") for one in logins.patterns([PAGE])]
    hits = [match.group(1) for one in found if (match := re.search(one, line))]
    assert hits == (["192.0.2.7"] if counts else [])


# The server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("203.0.113.9 51000 10.0.0.1 22", (22, "203.0.113.9")),
        ("::ffff:203.0.113.9 51000 ::ffff:10.0.0.1 2222", (2222, "203.0.113.9")),
        ("fe80::1%eth0 51000 fe80::2%eth0 22", (22, "fe80::1")),
        ("", None),
        ("a b", None),
    ],
)
def test_who_came(words: str, expected: tuple[int, str] | None) -> None:
    assert firewall.came_by(words) == expected


def test_a_controller_is_remembered_for_some_time(tmp_path: Any) -> None:
    path = tmp_path / "new" / "known"
    firewall.remember("203.0.113.9", str(path))
    first = path.read_text()
    assert re.fullmatch(r"203\.0\.113\.9 \d+\n", first)
    firewall.remember("203.0.113.9", str(path))
    assert path.read_text() == first
    path.write_text("192.0.2.1 1000\n" + first)
    firewall.remember("2001:db8::7", str(path))
    assert [line.split()[0] for line in path.read_text().splitlines()] == ["2001:db8::7", "203.0.113.9"]
