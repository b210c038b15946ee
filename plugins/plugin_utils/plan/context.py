# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sites in their surroundings: how each reaches its database and caches, its paths and its environment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import ENGINES
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host
from ansible_collections.webstack.django.plugins.plugin_utils.secret import derive

BUILD = 1  # raise it when the same inputs give another release (a new settings overlay, for instance)
REDIS_PORT = 6379  # of the first instance, where a cache has a server of its own
MEMCACHED_PORT = 11211  # likewise
# mysqlclient has no wheels: it is built on the server, beside the library that it runs with.
MYSQL_PACKAGES = {"build": ("gcc", "libmariadb-dev", "pkg-config", "python3-dev"), "run": ("libmariadb3",)}
POSTGRESQL_SOCKETS = "/run/postgresql"


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

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for a fact."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Site:
        """From what `as_dict` gave."""
        return cls(**data)


@dataclass(frozen=True)
class World:
    """All that the plan is made from."""

    sites: Sequence[Site]
    tiers: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]
    master: bytes
    tls_email: str = ""
    connections: int = 100  # that PostgreSQL takes: postgresql_max_connections

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


def broker(site: Site) -> str:
    """What queues the tasks of a site: ``redis``, ``none`` or a URL."""
    given = str(site.given["broker"])
    if given != "auto":
        return given
    found = site.detected or {}
    # The layers of Channels forget soon: those of a site with a cache in Redis lie there.
    layers = found.get("channel_layers_redis") and site.given["cache"] != "redis"
    return "redis" if found.get("celery") or layers else "none"


def caches(world: World, kind: str = "redis") -> list[tuple[Site, str]]:
    """The instances of Redis or Memcached of all sites, in a stable order: site and purpose."""
    wanted = [(site, {"cache": site.given["cache"], "broker": broker(site)}) for site in world.live]
    return [(site, purpose) for site, parts in wanted for purpose, part in parts.items() if part == kind]


