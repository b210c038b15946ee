# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which roles a server needs, and what tells that one it does not need any more was there once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import pooler
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import World, caches
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import ENGINES

# By what a part is known to have been set up by us, and the program that may then still hold its ports.
_DROP_IN = "/etc/systemd/system/{}.service.d/webstack.conf"
_MARKERS: dict[str, tuple[str, str]] = {
    "nginx": (_DROP_IN.format("nginx"), "nginx"),
    "apache": (_DROP_IN.format("apache2"), "apache2"),
    "supervisord": (_DROP_IN.format("supervisor"), "supervisord"),
    "pgbouncer": (_DROP_IN.format("pgbouncer"), "pgbouncer"),
}
_PACKAGED = {
    "nginx": "/usr/sbin/nginx",
    "apache": "/usr/sbin/apache2",
    "supervisord": "/usr/bin/supervisord",
    "redis": "/usr/bin/redis-server",
    "memcached": "/usr/bin/memcached",
    "pgbouncer": "/usr/sbin/pgbouncer",
}
_INSTANCES = {
    "redis": ("/etc/redis/redis-{}.conf", "/etc/valkey/valkey-{}.conf"),
    "memcached": ("/etc/systemd/system/memcached@{}.service",),
}


def web_server(world: World) -> str:
    """The web server of all sites; ``validate`` has seen that they agree."""
    return next((str(site.given["web_server"]) for site in world.live if site.given["web_server"]), "nginx")


def chosen(world: World, served: Sequence[str]) -> list[str]:
    """The interchangeable roles that one server needs. Without any site those of the defaults, to prepare it."""
    live = world.live
    engines = {ENGINES.get(site.given["database"]["engine"], "") for site in live} if live else {"postgresql"}
    managers = {site.given["process_manager"] for site in live}
    servers = {site.given["app_server"] for site in live}
    wanted = {
        "database": [("postgresql", "postgresql" in engines), ("mariadb", "mysql" in engines)],
        "cache": [("redis", bool(caches(world)) or not live), ("memcached", bool(caches(world, "memcached")))],
        "app": [
            ("pgbouncer", bool(pooler.sites(world))),
            ("gunicorn", "gunicorn" in servers),
            ("uwsgi", "uwsgi" in servers),
            ("supervisord", "supervisord" in managers),
            # Also where it has nothing to run any more: a site that goes away must have stopped before its files go.
            ("systemd", managers != {"supervisord"}),
        ],
        "web": [(web_server(world), True)],
    }
    return [part for tier in served for part, needed in wanted[tier] if needed]


def unwanted(states: Mapping[str, Any]) -> list[str]:
    """Parts whose packages the user does not want to have: ``nginx_state: absent``."""
    return [part for part in _PACKAGED if states.get(f"{part}_state") == "absent"]


def retired(world: World, plan: dict[str, Any], absent: Sequence[str]) -> list[dict[str, Any]]:
    """What preflight looks for on one server: parts with the paths that nobody wants any more."""
    found = [
        {"name": part, "paths": [path], "keep": [], "programs": [program]}
        for part, (path, program) in _MARKERS.items()
        if part not in plan["parts"]
    ]
    for part, patterns in _INSTANCES.items():
        kept = [pattern.format(one["name"]) for one in plan[f"{part}_instances"] for pattern in patterns]
        found.append({"name": part, "paths": [pattern.format("*") for pattern in patterns], "keep": kept})
    for part in ("gunicorn", "uwsgi"):
        gone = [one["config_file"] for one in plan[f"{part}_instances"] if one["state"] == "absent"]
        found.append({"name": part, "paths": gone})
    if "systemd" not in plan["parts"]:
        found.append(
            {"name": "systemd", "paths": [f"/etc/systemd/system/{site.name}-*.service" for site in world.sites]}
        )
    found += [{"name": part, "paths": [_PACKAGED[part]]} for part in absent]
    return found
