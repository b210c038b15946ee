# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever valid input goes in, the plan of all servers fits together."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import plan_worlds as worlds
from ansible_collections.webstack.django.plugins.filter.mask import mask
from ansible_collections.webstack.django.plugins.plugin_utils.plan import inspect, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site
from ansible_collections.webstack.django.plugins.plugin_utils.secret import derive
from hypothesis import assume, example, given

Plans = dict[str, dict[str, Any]]
ONE = [worlds.site(broker="redis")]
SHARED = {"database": ["h1"], "cache": ["h1"], "app": ["h1", "h2"], "web": ["h1"]}


def processes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All processes of a server, whoever runs them."""
    found: list[dict[str, Any]] = plan["systemd_processes"] + plan["supervisord_processes"]
    return found


def listening(plan: dict[str, Any]) -> set[str]:
    """Sockets and addresses that the processes of a server listen on."""
    sockets = [one["socket"] for one in processes_of(plan) if one["socket"]]
    return {one.get("path") or one["address"] for one in sockets}


def check_web(plans: Plans, apps: list[str]) -> None:
    for name, plan in plans.items():
        domains: list[str] = []
        assert not (plan["nginx_sites"] and plan["apache_sites"])
        for site in plan["nginx_sites"] + plan["apache_sites"]:
            domains += site["domains"] + site["redirect_domains"]
            assert len(site["upstream"]) == len(apps)
            for one in site["upstream"]:
                if "socket" in one:
                    assert one["socket"] in listening(plan), name
                else:
                    assert any(one["address"] in listening(plans[app]) for app in apps), name
            assert len({one["url"] for one in site["static"]}) == 2
            server = "uwsgi" if site["protocol"] == "uwsgi" else "gunicorn"
            assert site["timeout"] > plan_of(plans, f"{server}_instances", site["name"])["timeout"]
        assert len(domains) == len(set(domains))


def plan_of(plans: Plans, key: str, name: str) -> dict[str, Any]:
    return next(one for plan in plans.values() for one in plan[key] if one["name"] == name)


def check_database(plans: Plans, servers: worlds.Servers, name: str, site: dict[str, Any]) -> None:
    base = site["database"]
    if base is None:
        return
    if base["engine"] == "sqlite3":
        assert base["name"].startswith(f"/srv/{site['name']}/shared/database/")
        return
    (holder,) = (one for one, plan in plans.items() if "database" in plan["tiers"])
    plan = plans[holder]
    if base["engine"] == "mysql":
        check_mariadb(plan, servers.hosts[name].address, base, holder == name)
        return
    assert {"name": base["user"], "password": base["password"], "state": "present"} in plan["postgresql_roles"]
    assert [one["owner"] for one in plan["postgresql_databases"] if one["name"] == base["name"]] == [base["user"]]
    if base["host"] in ("/run/postgresql", "127.0.0.1"):
        assert holder == name
        return
    assert base["host"] == servers.hosts[holder].address
    assert base["host"] in plan["postgresql_listen_addresses"]
    assert base["sslmode"] == "require"
    address = f"{servers.hosts[name].address}/32"
    assert [
        (one["type"], one["method"])
        for one in plan["postgresql_hba"]
        if (one["database"], one["user"], one["address"]) == (base["name"], base["user"], address)
    ] == [("hostssl", "scram-sha-256")]
    assert urlsplit(base["url"]).password == base["password"]


def check_mariadb(plan: dict[str, Any], address: str, base: dict[str, Any], local: bool) -> None:
    assert {"name": base["name"], "state": "present"} in plan["mariadb_databases"]
    host = {"localhost": "localhost", "127.0.0.1": "127.0.0.1"}.get(base["host"], address)
    (user,) = (one for one in plan["mariadb_users"] if (one["name"], one["host"]) == (base["user"], host))
    assert user["databases"] == [base["name"]]
    assert (user["auth"] == "socket") == (base["host"] == "localhost")
    assert (user["password"] or "") == base["password"]
    assert user["tls"] is not local
    assert local or base["sslmode"] == "require"


def check_redis(plans: Plans, servers: worlds.Servers, name: str, site: dict[str, Any], purpose: str) -> None:
    found = site["cache" if purpose == "cache" else "broker"]
    if found is None:
        return
    url = urlsplit(found["url"])
    if url.scheme == "amqp":
        return
    if url.scheme == "memcached":
        instance = plan_of(plans, "memcached_instances", f"{site['name']}-cache")
        if url.path:
            assert url.path == f"/run/memcached-{site['name']}-cache/memcached.sock"
            assert instance["group"] == site["group"]
        else:
            assert (url.hostname in instance["bind"], url.port) == (True, instance["port"])
            assert url.hostname == "127.0.0.1" or servers.hosts[name].address in instance["allow"]
        return
    (holder,) = (one for one, plan in plans.items() if plan["redis_instances"])
    instance = plan_of(plans, "redis_instances", f"{site['name']}-{purpose}")
    assert url.password == instance["password"]
    if url.scheme == "unix":
        assert holder == name
        assert url.path == f"/run/redis-{site['name']}-{purpose}/redis.sock"
        assert instance["group"] == site["group"]
    else:
        assert url.scheme == "rediss"
        assert instance["tls"] is True
        assert (url.hostname, url.port) == (servers.hosts[holder].address, instance["port"])
        assert url.hostname in instance["bind"]


def check_server(plan: dict[str, Any], memory: int) -> None:
    ports = [one["port"] for one in plan["redis_instances"] if one["port"]]
    ports += [int(one.rpartition(":")[2]) for one in listening(plan) if not one.startswith("/")]
    assert len(ports) == len(set(ports))
    assert len(listening(plan)) == len([one for one in processes_of(plan) if one["socket"]])
    caches = plan["redis_instances"] + plan["memcached_instances"]
    used = (
        plan.get("postgresql_memory_mb", 0) + plan.get("mariadb_memory_mb", 0) + sum(one["memory_mb"] for one in caches)
    )
    assert used < memory
    users = {one["name"] for one in plan["os_system_users"]}
    lines = {one["name"]: one["processes"] for one in plan["django_app_sites"] if one["state"] == "present"}
    for process in processes_of(plan):
        assert process["user"] in users
        (command,) = process["command"]
        assert lines[process["user"]][command.removeprefix(f"/srv/{process['user']}/current/run/")]
    for site in plan["django_app_sites"]:
        if site["state"] == "present":
            assert (site["health"]["socket"] or site["health"]["address"]) in listening(plan)
            assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]{8}", site["release_id"])
            assert site["dependencies"]["tool"] == "requirements"


def check_secrets(plans: Plans, sites: list[Site]) -> None:
    hidden = json.dumps(mask(plans))
    secrets = [worlds.USERS_SECRET]
    for site in sites:
        redis = site.given["cache_password_version"]
        for what, version in (
            ("database", site.given["database"]["password_version"]),
            ("cache", redis),
            ("broker", redis),
        ):
            secrets.append(derive(worlds.MASTER, f"{site.name}/{what}", version))
        secrets.append(derive(worlds.MASTER, f"{site.name}/secret_key", site.given["secret_key_version"], 50))
    assert [secret for secret in secrets if secret in hidden] == []


def together(plans: Plans, servers: worlds.Servers, sites: list[Site]) -> None:
    """Servers that serve the same sites fit together."""
    apps = [name for name, plan in plans.items() if "app" in plan["tiers"]]
    webs = [name for name, plan in plans.items() if "web" in plan["tiers"]]
    live = [site for site in sites if site.present]
    assert all(len(listening(plans[app])) == len(live) for app in apps)
    for site in live:
        runs = [one for app in apps for one in processes_of(plans[app]) if one["name"] == f"{site.name}-night"]
        assert len(runs) == len(site.given["schedules"])
    check_web(plans, apps)
    for name in apps:
        plan = plans[name]
        assert plan["django_app_static_hosts"] == [web for web in webs if web != name]
        for site in plan["django_app_sites"]:
            if site["state"] == "present":
                check_database(plans, servers, name, site)
                check_redis(plans, servers, name, site, "cache")
                check_redis(plans, servers, name, site, "broker")
        for one in plan["gunicorn_instances"]:
            if one["state"] == "absent":
                continue
            trusted = set(filter(None, one["settings"].get("forwarded_allow_ips", "").split(",")))
            remote = webs != [name]
            assert trusted == ({servers.hosts[web].address for web in webs} if remote else set())
    for site in live:
        migrating = [
            name
            for name in apps
            for one in plans[name]["django_app_sites"]
            if one["name"] == site.name and one["migrate"]
        ]
        assert len(migrating) == (1 if site.given["migrate"] else 0)


@given(raw=worlds.sites(), servers=worlds.topologies())
@example(ONE, worlds.servers())
@example(ONE, worlds.servers(count=2))
@example(ONE, worlds.servers(SHARED, 2))
@example(ONE, worlds.servers({"database": ["h1"], "cache": ["h2"], "app": ["h3", "h4"], "web": ["h5"]}, 5))
@example(ONE, worlds.servers({"app": ["h1", "h2"], "web": ["h1", "h3"]}, 4))
def test_the_plan_fits_together(raw: list[dict[str, Any]], servers: worlds.Servers) -> None:
    sites = worlds.valid(*raw)
    apps = [site.given for site in sites if site.present]
    assume(
        validate.topology(servers.groups, apps) == [] and inspect.together([one for one in sites if one.present]) == []
    )
    plans = servers.plans(sites)
    text = json.dumps(plans, sort_keys=True)
    again = [Site.from_dict(json.loads(json.dumps(site.as_dict()))) for site in worlds.valid(*raw)]
    assert json.dumps(servers.plans(again), sort_keys=True) == text
    if any(servers.groups.get(tier) for tier in ("database", "cache", "app", "web")):
        together(plans, servers, sites)
    else:
        for name in plans:
            together({name: plans[name]}, servers, sites)
    for name, plan in plans.items():
        check_server(plan, servers.hosts[name].memory_mb)
    check_secrets(plans, sites)
    unescaped = text.replace("${x}", "")  # what the user escaped
    assert "${" not in unescaped
