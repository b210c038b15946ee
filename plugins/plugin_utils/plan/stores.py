# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Databases, caches and brokers: the variables of their roles."""

from __future__ import annotations

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import pooler
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import (
    MEMCACHED_PORT,
    REDIS_PORT,
    Site,
    World,
    caches,
    database,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

LEAST_MB = 16  # of a cache
MARIADB_LEAST_MB = 256  # below it the role refuses: the server itself would not fit


def _sites(world: World, host: Host, engine: str) -> list[tuple[Site, dict[str, Any]]]:
    found = [(site, database(site, world, host)) for site in world.live]
    return [(site, base) for site, base in found if base and base["engine"] == engine]


def postgresql(world: World, host: Host, memory: int) -> dict[str, Any]:
    """The variables of the role postgresql."""
    sites = _sites(world, host, "postgresql")
    remote = world.others("app", host.name)
    return {
        "postgresql_memory_mb": memory,
        "postgresql_listen_addresses": ["localhost", host.address] if remote and sites else [],
        "postgresql_roles": [
            {"name": site.name, "password": base["password"], "state": "present"} for site, base in sites
        ],
        "postgresql_databases": [
            {
                "name": base["name"],
                "owner": site.name,
                "extensions": site.given["database"]["extensions"],
                "state": "present",
            }
            for site, base in sites
        ],
        "postgresql_hba": [
            {
                "type": "hostssl",
                "database": base["name"],
                "user": site.name,
                "address": f"{app.address}/{128 if ':' in app.address else 32}",
                "method": "scram-sha-256",
            }
            for site, base in sites
            for app in remote
        ],
        "postgresql_peers": pooler.peers(world, host),
    }


def mariadb(world: World, host: Host, memory: int) -> dict[str, Any]:
    """The variables of the role mariadb."""
    sites = _sites(world, host, "mysql")
    remote = world.others("app", host.name)
    users = []
    for site, base in sites:
        common = {"name": site.name, "databases": [base["name"]], "state": "present"}
        by_password = {
            **common,
            "auth": "password",
            "password": world.secret(f"{site.name}/database", site.given["database"]["password_version"]),
        }
        if host.name in world.tiers["app"] and site.given["database"]["over"] == "socket":
            users.append({**common, "host": "localhost", "auth": "socket", "password": None, "tls": False})
        elif host.name in world.tiers["app"]:
            users.append({**by_password, "host": "127.0.0.1", "tls": False})
        users += [{**by_password, "host": app.address, "tls": True} for app in remote]
    return {
        "mariadb_memory_mb": max(MARIADB_LEAST_MB, memory),
        "mariadb_bind_addresses": ["127.0.0.1", host.address] if remote and sites else [],
        "mariadb_databases": [{"name": base["name"], "state": "present"} for _site, base in sites],
        "mariadb_users": users,
    }


def redis(world: World, host: Host, memory: int) -> list[dict[str, Any]]:
    """``redis_instances``."""
    remote = bool(world.others("app", host.name))
    local = host.name in world.tiers["app"]
    return [
        {
            "name": f"{site.name}-{purpose}",
            "purpose": purpose,
            "memory_mb": max(LEAST_MB, memory),
            "group": site.name if local else "redis",
            "port": REDIS_PORT + number if remote else 0,
            "bind": ["127.0.0.1", host.address] if remote else [],
            "password": world.secret(f"{site.name}/{purpose}", site.given["cache_password_version"])
            if remote
            else None,
            "tls": remote,
            "state": "present",
        }
        for number, (site, purpose) in enumerate(caches(world))
    ]


def memcached(world: World, host: Host, memory: int) -> list[dict[str, Any]]:
    """``memcached_instances``."""
    remote = world.others("app", host.name)
    local = host.name in world.tiers["app"]
    return [
        {
            "name": f"{site.name}-{purpose}",
            "memory_mb": max(LEAST_MB, memory),
            "group": site.name if local else "memcache",
            "port": MEMCACHED_PORT + number if remote else 0,
            "bind": ["127.0.0.1", host.address] if remote else [],
            "allow": [app.address for app in remote],
            "state": "present",
        }
        for number, (site, purpose) in enumerate(caches(world, "memcached"))
    ]
