# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of each role on each server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import vhosts
from ansible_collections.webstack.django.plugins.plugin_utils.plan import (
    certificates,
    firewall,
    placeholders,
    pooler,
    processes,
    stores,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import (
    Site,
    World,
    allowed_hosts,
    cache_url,
    caches,
    database,
    environment,
    interface,
    media_url,
    overlay,
    packages,
    placeholder_values,
    queue_url,
    release_id,
    resolved_files,
    seen,
    static_url,
    trusted_origins,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.domains import is_address
from ansible_collections.webstack.django.plugins.plugin_utils.plan.parts import chosen, retired, web_server
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, budget


def _dependencies(site: Site) -> dict[str, Any]:
    given = site.given["dependencies"]
    found = site.detected or {}
    tool = given["tool"]
    file = given["file"] or (found.get("file") if tool in ("auto", found.get("tool")) else None)
    if tool == "auto":
        tool = _tool_of(given["file"]) if given["file"] else found.get("tool", "none")
    directory = str(Path(file).parent) if file else str(seen(site, "project_dir", ""))
    return {
        "tool": tool,
        "file": file,
        "directory": "" if directory == "." else directory,
        "groups": given["groups"],
        "extras": given["extras"],
        "add": given["add"],
    }


def _tool_of(file: str) -> str:
    names = {"uv.lock": "uv", "poetry.lock": "poetry", "Pipfile.lock": "pipenv", "pyproject.toml": "project"}
    return names.get(Path(file).name, "project" if file.endswith("setup.py") else "requirements")


def app_site(site: Site, world: World, host: Host) -> dict[str, Any]:
    """An item of ``django_app_sites``."""
    if not site.present:
        return {"name": site.name, "state": "absent"}
    given = site.given
    values = placeholder_values(site, world, host)
    first = world.tiers["app"][0]
    socket = processes.app_socket(site, world, host)
    status = given["health"]["status"]
    return {
        "name": site.name,
        "state": "present",
        "user": site.name,
        "group": site.name,
        "root": f"/srv/{site.name}",
        "source": {
            "kind": site.kind,
            "repo": given["repo"],
            "version": given["version"],
            "commit": site.commit,
            "archive": site.archive,
            "package": given["package"],
            "fetch": given["fetch"] if site.kind == "git" else "controller",
        },
        "release_id": release_id(site),
        "project_dir": str(seen(site, "project_dir", "")),
        "settings": seen(site, "settings"),
        "wsgi": _application(seen(site, "wsgi")),
        "asgi": _application(seen(site, "asgi")),
        "interface": interface(site),
        "app_server": given["app_server"],
        "processes": processes.lines(site),
        "manage": seen(site, "manage"),
        "settings_overlay": overlay(site),
        "python": given["python"],
        "dependencies": _dependencies(site),
        "packages": packages(site),
        "env": environment(site, values),
        "pooled": pooler.variables(site, world, host),
        "files": resolved_files(site, values),
        "build": given["build"],
        "commands": _commands(site),
        "collectstatic": given["collectstatic"],
        "migrate": bool(given["migrate"]) and host.name == first,
        "migrate_lock_timeout": given["migrate_lock_timeout"],
        "backup_before_migrate": given["backup_before_migrate"],
        "release_header": given["release_header"],
        "hooks": {
            name: [str(Path(one).expanduser().absolute()) for one in found] for name, found in given["hooks"].items()
        },
        "order": given["order"],
        "shared": given["shared"],
        "directories": [placeholders.fill(one, values) for one in given["directories"]],
        "static": {
            "url": values["static.url"],
            "root": placeholders.fill(given["static"]["root"], values) if given["static"]["root"] else None,
        },
        "media": {"url": values["media.url"], "root": values["media.root"]},
        "database": database(site, world, host),
        "cache": _url(cache_url(site, world, host)),
        "broker": _url(queue_url(site, world, host)),
        "domains": given["domains"],
        "allowed_hosts": allowed_hosts(site),
        "trusted_origins": trusted_origins(site),
        "secret_key": values["secret_key"],
        "activate": processes.activate(site, world, host),
        "health": {
            "socket": socket.get("path"),
            "address": socket.get("address"),
            "protocol": processes.protocol(site),
            "host": given["domains"][0],
            "path": given["health"]["path"],
            "status": status,
            "timeout": given["health"]["timeout"],
            "proof": True,
        },
        "keep_releases": given["keep_releases"],
    }


def _url(url: str | None) -> dict[str, str] | None:
    return {"url": url} if url else None


def _application(name: str | None) -> str | None:
    return name if not name or ":" in name else f"{name}:application"


def _commands(site: Site) -> dict[str, Any]:
    """The user's commands, and what the Procfile wants done on each release."""
    given: dict[str, Any] = site.given["commands"]
    line = processes.release_command(site)
    return {**given, "after_migrate": [*given["after_migrate"], {"run": line, "dir": ""}]} if line else given


def vhost(site: Site, world: World, host: Host) -> dict[str, Any]:
    """An item of ``nginx_sites`` or ``apache_sites``."""
    name = site.name
    upstream = []
    for app in world.tiers["app"]:
        socket = processes.app_socket(site, world, world.hosts[app])
        upstream.append({"socket": socket["path"]} if "path" in socket else {"address": socket["address"]})
    media = site.given["media"]["root"] or f"/srv/{name}/shared/media"
    mode, _reason = certificates.mode(site.given, world.tls_email, world.tiers["web"])
    secure = mode != "off"
    numbers = all(map(is_address, site.given["domains"]))
    return {
        "name": name,
        "state": "present",
        "domains": site.given["domains"],
        "redirect_domains": site.given["redirect_domains"],
        "upstream": upstream,
        "protocol": processes.protocol(site),
        "static": [
            {"url": static_url(site), "root": f"/srv/{name}/public", "hashed": True},
            {"url": media_url(site), "alias": media, "hashed": False},
        ],
        "https": secure,
        # A self-signed one until the role tls has put another in its place.
        **({"tls": {**certificates.files(name), "selfsigned": True, "keep": mode == "provided"}} if secure else {}),
        "https_redirect": site.given["https_redirect"] and secure,
        "hsts_seconds": site.given["hsts_seconds"] if secure and not numbers else 0,
        **{key: site.given[key] for key in ("hsts_subdomains", "hsts_preload", "headers", "client_max_body_size")},
        "timeout": max(60, site.given["timeout"] + 5),  # the application gives up first, and says why in its log
        "maintenance": {"file": vhosts.page_file(name), "retry_after": site.given["maintenance"]["retry_after"]},
    }


def _ports(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """TCP ports of this server, and the programs that are to have them."""
    found: dict[int, list[str]] = {}
    if "web" in plan["tiers"]:
        found.update({port: ["apache2" if "apache" in plan["parts"] else "nginx"] for port in (80, 443)})
    if plan.get("postgresql_databases"):
        found[5432] = ["postgres"]
    if plan.get("mariadb_databases"):
        found[3306] = ["mariadbd"]
    found.update({one["port"]: ["redis-server", "valkey-server"] for one in plan["redis_instances"] if one["port"]})
    found.update({one["port"]: ["memcached"] for one in plan["memcached_instances"] if one["port"]})
    for process in plan["systemd_processes"] + plan["supervisord_processes"]:
        address = (process["socket"] or {}).get("address")
        if address:
            found[int(address.rpartition(":")[2])] = ["systemd", "gunicorn", "uwsgi", "supervisord", "sleep"]
    return [{"port": port, "programs": programs} for port, programs in found.items()]


def _slow(site: Site) -> bool:
    """Whether something of the user's, or of the distribution's, comes between the steps of a deployment."""
    return bool(
        any(site.given["hooks"].values()) or site.given["fetch"] == "host" or site.given["backup_before_migrate"]
    )


def _application_server(world: World, host: Host, share: int) -> dict[str, Any]:
    """The variables of an application server's roles."""
    live = world.live
    by_manager = {
        name: [site for site in live if site.given["process_manager"] == name] for name in ("systemd", "supervisord")
    }
    of = {
        name: [one for site in sites for one in processes.processes(site, world, host)]
        for name, sites in by_manager.items()
    }
    instances = {
        name: [
            processes.instance(site, world, host, share // len(live))
            if site.present and site.given["app_server"] == name
            else {
                "name": site.name,
                "config_file": processes.config_file(site, name),
                "group": site.name,
                "state": "absent",
            }
            for site in world.sites
        ]
        for name in ("gunicorn", "uwsgi")
    }
    return {
        "os_system_users": [{"name": site.name, "home": f"/srv/{site.name}", "state": "present"} for site in live],
        "python_versions": sorted({site.given["python"] for site in live if site.given["python"]}),
        "python_run_packages": sorted({one for site in live for one in packages(site)["run"]}),
        "gunicorn_instances": instances["gunicorn"],
        "uwsgi_instances": instances["uwsgi"],
        "pgbouncer_databases": pooler.databases(
            world, host, {one["name"]: one for of in instances.values() for one in of if one["state"] == "present"}
        ),
        "systemd_processes": of["systemd"],
        "supervisord_processes": of["supervisord"],
        "supervisord_replaces": [
            f"{one['name']}.{kind}" for one in of["supervisord"] for kind in ("socket", "timer", "service")
        ],
        "django_app_sites": [app_site(site, world, host) for site in world.sites],
        "at_once": len(world.tiers["app"]) == 1 and not world.others("web", host.name) and not any(map(_slow, live)),
        "django_app_static_hosts": [web.name for web in world.others("web", host.name)],
    }


def for_host(name: str, world: World, absent: Sequence[str] = ()) -> dict[str, Any]:
    """``webstack_plan`` of one server: the variables of every role that it runs.

    Args:
        name: the server.
        world: the sites and all servers.
        absent: parts whose packages are to go as well, where they are not chosen.
    """
    host = world.hosts[name]
    served = [tier for tier, members in world.tiers.items() if name in members]
    parts = chosen(world, served)
    engines = [one for one in ("postgresql", "mariadb") if one in parts]
    instances = [*caches(world), *caches(world, "memcached")] if "cache" in served else []
    used = [tier for tier in served if (tier != "database" or engines) and (tier != "cache" or instances)]
    share = budget(host.memory_mb, used)
    plan: dict[str, Any] = {
        "tiers": served,
        "parts": parts,
        "os_system_users": [],
        "python_versions": [],
        "python_run_packages": [],
        "gunicorn_instances": [],
        "uwsgi_instances": [],
        "pgbouncer_databases": [],
        "systemd_processes": [],
        "supervisord_processes": [],
        "supervisord_replaces": [],
        "at_once": False,
        "django_app_sites": [],
        "django_app_static_hosts": [],
        "nginx_sites": [],
        "apache_sites": [],
        "tls_certificates": [],
        "redis_instances": [],
        "memcached_instances": [],
    }
    if "app" in served:
        plan.update(_application_server(world, host, share.app))
    if "web" in served:
        plan[f"{web_server(world)}_sites"] = [vhost(site, world, host) for site in world.live]
        plan["tls_certificates"] = certificates.items(world, name)
        plan["parts"] = parts = [*parts, *(["tls"] if plan["tls_certificates"] else [])]
    if "postgresql" in parts:
        plan.update(stores.postgresql(world, host, share.database // len(engines)))
    if "mariadb" in parts:
        plan.update(stores.mariadb(world, host, share.database // len(engines)))
    if instances:
        plan["redis_instances"] = stores.redis(world, host, share.cache // len(instances))
        plan["memcached_instances"] = stores.memcached(world, host, share.cache // len(instances))
    plan["ports"] = _ports(plan)
    plan["firewall_openings"] = firewall.openings(plan, world, host)
    plan["firewall_peers"] = firewall.peers(world)
    plan.update(firewall.logins(plan, world))
    plan["databases"] = [
        {"site": site["name"], **{key: site["database"].get(key) for key in ("engine", "name", "host", "switch_from")}}
        for site in plan["django_app_sites"]
        if site["state"] == "present" and site["database"]
    ]
    plan["retired"] = retired(world, plan, absent)
    return plan
