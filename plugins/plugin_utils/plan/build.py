# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From complete sites, topology and facts to the variables of each role on each server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders
from ansible_collections.webstack.django.plugins.plugin_utils.plan.domains import is_address
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, budget, workers
from ansible_collections.webstack.django.plugins.plugin_utils.secret import derive

BUILD = 1  # raise it when the same inputs give another release (a new settings overlay, for instance)
REDIS_PORT = 6379  # of the first instance, where a cache has a server of its own
APP_PORT = 8001  # of the first site, where the web servers are other machines
WEB_GROUP = "www-data"
SOCKETS = "/run/webstack"
POSTGRESQL_SOCKETS = "/run/postgresql"
GRACE = 30  # seconds that requests under way get when a web process is stopped


@dataclass(frozen=True)
class Site:
    """A validated site with its code found and looked at."""

    given: dict[str, Any]
    kind: str = "package"  # git, path or package
    commit: str = ""
    archive: str | None = None
    detected: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name, which is also its user, group, database and role."""
        return str(self.given["name"])

    @property
    def present(self) -> bool:
        """Whether the site is to be there."""
        return bool(self.given["state"] == "present")


@dataclass(frozen=True)
class World:
    """All that the plan is made from."""

    sites: Sequence[Site]
    tiers: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]
    master: bytes

    @property
    def live(self) -> list[Site]:
        """The sites that are to be there."""
        return [site for site in self.sites if site.present]

    def secret(self, name: str, version: int = 1, length: int = 32) -> str:
        """A secret derived from the master key."""
        return derive(self.master, name, version, length)

    def others(self, tier: str, host: str) -> list[Host]:
        """The servers of a tier except this one."""
        return [self.hosts[name] for name in self.tiers[tier] if name != host]


def caches(world: World) -> list[tuple[Site, str]]:
    """The Redis instances of all sites, in a stable order: site and purpose."""
    found = []
    for site in world.live:
        for purpose in ("cache", "broker"):
            if site.given[purpose] == "redis":
                found.append((site, purpose))
    return found


def database(site: Site, world: World, host: Host) -> dict[str, Any] | None:
    """How a site reaches its database from one server."""
    given = site.given["database"]
    if given["engine"] != "postgresql":
        return None
    name = given["name"] or site.name
    password = world.secret(f"{site.name}/database", given["password_version"])
    local = host.name in world.tiers["database"]
    result = {"engine": "postgresql", "name": name, "user": site.name, "password": password, "port": 5432}
    if local and given["over"] == "socket":
        # No host in the URL: every parser takes it, and libpq finds the socket by PGHOST.
        return {**result, "host": POSTGRESQL_SOCKETS, "sslmode": None, "url": f"postgres:///{name}"}
    address = "127.0.0.1" if local else world.hosts[world.tiers["database"][0]].address
    sslmode = None if local else "require"
    query = f"?sslmode={sslmode}" if sslmode else ""
    url = f"postgres://{site.name}:{password}@{address}:5432/{name}{query}"
    return {**result, "host": address, "sslmode": sslmode, "url": url}


def redis_url(site: Site, purpose: str, world: World, host: Host) -> str | None:
    """How a site reaches one of its Redis instances from one server."""
    if site.given[purpose] != "redis":
        return None
    if host.name in world.tiers["cache"]:
        return f"unix:///run/redis-{site.name}-{purpose}/redis.sock"
    number = [(one.name, what) for one, what in caches(world)].index((site.name, purpose))
    server = world.hosts[world.tiers["cache"][0]]
    password = world.secret(f"{site.name}/{purpose}")
    # The certificate is the server's own; the password, not the certificate, proves the peer.
    return f"rediss://:{password}@{server.address}:{REDIS_PORT + number}/0?ssl_cert_reqs=none"


def release_id(site: Site) -> str:
    """The name of a release: its commit, and a hash of everything else that goes into the build."""
    given = site.given
    keys = [
        "project_dir",
        "settings",
        "wsgi",
        "manage",
        "python",
        "dependencies",
        "packages",
        "settings_overlay",
        "files",
        "build",
        "commands",
        "collectstatic",
        "order",
        "shared",
        "directories",
        "static",
        "media",
        "package",
        "database",
        "cache",
    ]
    inputs = {key: given[key] for key in keys}
    text = json.dumps([BUILD, inputs, site.detected], sort_keys=True, default=str)
    commit = site.commit or hashlib.sha256(str(given["package"]).encode()).hexdigest()
    return f"{commit[:12]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def overlay(site: Site) -> bool:
    """Whether the generated settings module is used."""
    wanted = site.given["settings_overlay"]
    if wanted == "auto":
        return not (site.detected or {}).get("database_from_environment", site.kind == "package")
    return bool(wanted)


def seen(site: Site, key: str, default: Any = None) -> Any:
    """What the user gave, else what was detected, else a default."""
    for value in (site.given.get(key), (site.detected or {}).get(key)):
        if value is not None:
            return value
    return default


def static_url(site: Site) -> str:
    """The URL path of the static files."""
    return str(site.given["static"]["url"] or (site.detected or {}).get("static_url") or "/static/")


def media_url(site: Site) -> str:
    """The URL path of uploaded files."""
    found = str(site.given["media"]["url"] or (site.detected or {}).get("media_url") or "/media/")
    return found if found != static_url(site) else "/media/"


def _values(site: Site, world: World, host: Host) -> dict[str, str]:
    """The values of the placeholders."""
    root = f"/srv/{site.name}"
    base = database(site, world, host) or {}
    release = f"{root}/releases/{release_id(site)}"
    values = {f"database.{key}": str(base.get(key) or "") for key in ("engine", "host", "port", "name", "user")}
    given_root = site.given["static"]["root"]
    static = f"{release}/static"
    if given_root and not given_root.startswith("/") and "${" not in given_root:
        static = f"{release}/code/{given_root}"
    elif given_root:
        static = given_root
    values.update(
        {
            "database.password": base.get("password", ""),
            "database.url": base.get("url", ""),
            "cache.url": redis_url(site, "cache", world, host) or "",
            "broker.url": redis_url(site, "broker", world, host) or "",
            "site.name": site.name,
            "site.root": root,
            "site.shared": f"{root}/shared",
            "site.release": release,
            "domain": site.given["domains"][0],
            "domains": ",".join(_hosts(site)),
            "secret_key": world.secret(f"{site.name}/secret_key", site.given["secret_key_version"], 50),
            "static.root": static,
            "static.url": static_url(site),
            "media.root": site.given["media"]["root"] or f"{root}/shared/media",
            "media.url": media_url(site),
        }
    )
    return values


def _hosts(site: Site) -> list[str]:
    """Domains as Django's ALLOWED_HOSTS takes them: ``.example.com`` for a wildcard."""
    return [name[1:] if name.startswith("*.") else name for name in site.given["domains"]]


