# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Of sites, what may be told to a module that asks about them: nothing in it is a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import ENGINES


def brief(site: Mapping[str, Any]) -> dict[str, Any]:
    """One validated site."""
    domains = list(site.get("domains") or [])
    health = site.get("health") or {}
    database = site.get("database") or {}
    tls = site.get("tls") or {}
    return {
        "name": site["name"],
        "domains": domains + list(site.get("redirect_domains") or []),
        "host": domains[0] if domains else None,
        "tls": tls.get("mode") or "auto",
        "path": health.get("path") or "/",
        "status": list(health.get("status") or []),
        "protocol": "uwsgi" if site.get("app_server") == "uwsgi" else "http",
        "engine": ENGINES.get(str(database.get("engine")), "none"),
        "database": database.get("name") or site["name"],
    }


def briefs(sites: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The sites that are to be there, or those that are named."""
    if names is None:
        return [brief(site) for site in sites if site.get("state") != "absent"]
    return [brief(site) for site in sites if site["name"] in names]
