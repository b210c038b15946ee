# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the firewall of a server lets in, and from whom."""

from __future__ import annotations

from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

LOGS = {"nginx": "/var/log/nginx/access.log", "apache": "/var/log/apache2/access.log"}


def _opening(port: int, sources: list[str], comment: str) -> dict[str, Any]:
    return {"port": port, "protocol": "tcp", "from": sources, "comment": comment}


def openings(plan: dict[str, Any], world: World, host: Host) -> list[dict[str, Any]]:
    """``firewall_openings``: the web for everybody, each other port for the servers that use it. SSH is the role's own."""
    found = [_opening(port, [], name) for port, name in ((80, "HTTP"), (443, "HTTPS")) if "web" in plan["tiers"]]
    apps = [one.address for one in world.others("app", host.name)]
    webs = [one.address for one in world.others("web", host.name)]
    if plan.get("postgresql_listen_addresses"):
        found.append(_opening(5432, apps, "PostgreSQL"))
    if plan.get("mariadb_bind_addresses"):
        found.append(_opening(3306, apps, "MariaDB"))
    for kind in ("redis", "memcached"):
        found += [
            _opening(one["port"], apps, f"{kind} {one['name']}") for one in plan[f"{kind}_instances"] if one["port"]
        ]
    for process in plan["systemd_processes"] + plan["supervisord_processes"]:
        address = (process["socket"] or {}).get("address")
        if address:
            found.append(_opening(int(address.rpartition(":")[2]), webs, process["name"]))
    # A port that nobody else uses is not opened: without sources it would be open to everybody.
    return [one for one in found if one["from"] or one["port"] in (80, 443)]


def peers(world: World) -> list[str]:
    """``firewall_peers``: all servers of the tiers, where there are several."""
    names = sorted({name for members in world.tiers.values() for name in members})
    return sorted({world.hosts[name].address for name in names}) if len(names) > 1 else []


def logins(plan: dict[str, Any], world: World) -> dict[str, Any]:
    """The log-in pages of a web server's sites, and the log that tells of them."""
    if "web" not in plan["tiers"]:
        return {"firewall_login_pages": [], "firewall_login_logs": []}
    pages = [
        {
            "site": site.name,
            "domains": site.given["domains"],
            "forms": site.given["login_paths"],
            "apis": site.given["login_api_paths"],
        }
        for site in world.live
        if site.given["login_paths"] or site.given["login_api_paths"]
    ]
    return {
        "firewall_login_pages": pages,
        "firewall_login_logs": [log for part, log in LOGS.items() if part in plan["parts"]],
    }
