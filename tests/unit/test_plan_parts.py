# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of the plan, with values written out."""

from __future__ import annotations

import dataclasses
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.plugin_utils.plan import context
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Budget, budget, tiers, workers
from hypothesis import given
from hypothesis import strategies as st

# Topology ----------------------------------------------------------------------------------------------

ALL = ["h1", "h2", "h3"]


@pytest.mark.parametrize(
    ("groups", "host", "expected"),
    [
        ({}, "h1", [["h1"], ["h1"], ["h1"], ["h1"]]),
        ({}, "h2", [["h2"], ["h2"], ["h2"], ["h2"]]),
        ({"monitoring": ["h3"]}, "h3", [[], [], [], []]),
        ({"database": ["h1"]}, "h2", [["h1"], ["h2", "h3"], ["h2", "h3"], ["h2", "h3"]]),
        ({"database": ["h1"], "monitoring": ["h3"]}, "h2", [["h1"], ["h2"], ["h2"], ["h2"]]),
        ({"database": ["h3"], "cache": ["h3"], "app": ["h2", "h1"], "web": ["h1"]}, "h1", [["h3"], ["h3"], ["h1", "h2"], ["h1"]]),
        ({"database": [], "web": ["h1", "h2", "h3"]}, "h1", [[], [], [], ["h1", "h2", "h3"]]),
    ],
)  # fmt: skip
def test_tiers(groups: dict[str, list[str]], host: str, expected: list[list[str]]) -> None:
    assert tiers(groups, ALL, host) == dict(zip(("database", "cache", "app", "web"), expected, strict=True))


@pytest.mark.parametrize(
    ("memory", "served", "expected"),
    [
        (1024, ["database", "cache", "app", "web"], Budget(256, 288, 96, 384)),
        (512, ["database", "cache", "app", "web"], Budget(256, 96, 32, 128)),
        (8192, ["database"], Budget(819, 7373, 0, 0)),
        (8192, ["app", "web"], Budget(819, 0, 0, 7373)),
        (8192, ["web"], Budget(819, 0, 0, 0)),
        (300, ["app"], Budget(150, 0, 0, 150)),
    ],
)
def test_budget(memory: int, served: list[str], expected: Budget) -> None:
    assert budget(memory, served) == expected


@given(st.integers(256, 10**6), st.sets(st.sampled_from(["database", "cache", "app", "web"])))
def test_a_budget_is_never_more_than_the_memory(memory: int, served: set[str]) -> None:
    found = dataclasses.astuple(budget(memory, sorted(served)))
    assert sum(found) <= memory
    assert min(found) >= 0


@pytest.mark.parametrize(
    ("cpus", "share", "expected"), [(1, 384, 1), (1, 1024, 3), (2, 128, 1), (4, 8192, 9), (8, 1024, 4)]
)
def test_workers(cpus: int, share: int, expected: int) -> None:
    assert workers(cpus, share) == expected


# Sites in their surroundings ---------------------------------------------------------------------------

TIERS = {"database": ["h1"], "cache": ["h2"], "app": ["h3", "h4"], "web": ["h5"]}


def app_site(servers: worlds.Servers, host: str, *raw: dict[str, Any]) -> dict[str, Any]:
    plan = servers.plans(worlds.valid(*raw))[host]
    found: dict[str, Any] = plan["django_app_sites"][0]
    return found


def test_one_server() -> None:
    found = app_site(worlds.servers(), "h1", worlds.site(broker="redis"))
    assert found["database"]["host"] == "/run/postgresql"
    assert found["database"]["sslmode"] is None
    assert found["cache"] == {"url": "unix:///run/redis-blog-cache/redis.sock"}
    assert found["broker"] == {"url": "unix:///run/redis-blog-broker/redis.sock"}
    env = found["env"]
    assert {key: value for key, value in env.items() if "SECRET" not in key} == {
        "ALLOWED_HOSTS": "blog.example.com",
        "DJANGO_ALLOWED_HOSTS": "blog.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://blog.example.com",
        "DOMAIN": "blog.example.com",
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
        "DATABASE_URL": "postgres:///blog",
        "PGHOST": "/run/postgresql",
        "CACHE_URL": "redis:///run/redis-blog-cache/redis.sock",
        "REDIS_URL": "unix:///run/redis-blog-cache/redis.sock",
        "BROKER_URL": "redis+socket:///run/redis-blog-broker/redis.sock",
        "CELERY_BROKER_URL": "redis+socket:///run/redis-blog-broker/redis.sock",
    }
    assert len(env["SECRET_KEY"]) == 50
    assert found["health"]["socket"] == "/run/webstack/blog/web.sock"
    assert found["migrate"] is True


