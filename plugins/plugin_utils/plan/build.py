# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of each role on each server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import (
    REDIS_PORT,
    Site,
    World,
    allowed_hosts,
    caches,
    database,
    endpoint,
    environment,
    media_url,
    overlay,
    packages,
    placeholder_values,
    redis_url,
    release_id,
    resolved_files,
    seen,
    static_url,
    trusted_origins,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.domains import is_address
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, budget, workers

APP_PORT = 8001  # of the first site, where the web servers are other machines
WEB_GROUP = "www-data"
SOCKETS = "/run/webstack"
GRACE = 30  # seconds that requests under way get when a web process is stopped


def _app_socket(site: Site, world: World, host: Host) -> dict[str, Any]:
    """Where the web process listens: a unix socket, or TCP where a web server is another machine."""
    if not world.others("web", host.name):
        return {"path": f"{SOCKETS}/{site.name}/web.sock", "user": site.name, "group": WEB_GROUP, "mode": "0660"}
    number = [one.name for one in world.live].index(site.name)
    return {"address": endpoint(host.address, APP_PORT + number)}


def _dependencies(site: Site) -> dict[str, Any]:
    given = site.given["dependencies"]
    found = site.detected or {}
    tool = given["tool"]
    file = given["file"] or (found.get("file") if tool in ("auto", found.get("tool")) else None)
    if tool == "auto":
        tool = _tool_of(given["file"]) if given["file"] else found.get("tool", "none")
    directory = str(Path(file).parent) if file else str(seen(site, "project_dir", ""))
    add = ["gunicorn>=23,<26", *given["add"]]
    return {
        "tool": tool,
        "file": file,
        "directory": "" if directory == "." else directory,
        "groups": given["groups"],
        "extras": given["extras"],
        "add": add,
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
    socket = _app_socket(site, world, host)
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
        "wsgi": _application(str(seen(site, "wsgi"))),
        "manage": seen(site, "manage"),
        "settings_overlay": overlay(site),
        "python": given["python"],
        "dependencies": _dependencies(site),
        "packages": packages(site),
        "env": environment(site, values),
        "files": resolved_files(site, values),
        "build": given["build"],
        "commands": given["commands"],
        "collectstatic": given["collectstatic"],
        "migrate": bool(given["migrate"]) and host.name == first,
        "order": given["order"],
        "shared": given["shared"],
        "directories": [placeholders.fill(one, values) for one in given["directories"]],
        "static": {
            "url": values["static.url"],
            "root": placeholders.fill(given["static"]["root"], values) if given["static"]["root"] else None,
        },
        "media": {"url": values["media.url"], "root": values["media.root"]},
        "database": database(site, world, host),
        "cache": _url(redis_url(site, "cache", world, host)),
        "broker": _url(redis_url(site, "broker", world, host)),
        "domains": given["domains"],
        "allowed_hosts": allowed_hosts(site),
        "trusted_origins": trusted_origins(site),
        "secret_key": values["secret_key"],
        "activate": [["systemctl", "restart", f"{site.name}-web.service"]],
        "health": {
            "socket": socket.get("path"),
            "address": socket.get("address"),
            "host": given["domains"][0],
            "path": given["health"]["path"],
            "status": status,
            "timeout": given["health"]["timeout"],
        },
        "keep_releases": given["keep_releases"],
    }


def _url(url: str | None) -> dict[str, str] | None:
    return {"url": url} if url else None


def _application(name: str) -> str:
    return name if ":" in name else f"{name}:application"


def _writable(site: Site, values: Mapping[str, str]) -> list[str]:
    """What the processes may write to: the rest of the server is read-only to them."""
    shared = values["site.shared"]
    wanted = [values["media.root"], *(placeholders.fill(one, values) for one in site.given["directories"])]
    absolute = [one if one.startswith("/") else f"{values['site.root']}/current/code/{one}" for one in wanted]
    return [shared, *dict.fromkeys(one for one in absolute if not one.startswith(f"{shared}/"))]


def processes(site: Site, world: World, host: Host) -> list[dict[str, Any]]:
    """The processes of a site, for whichever process manager runs them."""
    root, settings = f"/srv/{site.name}", f"/etc/webstack/{site.name}"
    return [
        {
            "name": f"{site.name}-web",
            "description": f"{site.name}: web",
            "command": [f"{root}/current/venv/bin/gunicorn", "-c", f"{settings}/gunicorn.conf.py"],
            "user": site.name,
            "group": site.name,
            "working_directory": f"{root}/current/project",
            "environment": {},
            "environment_files": [f"{settings}/env", f"{root}/current/env"],
            "socket": _app_socket(site, world, host),
            "type": "notify",
            "reload_signal": None,
            "stop_signal": "TERM",
            "stop_timeout": GRACE + 15,
            "memory_max_mb": site.given["memory_max_mb"],
            "read_write_paths": _writable(site, placeholder_values(site, world, host)),
            "run_if": f"{root}/current/release.json",
            "restart_on": [f"{settings}/gunicorn.conf.py", f"{settings}/env", f"{root}/current"],
            "state": "present",
        }
    ]