def endpoint(address: str, port: int) -> str:
    """Address and port, as URLs and servers take them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def database(site: Site, world: World, host: Host) -> dict[str, Any] | None:
    """How a site reaches its database from one server."""
    given = site.given["database"]
    engine = ENGINES.get(given["engine"])
    if engine is None:
        return None
    before = {"switch_from": ENGINES[given["switch_from"]]} if given["switch_from"] else {}
    name = given["name"] or site.name
    if engine == "sqlite3":
        path = f"/srv/{site.name}/shared/database/{given['name'] or 'db'}.sqlite3"
        nobody = {"user": "", "password": "", "host": "", "port": None, "sslmode": None}
        return {"engine": engine, "name": path, **nobody, "url": f"sqlite:///{path}", **before}
    password = world.secret(f"{site.name}/database", given["password_version"])
    local = host.name in world.tiers["database"]
    port, scheme, tls = (
        (5432, "postgres", "sslmode=require") if engine == "postgresql" else (3306, "mysql", "ssl_mode=REQUIRED")
    )
    result = {"engine": engine, "name": name, "user": site.name, "password": password, "port": port, **before}
    if local and given["over"] == "socket":
        if engine == "mysql":
            # For MariaDB's library this name is the unix socket, where the account of the process is the proof.
            return {
                **result,
                "password": "",
                "host": "localhost",
                "sslmode": None,
                "url": f"mysql://{site.name}@localhost/{name}",
            }
        # No host in the URL: every parser takes it, and libpq finds the socket by PGHOST.
        return {**result, "host": POSTGRESQL_SOCKETS, "sslmode": None, "url": f"postgres:///{name}"}
    address = "127.0.0.1" if local else world.hosts[world.tiers["database"][0]].address
    url = f"{scheme}://{site.name}:{password}@{endpoint(address, port)}/{name}"
    return {**result, "host": address, "sslmode": None if local else "require", "url": url if local else f"{url}?{tls}"}


def queue_url(site: Site, world: World, host: Host) -> str | None:
    """How a site reaches its broker from one server."""
    kind = broker(site)
    return kind if "://" in kind else _instance_url(site, "broker", kind, world, host)


def cache_url(site: Site, world: World, host: Host) -> str | None:
    """How a site reaches its cache from one server."""
    return _instance_url(site, "cache", str(site.given["cache"]), world, host)


def _instance_url(site: Site, purpose: str, kind: str, world: World, host: Host) -> str | None:
    """The URL of an instance of Redis or Memcached."""
    if kind == "none":
        return None
    local = host.name in world.tiers["cache"]
    place = f"/run/{kind}-{site.name}-{purpose}"
    server = None if local else world.hosts[world.tiers["cache"][0]]
    number = [(one.name, what) for one, what in caches(world, kind)].index((site.name, purpose))
    if kind == "memcached":
        if local and not world.others("app", host.name):
            return f"memcached://{place}/memcached.sock"
        # With a port it has no socket.
        return f"memcached://{endpoint(server.address if server else '127.0.0.1', MEMCACHED_PORT + number)}"
    password = world.secret(f"{site.name}/{purpose}", site.given["cache_password_version"])
    if server is None:
        # An instance that other servers reach asks for its password on the socket as well.
        login = f":{password}@" if world.others("app", host.name) else ""
        return f"unix://{login}{place}/redis.sock"
    # The certificate is the server's own; the password, not the certificate, proves the peer.
    return f"rediss://:{password}@{endpoint(server.address, REDIS_PORT + number)}/0?ssl_cert_reqs=none"


def release_id(site: Site) -> str:
    """The name of a release: its commit, and a hash of everything else that goes into the build."""
    given = site.given
    keys = """project_dir settings wsgi asgi interface app_server manage python dependencies packages settings_overlay files
    build commands collectstatic order shared directories static media package database cache""".split()
    queue = broker(site).partition("://")[0]  # which library, and not where
    # What only allows a switch, or is the environment's.
    store = {key: one for key, one in given["database"].items() if key not in ("switch_from", "pooler", "pool_size")}
    inputs = {**{key: given[key] for key in keys}, "database": store, "overlay": overlay(site), "broker": queue}
    text = json.dumps([BUILD, inputs, site.detected], sort_keys=True, default=str)
    commit = site.commit or hashlib.sha256(str(given["package"]).encode()).hexdigest()
    return f"{commit[:12]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def overlay(site: Site) -> bool:
    """Whether the generated settings module is used."""
    wanted = site.given["settings_overlay"]
    if wanted != "auto":
        return bool(wanted)
    if site.given["package"]:
        return False
    # A project that reads variables which nobody gives it needs the generated settings all the same.
    given = {"DATABASE_URL", *site.given["env"]}
    return given.isdisjoint((site.detected or {}).get("database_variables", ()))


def seen(site: Site, key: str, default: Any = None) -> Any:
    """What the user gave, else what was detected, else a default."""
    for value in (site.given.get(key), (site.detected or {}).get(key)):
        if value is not None:
            return value
    return default


def packages(site: Site) -> dict[str, list[str]]:
    """Packages of the distribution to build and to run with: what the user gave and what was detected."""
    found = (site.detected or {}).get("packages") or {}
    driver = MYSQL_PACKAGES if ENGINES.get(site.given["database"]["engine"]) == "mysql" else {}
    return {
        kind: sorted({*site.given["packages"][kind], *found.get(kind, ()), *driver.get(kind, ())})
        for kind in ("build", "run")
    }


def interface(site: Site) -> str:
    """``wsgi`` or ``asgi``."""
    given = str(site.given["interface"])
    if given != "auto":
        return given
    found = (site.detected or {}).get("interface")
    if found:
        return str(found)
    return "asgi" if site.given["asgi"] and not site.given["wsgi"] else "wsgi"


def static_url(site: Site) -> str:
    """The URL path of the static files."""
    return str(site.given["static"]["url"] or (site.detected or {}).get("static_url") or "/static/")


def media_url(site: Site) -> str:
    """The URL path of uploaded files."""
    found = str(site.given["media"]["url"] or (site.detected or {}).get("media_url") or "/media/")
    return next(one for one in (found, "/media/", "/uploads/") if one != static_url(site))


def placeholder_values(
    site: Site,
    world: World,
    host: Host,
    reach: Callable[[Site, World, Host], dict[str, Any] | None] = database,
) -> dict[str, str]:
    """The values of the placeholders; ``reach`` says how the database is reached."""
    root = f"/srv/{site.name}"
    base = reach(site, world, host) or {}
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
            "cache.url": cache_url(site, world, host) or "",
            "broker.url": queue_url(site, world, host) or "",
            "site.name": site.name,
            "site.root": root,
            "site.shared": f"{root}/shared",
            "site.release": release,
            "domain": site.given["domains"][0],
            "domains": ",".join(allowed_hosts(site)),
            "secret_key": world.secret(f"{site.name}/secret_key", site.given["secret_key_version"], 50),
            "static.root": static,
            "static.url": static_url(site),
            "media.root": site.given["media"]["root"] or f"{root}/shared/media",
            "media.url": media_url(site),
        }
    )
    return values


def allowed_hosts(site: Site) -> list[str]:
    """Domains as Django's ALLOWED_HOSTS takes them: ``.example.com`` for a wildcard."""
    return [name[1:] if name.startswith("*.") else name for name in site.given["domains"]]


