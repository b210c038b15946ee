# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A connection pooler between sites and PostgreSQL, with values written out."""

from __future__ import annotations

import dataclasses
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.action.plan import _connections
from ansible_collections.webstack.django.plugins.plugin_utils.plan import pooler, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import release_id

TIERS = {"database": ["h1"], "cache": ["h1"], "app": ["h2", "h3"], "web": ["h4"]}


def pooled(name: str = "blog", **database: Any) -> dict[str, Any]:
    more = {key: database.pop(key) for key in ("workers", "threads", "processes", "interface") if key in database}
    return worlds.site(name, **more, database={"pooler": "pgbouncer", **database})


def plan(*raw: dict[str, Any], connections: int = 100) -> dict[str, Any]:
    """That of one server which is complete in itself."""
    world = dataclasses.replace(worlds.servers().world(worlds.valid(*raw), "h1"), connections=connections)
    return for_host("h1", world)


def test_beside_postgresql_no_password_is_needed() -> None:
    found = plan(pooled(workers=3))
    assert found["pgbouncer_databases"] == [
        {
            "name": "blog",
            "user": "blog",
            "host": "/run/postgresql",
            "port": 5432,
            "password": None,
            "auth": "peer",
            "pool_size": 3,
        }
    ]
    assert found["postgresql_peers"] == [{"role": "blog", "user": "pgbouncer"}]
    assert "pgbouncer" in found["parts"]


def test_processes_go_through_it_and_commands_past_it() -> None:
    site = plan(pooled(processes={"worker": "celery -A x worker", "listen": {"run": "x", "pooler": False}}))
    (found,) = site["django_app_sites"]
    assert found["pooled"] == {
        "env": {"PGHOST": "/run/pgbouncer", "PGPORT": "6432", "WEBSTACK_POOLER": "/run/pgbouncer:6432"},
        "past": ["listen"],
    }
    assert found["env"]["PGHOST"] == "/run/postgresql"
    assert found["env"]["DATABASE_URL"] == "postgres:///blog"
    assert found["database"]["host"] == "/run/postgresql"


def test_what_runs_at_times_goes_past_it() -> None:
    raw = {**pooled(), "schedules": [{"name": "night", "calendar": "daily", "run": "python manage.py x"}]}
    assert plan(raw)["django_app_sites"][0]["pooled"]["past"] == ["night"]


def test_variables_of_the_user_go_through_it_as_well() -> None:
    env = {"DB_HOST": "${database.host}", "DB_PORT": "${database.port}", "DSN": "${database.url}", "PGPORT": "5432"}
    (found,) = plan({**pooled(), "env": env})["django_app_sites"]
    assert found["pooled"]["env"] == {
        "PGHOST": "/run/pgbouncer",
        "DB_HOST": "/run/pgbouncer",
        "DB_PORT": "6432",
        "WEBSTACK_POOLER": "/run/pgbouncer:6432",
    }


def test_postgresql_of_another_server() -> None:
    servers = worlds.servers(TIERS, 4)
    plans = servers.plans(worlds.valid(pooled(workers=4)))
    password = plans["h1"]["postgresql_roles"][0]["password"]
    (found,) = plans["h2"]["pgbouncer_databases"]
    assert (found["host"], found["port"], found["password"]) == ("10.0.0.1", 5432, password)
    assert plans["h1"]["postgresql_peers"] == []
    env = plans["h2"]["django_app_sites"][0]["pooled"]["env"]
    assert env["DATABASE_URL"] == "postgres:///blog"
    assert password not in "".join(env.values())
    assert ["pgbouncer" in one["parts"] for one in plans.values()] == [False, True, True, False]


def test_a_changed_password_reaches_it() -> None:
    old, new = (plan(pooled(over="tcp", password_version=one)) for one in (1, 2))
    passwords = [one["pgbouncer_databases"][0]["password"] for one in (old, new)]
    assert passwords == [one["postgresql_roles"][0]["password"] for one in (old, new)]
    assert passwords[0] != passwords[1]


def test_without_one_nothing_is_there() -> None:
    found = plan(worlds.site())
    assert found["pgbouncer_databases"] == []
    assert found["postgresql_peers"] == []
    assert found["django_app_sites"][0]["pooled"] is None
    assert "pgbouncer" not in found["parts"]
    retired = {"name": "pgbouncer", "paths": ["/etc/systemd/system/pgbouncer.service.d/webstack.conf"]}
    assert {**retired, "keep": [], "programs": ["pgbouncer"]} in found["retired"]


def test_a_site_that_leaves_it_is_served_until_it_has_left() -> None:
    found = plan(pooled(), worlds.site("shop"))
    assert [one["name"] for one in found["pgbouncer_databases"]] == ["blog", "shop"]
    assert [one["pooled"] is None for one in found["django_app_sites"]] == [False, True]