def gunicorn(site: Site, world: World, host: Host, share_mb: int) -> dict[str, Any]:
    """An item of ``gunicorn_instances``."""
    others = world.others("web", host.name)
    # A web server on this machine reaches a TCP port from this machine's own address.
    local = [host] if others and host.name in world.tiers["web"] else []
    proxies = [web.address for web in [*local, *others]]
    return {
        "name": site.name,
        "config_file": f"/etc/webstack/{site.name}/gunicorn.conf.py",
        "group": site.name,
        "release_file": f"/srv/{site.name}/current/release.json",
        "workers": site.given["workers"] or workers(host.cpus, share_mb),
        "threads": site.given["threads"],
        "timeout": site.given["timeout"],
        "graceful_timeout": GRACE,
        "settings": {"forwarded_allow_ips": ",".join(proxies)} if proxies else {},
        "state": "present",
    }


def nginx_site(site: Site, world: World, host: Host) -> dict[str, Any]:
    """An item of ``nginx_sites``."""
    name = site.name
    upstream = []
    for app in world.tiers["app"]:
        socket = _app_socket(site, world, world.hosts[app])
        upstream.append({"socket": socket["path"]} if "path" in socket else {"address": socket["address"]})
    media = site.given["media"]["root"] or f"/srv/{name}/shared/media"
    return {
        "name": name,
        "state": "present",
        "domains": site.given["domains"],
        "redirect_domains": site.given["redirect_domains"],
        "upstream": upstream,
        "protocol": "http",
        "static": [
            {"url": static_url(site), "root": f"/srv/{name}/public", "hashed": True},
            {"url": media_url(site), "alias": media, "hashed": False},
        ],
        "tls": {
            "certificate": f"/etc/webstack/tls/{name}/fullchain.pem",
            "key": f"/etc/webstack/tls/{name}/privkey.pem",
            "selfsigned": True,
        },
        "https_redirect": site.given["https_redirect"],
        "hsts_seconds": 0 if all(map(is_address, site.given["domains"])) else site.given["hsts_seconds"],
        "client_max_body_size": site.given["client_max_body_size"],
        "timeout": max(60, site.given["timeout"] + 5),  # the application gives up first, and says why in its log
    }


def _postgresql(world: World, host: Host, memory: int) -> dict[str, Any]:
    sites = [(site, base) for site in world.live if (base := database(site, world, host))]
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
    }


def _redis(world: World, host: Host, memory: int) -> list[dict[str, Any]]:
    wanted = caches(world)
    remote = bool(world.others("app", host.name))
    local = host.name in world.tiers["app"]
    return [
        {
            "name": f"{site.name}-{purpose}",
            "purpose": purpose,
            "memory_mb": max(16, memory // len(wanted)),
            "group": site.name if local else "redis",
            "port": REDIS_PORT + number if remote else 0,
            "bind": ["127.0.0.1", host.address] if remote else [],
            "password": world.secret(f"{site.name}/{purpose}") if remote else None,
            "tls": remote,
            "state": "present",
        }
        for number, (site, purpose) in enumerate(wanted)
    ]


def _ports(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """TCP ports of this server, and the programs that are to have them."""
    found: dict[int, list[str]] = {}
    if "web" in plan["tiers"]:
        found.update({80: ["nginx"], 443: ["nginx"]})
    if plan.get("postgresql_databases"):
        found[5432] = ["postgres"]
    found.update({one["port"]: ["redis-server"] for one in plan["redis_instances"] if one["port"]})
    for process in plan["systemd_processes"]:
        address = (process["socket"] or {}).get("address")
        if address:
            found[int(address.rpartition(":")[2])] = ["systemd", "gunicorn"]
    return [{"port": port, "programs": programs} for port, programs in found.items()]


def for_host(name: str, world: World) -> dict[str, Any]:
    """``webstack_plan`` of one server: the variables of every role that it runs."""
    host = world.hosts[name]
    served = [tier for tier, members in world.tiers.items() if name in members]
    share = budget(host.memory_mb, served)
    live = world.live
    plan: dict[str, Any] = {
        "tiers": served,
        "os_system_users": [],
        "python_versions": [],
        "os_run_packages": [],
        "gunicorn_instances": [],
        "systemd_processes": [],
        "django_app_sites": [],
        "django_app_static_hosts": [],
        "nginx_sites": [],
        "redis_instances": [],
    }
    if "app" in served:
        plan["os_system_users"] = [
            {"name": site.name, "home": f"/srv/{site.name}", "state": "present"} for site in live
        ]
        plan["python_versions"] = sorted({site.given["python"] for site in live if site.given["python"]})
        plan["os_run_packages"] = sorted({one for site in live for one in packages(site)["run"]})
        plan["gunicorn_instances"] = [gunicorn(site, world, host, share.app // len(live)) for site in live]
        plan["systemd_processes"] = [one for site in live for one in processes(site, world, host)]
        plan["django_app_sites"] = [app_site(site, world, host) for site in world.sites]
        plan["django_app_static_hosts"] = [web.name for web in world.others("web", name)]
    if "web" in served:
        plan["nginx_sites"] = [nginx_site(site, world, host) for site in live]
    if "database" in served:
        plan.update(_postgresql(world, host, share.postgresql))
    if "cache" in served:
        plan["redis_instances"] = _redis(world, host, share.redis)
    plan["ports"] = _ports(plan)
    return plan
