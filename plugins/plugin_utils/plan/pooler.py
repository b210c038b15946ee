# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A connection pooler on the application servers: who goes through it, and how many connections each site gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import (
    Site,
    World,
    database,
    environment,
    interface,
    placeholder_values,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.processes import beside_web
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

USER = "pgbouncer"
SOCKETS, PORT = "/run/pgbouncer", 6432
KEPT = 10  # connections for migrations, commands and the superuser (for whom PostgreSQL keeps 3 itself)
ASGI_REQUESTS = 4  # of one process that are in a transaction at the same moment; a guess, and more of them wait
_CELERY_WORKER = re.compile(r"\bcelery\b.*\bworker\b")


def pooled(site: Site) -> bool:
    """Whether the processes of a site go through the pooler."""
    return bool(site.given["database"]["pooler"] == "pgbouncer")


def sites(world: World) -> list[Site]:
    """The sites that a pooler serves: where one goes through it all may, so that none is cut off in the run that takes it out."""
    if not any(map(pooled, world.live)):
        return []
    return [site for site in world.live if site.given["database"]["engine"] == "postgresql"]


def reach(site: Site, world: World, host: Host) -> dict[str, Any] | None:
    """As `context.database`, through the pooler: the account of the process is the proof, as at PostgreSQL's own socket."""
    base = database(site, world, host)
    if not base:
        return None
    return {**base, "host": SOCKETS, "port": PORT, "sslmode": None, "url": f"postgres:///{base['name']}"}


def variables(site: Site, world: World, host: Host) -> dict[str, Any] | None:
    """What a site's processes get in place of the site's own variables, and those that go past the pooler."""
    if not pooled(site):
        return None
    plain = environment(site, placeholder_values(site, world, host))
    env = environment(site, placeholder_values(site, world, host, reach))
    changed = {name: text for name, text in env.items() if plain.get(name) != text}
    given = site.given["env"]
    port = {} if "PGPORT" in given else {"PGPORT": str(PORT)}
    past = [one.name for one in beside_web(site) if not one.pooler]
    return {"env": {**changed, **port, "WEBSTACK_POOLER": f"{SOCKETS}:{PORT}"}, "past": past}


def need(site: Site, instance: Mapping[str, Any], cpus: int) -> int:
    """Transactions that a site's processes on one server can be in at the same moment."""
    each = ASGI_REQUESTS if interface(site) == "asgi" else instance["threads"]
    lines = [one.command for one in beside_web(site) if not one.calendar]
    # A worker of Celery has a process for each processor.
    return int(instance["workers"] * each + sum(cpus if _CELERY_WORKER.search(line) else 1 for line in lines))


def sizes(world: World, needs: Mapping[str, int]) -> dict[str, int]:
    """Connections of each site on one server: what was given, else what it needs, less where PostgreSQL has not as many."""
    served = sites(world)
    given = {site.name: site.given["database"]["pool_size"] for site in served}
    free = (world.connections - KEPT) // len(world.tiers["app"])
    free -= sum(given[site.name] or (0 if pooled(site) else needs[site.name]) for site in served)
    wanted = sum(needs[site.name] for site in served if pooled(site) and not given[site.name])
    share = min(1.0, max(0, free) / wanted) if wanted else 1.0
    return {
        site.name: given[site.name] or max(1, int(needs[site.name] * share) if pooled(site) else needs[site.name])
        for site in served
    }


def databases(world: World, host: Host, instances: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``pgbouncer_databases``; ``instances`` are those of the application servers by site."""
    served = sites(world)
    wanted = sizes(world, {site.name: need(site, instances[site.name], host.cpus) for site in served}) if served else {}
    found = []
    for site in served:
        base = database(site, world, host) or {}
        here = base["host"].startswith("/")
        found.append(
            {
                "name": base["name"],
                "user": site.name,
                "host": base["host"],
                "port": base["port"],
                "password": None if here else base["password"],
                "auth": "peer",
                "pool_size": wanted[site.name],
            }
        )
    return found


def peers(world: World, host: Host) -> list[dict[str, str]]:
    """``postgresql_peers``: on the server of the applications the pooler comes by PostgreSQL's socket."""
    if host.name not in world.tiers["app"]:
        return []
    return [{"role": site.name, "user": USER} for site in sites(world) if site.given["database"]["over"] == "socket"]


def mistakes(given: Mapping[str, Any], label: str) -> list[Error]:
    """What is wrong with ``database`` of one site."""
    if given["pooler"] != "none" and given["engine"] not in ("postgresql", None):
        text = f"is {given['pooler']}, which speaks to PostgreSQL only, and database.engine is {given['engine']}"
        return [Error(label, "database.pooler", f"{text}; remove the line, or choose postgresql")]
    if given["pool_size"] and given["pooler"] == "none":
        text = "is that of a pooler, and there is none; remove the line, or add `pooler: pgbouncer`"
        return [Error(label, "database.pool_size", text)]
    return []


def too_many(world: World, server: str) -> list[Error]:
    """Pools that together are larger than what PostgreSQL takes; ``server`` is where it runs."""
    wanted = [site for site in world.live if pooled(site)]
    fixed = [site for site in wanted if site.given["database"]["pool_size"]]
    apps, most = len(world.tiers["app"]), world.connections - KEPT
    total = sum(site.given["database"]["pool_size"] or 1 for site in wanted) * apps
    if total <= most:
        return []
    takes = (
        f"PostgreSQL of {server} takes {world.connections} (postgresql_max_connections), {KEPT} of which are kept for "
        "migrations and commands"
    )
    where = "" if apps == 1 else f" on each of {apps} application servers"
    if not fixed:
        text = f"{len(wanted)} sites need at least one connection each{where}, and {takes}; raise postgresql_max_connections"
        return [Error(wanted[0].name, "database.pooler", text)]
    errors = []
    for site in fixed:
        size = site.given["database"]["pool_size"]
        room = max(1, (most - total) // apps + size)
        others = "" if len(wanted) == 1 else " (as the pools of the other sites are)"
        text = f"{size} connections{where} are too many: {takes}; set at most {room}{others}, or raise postgresql_max_connections"
        errors.append(Error(site.name, "database.pool_size", text))
    return errors