def test_a_release_stays_what_it_is() -> None:
    (plain,), (through,) = worlds.valid(worlds.site()), worlds.valid(pooled(pool_size=7))
    assert release_id(plain) == release_id(through)


@pytest.mark.parametrize(
    ("raw", "connections", "expected"),
    [
        ([pooled(workers=4, threads=2)], 100, [8]),
        ([pooled(workers=2, interface="asgi")], 100, [8]),
        ([pooled(workers=2, processes={"worker": "celery -A x worker", "bot": "python bot.py"})], 100, [5]),
        ([pooled(workers=4, pool_size=2)], 100, [2]),
        # What PostgreSQL takes, less 10, is shared by need.
        ([pooled(workers=30), pooled("shop", workers=10)], 30, [15, 5]),
        ([pooled(workers=30), pooled("shop", workers=10, pool_size=5)], 30, [15, 5]),
        ([pooled(workers=30), worlds.site("shop", workers=12)], 30, [8, 12]),
        ([pooled(workers=30), worlds.site("shop", workers=40)], 30, [1, 40]),
    ],
)
def test_sizes(raw: list[dict[str, Any]], connections: int, expected: list[int]) -> None:
    found = plan(*raw, connections=connections)
    assert [one["pool_size"] for one in found["pgbouncer_databases"]] == expected


def test_application_servers_share_what_postgresql_takes() -> None:
    servers = worlds.servers(TIERS, 4)
    world = dataclasses.replace(servers.world(worlds.valid(pooled(workers=30)), "h2"), connections=50)
    assert for_host("h2", world)["pgbouncer_databases"][0]["pool_size"] == 20


@pytest.mark.parametrize(
    ("database", "message"),
    [
        (
            {"engine": "mariadb", "pooler": "pgbouncer"},
            "site blog: database.pooler: is pgbouncer, which speaks to PostgreSQL only, and database.engine is mariadb; "
            "remove the line, or choose postgresql",
        ),
        (
            {"engine": "sqlite", "pooler": "pgbouncer"},
            "site blog: database.pooler: is pgbouncer, which speaks to PostgreSQL only, and database.engine is sqlite; "
            "remove the line, or choose postgresql",
        ),
        (
            {"pool_size": 9},
            "site blog: database.pool_size: is that of a pooler, and there is none; remove the line, or add `pooler: pgbouncer`",
        ),
        ({"pooler": "pgpool"}, "site blog: database.pooler: 'pgpool' is not one of none, pgbouncer"),
        ({"pooler": "pgbouncer", "pool_size": 0}, "site blog: database.pool_size: 0 is too small; at least 1"),
    ],
)
def test_what_cannot_work_is_refused(database: dict[str, Any], message: str) -> None:
    _sites, errors = validate.sites([worlds.site(database=database)])
    assert [str(error) for error in errors] == [message]


TAKES = "PostgreSQL of h1 takes 50 (postgresql_max_connections), 10 of which are kept for migrations and commands"


@pytest.mark.parametrize(
    ("raw", "messages"),
    [
        ([pooled(pool_size=20)], []),
        (
            [pooled(pool_size=21)],
            [
                f"site blog: database.pool_size: 21 connections on each of 2 application servers are too many: {TAKES}; "
                "set at most 20, or raise postgresql_max_connections"
            ],
        ),
        (
            [pooled(pool_size=21), pooled("shop")],
            [
                f"site blog: database.pool_size: 21 connections on each of 2 application servers are too many: {TAKES}; "
                "set at most 19 (as the pools of the other sites are), or raise postgresql_max_connections"
            ],
        ),
        (
            [pooled(f"blog{number}") for number in range(21)],
            [
                "site blog0: database.pooler: 21 sites need at least one connection each on each of 2 application servers, "
                f"and {TAKES}; raise postgresql_max_connections"
            ],
        ),
    ],
)
def test_pools_larger_than_postgresql_takes_are_refused(raw: list[dict[str, Any]], messages: list[str]) -> None:
    world = dataclasses.replace(worlds.servers(TIERS, 4).world(worlds.valid(*raw), "h2"), connections=50)
    assert [str(error) for error in pooler.too_many(world, "h1")] == messages


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 100),
        ({"postgresql_max_connections": 50}, 50),
        ({"postgresql_max_connections": "60"}, 60),
        ({"postgresql_max_connections": 50, "postgresql_settings": {"max_connections": 70}}, 70),
        ({"postgresql_max_connections": [], "postgresql_settings": ["max_connections"]}, 100),
    ],
)
def test_what_postgresql_takes_is_what_its_role_is_told(variables: dict[str, Any], expected: int) -> None:
    assert _connections(variables) == expected