def test_five_servers() -> None:
    servers = worlds.servers(TIERS, 5)
    sites = worlds.valid(worlds.site("a"), worlds.site("b", broker="redis"))
    plans = servers.plans(sites)
    assert plans["h1"]["postgresql_listen_addresses"] == ["localhost", "10.0.0.1"]
    assert [(one["database"], one["address"]) for one in plans["h1"]["postgresql_hba"]] == [
        ("a", "10.0.0.3/32"),
        ("a", "10.0.0.4/32"),
        ("b", "10.0.0.3/32"),
        ("b", "10.0.0.4/32"),
    ]
    nginx, redis = ["nginx"], ["redis-server", "valkey-server"]
    app = ["systemd", "gunicorn", "uwsgi", "supervisord", "sleep"]
    assert {name: {one["port"]: one["programs"] for one in plan["ports"]} for name, plan in plans.items()} == {
        "h1": {5432: ["postgres"]},
        "h2": {6379: redis, 6380: redis, 6381: redis},
        "h3": {8001: app, 8002: app},
        "h4": {8001: app, 8002: app},
        "h5": {80: nginx, 443: nginx},
    }
    assert [(one["name"], one["port"]) for one in plans["h2"]["redis_instances"]] == [
        ("a-cache", 6379),
        ("b-cache", 6380),
        ("b-broker", 6381),
    ]
    assert [one["socket"] for one in plans["h4"]["systemd_processes"]] == [
        {"address": "10.0.0.4:8001"},
        {"address": "10.0.0.4:8002"},
    ]
    assert plans["h5"]["nginx_sites"][1]["upstream"] == [{"address": "10.0.0.3:8002"}, {"address": "10.0.0.4:8002"}]
    assert plans["h3"]["gunicorn_instances"][0]["settings"] == {"forwarded_allow_ips": "10.0.0.5"}
    assert plans["h3"]["django_app_static_hosts"] == ["h5"]
    broker = plans["h3"]["django_app_sites"][1]["broker"]["url"]
    password = plans["h2"]["redis_instances"][2]["password"]
    assert broker == f"rediss://:{password}@10.0.0.2:6381/0?ssl_cert_reqs=none"
    assert [plans[name]["django_app_sites"][0]["migrate"] for name in ("h3", "h4")] == [True, False]


def test_addresses_of_ipv6() -> None:
    servers = worlds.servers(TIERS, 5)
    servers.hosts = {
        name: dataclasses.replace(host, address=f"fd00::{name[1:]}") for name, host in servers.hosts.items()
    }
    plans = servers.plans(worlds.valid(worlds.site()))
    found = plans["h3"]["django_app_sites"][0]
    assert "@[fd00::1]:5432/blog?sslmode=require" in found["database"]["url"]
    assert "@[fd00::2]:6379/0" in found["cache"]["url"]
    assert plans["h5"]["nginx_sites"][0]["upstream"] == [{"address": "[fd00::3]:8001"}, {"address": "[fd00::4]:8001"}]
    assert plans["h1"]["postgresql_hba"][0]["address"] == "fd00::3/128"


def test_a_cache_on_one_of_two_application_servers() -> None:
    servers = worlds.servers({"database": ["h1"], "cache": ["h1"], "app": ["h1", "h2"], "web": ["h1"]}, 2)
    plans = servers.plans(worlds.valid(worlds.site()))
    password = plans["h1"]["redis_instances"][0]["password"]
    local, remote = (plans[name]["django_app_sites"][0]["cache"]["url"] for name in ("h1", "h2"))
    assert local == f"unix://:{password}@/run/redis-blog-cache/redis.sock"
    assert remote == f"rediss://:{password}@10.0.0.1:6379/0?ssl_cert_reqs=none"
    assert plans["h1"]["nginx_sites"][0]["upstream"] == [
        {"socket": "/run/webstack/blog/web.sock"},
        {"address": "10.0.0.2:8001"},
    ]


def test_what_the_user_gives_to_the_environment() -> None:
    env = {
        "DEBUG": False,
        "PORT": 8000,
        "RATE": 0.5,
        "DB": "${database.name}@${database.host}",
        "PRICE": "$${x} $5",
        "DOMAIN": "x",
        "GONE": None,
    }
    found = app_site(worlds.servers(), "h1", worlds.site(env=env))["env"]
    assert {name: found.get(name) for name in env} == {
        "DEBUG": "False",
        "PORT": "8000",
        "RATE": "0.5",
        "DB": "blog@/run/postgresql",
        "PRICE": "${x} $5",
        "DOMAIN": "x",
        "GONE": None,
    }
    assert "GONE" not in found


@pytest.mark.parametrize(
    ("variables", "more", "expected"),
    [
        ([], {}, True),
        (["DATABASE_URL"], {}, False),
        (["DATABASE_URL"], {"settings_overlay": True}, True),
        (["SHOP_DB_HOST"], {}, True),
        (["SHOP_DB_HOST"], {"env": {"SHOP_DB_HOST": "${database.host}"}}, False),
        (["SHOP_DB_HOST"], {"env": {"OTHER": "x"}}, True),
        ([], {"settings_overlay": False}, False),
    ],
)
def test_when_settings_are_generated(variables: list[str], more: dict[str, Any], expected: bool) -> None:
    (found,) = worlds.valid(worlds.site(**more))
    detected = {**worlds.DETECTED, "database_variables": variables}
    assert context.overlay(dataclasses.replace(found, detected=detected)) is expected