def trusted_origins(site: Site) -> list[str]:
    """Domains as CSRF_TRUSTED_ORIGINS takes them."""
    return [f"https://[{name}]" if ":" in name else f"https://{name}" for name in site.given["domains"]]


def environment(site: Site, values: Mapping[str, str]) -> dict[str, str]:
    """The 12-factor environment; what the user gives wins."""
    env = {
        "SECRET_KEY": values["secret_key"],
        "DJANGO_SECRET_KEY": values["secret_key"],
        "ALLOWED_HOSTS": values["domains"],
        "DJANGO_ALLOWED_HOSTS": values["domains"],
        "CSRF_TRUSTED_ORIGINS": ",".join(trusted_origins(site)),
        "DOMAIN": values["domain"],
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    if values["database.url"]:
        env["DATABASE_URL"] = values["database.url"]
        if values["database.host"].startswith("/"):
            env["PGHOST"] = values["database.host"]
    if values["cache.url"].startswith("memcached:"):
        # django-environ's name of the backend.
        env["CACHE_URL"] = re.sub("^memcached:", "pymemcache:", values["cache.url"])
    elif values["cache.url"]:
        env["REDIS_URL"] = values["cache.url"]
        # Libraries that read CACHE_URL know no unix://; without a host they take redis:// for a socket.
        env["CACHE_URL"] = re.sub(r"^unix:", "redis:", values["cache.url"])
    if values["broker.url"]:
        if values["broker.url"].startswith(("unix:", "redis")):
            env.setdefault("REDIS_URL", values["broker.url"])  # where the cache is something else
        # Celery has a name of its own for the same socket, and its programs read either variable.
        env["CELERY_BROKER_URL"] = env["BROKER_URL"] = re.sub(r"^unix:", "redis+socket:", values["broker.url"])
    env.update({name: placeholders.fill(text, values) for name, text in site.given["env"].items() if text is not None})
    return env


def resolved_files(site: Site, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The files of a site with their text; `inspect.look` has read them before."""
    result = []
    for one in site.given["files"]:
        text = one["content"] if one["content"] is not None else Path(one["src"]).expanduser().read_text("utf-8")
        path = placeholders.fill(one["path"], values)
        result.append({"path": path, "content": placeholders.fill(text, values), "mode": one["mode"]})
    return result