def _origins(site: Site) -> list[str]:
    """Domains as CSRF_TRUSTED_ORIGINS takes them."""
    return [f"https://[{name}]" if ":" in name else f"https://{name}" for name in site.given["domains"]]


def environment(site: Site, values: Mapping[str, str]) -> dict[str, str]:
    """The 12-factor environment; what the user gives wins."""
    env = {
        "SECRET_KEY": values["secret_key"],
        "DJANGO_SECRET_KEY": values["secret_key"],
        "ALLOWED_HOSTS": values["domains"],
        "DJANGO_ALLOWED_HOSTS": values["domains"],
        "CSRF_TRUSTED_ORIGINS": ",".join(_origins(site)),
        "DOMAIN": values["domain"],
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    if values["database.url"]:
        env["DATABASE_URL"] = values["database.url"]
        if values["database.host"].startswith("/"):
            env["PGHOST"] = values["database.host"]
    if values["cache.url"]:
        env["CACHE_URL"] = env["REDIS_URL"] = values["cache.url"]
    if values["broker.url"]:
        env["BROKER_URL"] = env["CELERY_BROKER_URL"] = values["broker.url"]
    env.update({name: placeholders.fill(text, values) for name, text in site.given["env"].items() if text is not None})
    return env


def _files(site: Site, values: Mapping[str, str]) -> list[dict[str, Any]]:
    result = []
    for one in site.given["files"]:
        text = one["content"] if one["content"] is not None else Path(one["src"]).expanduser().read_text()
        path = placeholders.fill(one["path"], values)
        result.append({"path": path, "content": placeholders.fill(text, values), "mode": one["mode"]})
    return result


def _app_socket(site: Site, world: World, host: Host) -> dict[str, Any]:
    """Where the web process listens: a unix socket, or TCP where a web server is another machine."""
    if not world.others("web", host.name):
        return {"path": f"{SOCKETS}/{site.name}/web.sock", "user": site.name, "group": WEB_GROUP, "mode": "0660"}
    number = [one.name for one in world.live].index(site.name)
    return {"address": f"{host.address}:{APP_PORT + number}"}


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
    values = _values(site, world, host)
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
        "packages": given["packages"],
        "env": environment(site, values),
        "files": _files(site, values),
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
        "allowed_hosts": _hosts(site),
        "trusted_origins": _origins(site),
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
            "read_write_paths": [f"{root}/shared"],
            "run_if": f"{root}/current/release.json",
            "restart_on": [f"{settings}/gunicorn.conf.py", f"{settings}/env", f"{root}/current"],
            "state": "present",
        }
    ]


def gunicorn(site: Site, world: World, host: Host, share_mb: int) -> dict[str, Any]:
    """An item of ``gunicorn_instances``."""
    proxies = [web.address for web in world.others("web", host.name)]
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
        "nginx_sites": [],
        "redis_instances": [],
    }
    if "app" in served:
        plan["os_system_users"] = [
            {"name": site.name, "home": f"/srv/{site.name}", "state": "present"} for site in live
        ]
        plan["python_versions"] = sorted({site.given["python"] for site in live if site.given["python"]})
        plan["os_run_packages"] = sorted({one for site in live for one in site.given["packages"]["run"]})
        plan["gunicorn_instances"] = [gunicorn(site, world, host, share.app // len(live)) for site in live]
        plan["systemd_processes"] = [one for site in live for one in processes(site, world, host)]
        plan["django_app_sites"] = [app_site(site, world, host) for site in world.sites]
    if "web" in served:
        plan["nginx_sites"] = [nginx_site(site, world, host) for site in live]
    if "database" in served:
        plan.update(_postgresql(world, host, share.postgresql))
    if "cache" in served:
        plan["redis_instances"] = _redis(world, host, share.redis)
    return plan