def test_a_release_is_named_by_what_it_is_made_of() -> None:
    def name(**more: Any) -> str:
        (found,) = worlds.valid(worlds.site(**more))
        return context.release_id(found)

    assert name() == name(workers=4) == name(env={"A": "b"}) == name(keep_releases=9)
    assert name().startswith("cccccccccccc-")
    others = [name(python="3.13"), name(dependencies={"add": ["x"]}), name(build=["npm ci"]), name(shared=["data"])]
    assert len({name(), *others}) == 5
    moved = {"engine": "mariadb", "switch_from": "sqlite"}
    assert name(database=moved) == name(database="mariadb") != name()  # the line goes after the switch


@pytest.mark.parametrize("web_server", ["nginx", "apache"])
def test_the_headers_of_a_site_reach_its_web_server(web_server: str) -> None:
    given = {"Content-Security-Policy": 'default-src "self"', "X-Frame-Options": None, "X-Number": 1}
    site = worlds.site(web_server=web_server, headers=given, hsts_subdomains=True, hsts_preload=True)
    found = worlds.servers().plans(worlds.valid(site))["h1"][f"{web_server}_sites"][0]
    assert found["headers"] == {**given, "X-Number": "1"}
    assert (found["hsts_seconds"], found["hsts_subdomains"], found["hsts_preload"]) == (31536000, True, True)
    plain = worlds.servers().plans(worlds.valid(worlds.site(web_server=web_server)))["h1"][f"{web_server}_sites"][0]
    assert (plain["headers"], plain["hsts_subdomains"], plain["hsts_preload"]) == ({}, False, False)


@pytest.mark.parametrize(
    ("static", "media", "expected"),
    [
        (None, None, ("/static/", "/media/")),
        ({"url": "/media/"}, None, ("/media/", "/uploads/")),
        (None, {"url": "/static/"}, ("/static/", "/media/")),
        ({"url": "/s/"}, {"url": "/u/"}, ("/s/", "/u/")),
    ],
)
def test_static_and_uploaded_files_are_apart(static: Any, media: Any, expected: tuple[str, str]) -> None:
    found = worlds.servers().plans(worlds.valid(worlds.site(static=static, media=media)))["h1"]["nginx_sites"][0]
    assert tuple(one["url"] for one in found["static"]) == expected


@pytest.mark.parametrize("web", ["nginx", "apache"])
def test_every_site_can_be_put_into_maintenance(web: str) -> None:
    sites = worlds.valid(worlds.site("a", web_server=web), worlds.site("b", maintenance={"retry_after": 60}))
    found = worlds.servers().plans(sites)["h1"][f"{web}_sites"]
    assert [one["maintenance"] for one in found] == [
        {"file": "/etc/webstack/maintenance/a.html", "retry_after": 300},
        {"file": "/etc/webstack/maintenance/b.html", "retry_after": 60},
    ]


def test_an_absent_site_is_nowhere_else() -> None:
    plan = worlds.servers().plans(worlds.valid(worlds.site("a", state="absent"), worlds.site("b")))["h1"]
    assert plan["django_app_sites"][0] == {"name": "a", "state": "absent"}
    for key in ("systemd_processes", "nginx_sites", "postgresql_databases", "redis_instances"):
        assert len(plan[key]) == 1
    assert [one["state"] for one in plan["gunicorn_instances"]] == ["absent", "present"]
    assert [one["name"] for one in plan["os_system_users"]] == ["b"]


# Pages that nginx keeps --------------------------------------------------------------------------------


def test_pages_are_kept_where_the_site_says_so() -> None:
    given = {"enabled": True, "seconds": 5, "cookies": ["consent"]}
    site = worlds.site(page_cache=given, login_paths=["/admin/login/", "/accounts/login/"], health={"path": "/up?x=1"})
    plan = worlds.servers().plans(worlds.valid(site))["h1"]
    found = plan["nginx_sites"][0]["page_cache"]
    assert (found["enabled"], found["seconds"], found["stale_seconds"]) == (True, 5, 60)
    assert found["skip"] == ["/admin/", "/admin/login/", "/accounts/login/", "/up"]
    assert found["cookies"][-1] == "consent"
    assert "_ga" in found["cookies"]
    assert found["release"] == "/srv/blog/served/now"
    assert plan["django_app_sites"][0]["page_cache"] is True
    assert plan["django_app_page_hosts"] == []  # the application server and the web server are one


def test_pages_are_not_kept_without_that() -> None:
    for web in ("nginx", "apache"):
        plan = worlds.servers().plans(worlds.valid(worlds.site(web_server=web)))["h1"]
        assert "page_cache" not in plan[f"{web}_sites"][0]
        assert plan["django_app_sites"][0]["page_cache"] is False


def test_the_start_page_is_kept_although_it_is_asked_for_health() -> None:
    site = worlds.site(page_cache={"enabled": True})
    found = worlds.servers().plans(worlds.valid(site))["h1"]["nginx_sites"][0]["page_cache"]
    assert found["skip"] == ["/admin/", "/admin/login/"]
