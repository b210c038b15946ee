# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Valid inputs of the plan: hypothesis strategies for sites, servers and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.build import for_host
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, tiers
from hypothesis import assume
from hypothesis import strategies as st

MASTER = b"m" * 40
USERS_SECRET = "hunter2-hunter2"
DETECTED: dict[str, Any] = {
    "project_dir": "",
    "manage": "manage.py",
    "settings": "shop.settings",
    "wsgi": "shop.wsgi:application",
    "tool": "requirements",
    "file": "requirements.txt",
    "packages": {"build": [], "run": []},
    "requires_python": None,
    "static_url": None,
    "media_url": None,
    "database_variables": [],
    "processes": {},
}


def site(name: str = "blog", **more: Any) -> dict[str, Any]:
    """What a user writes, as short as it can be."""
    return {"name": name, "domains": [f"{name}.example.com"], "path": "/nowhere", **more}


def valid(*raw: dict[str, Any]) -> list[Site]:
    """Validated sites with their code looked at."""
    given, errors = validate.sites(list(raw))
    assert [str(error) for error in errors] == []
    return [Site(one, "git", "c" * 40, "/cache/c.tar.gz", DETECTED) for one in given]


@dataclass
class Servers:
    """Servers in groups, as an inventory has them."""

    groups: dict[str, list[str]]
    hosts: dict[str, Host]

    def plans(self, sites: list[Site]) -> dict[str, dict[str, Any]]:
        """``webstack_plan`` of every server."""
        return {name: for_host(name, self.world(sites, name)) for name in self.hosts}

    def world(self, sites: list[Site], name: str) -> World:
        """As one server sees it."""
        return World(sites, tiers(self.groups, list(self.hosts), name), self.hosts, MASTER)


def servers(groups: dict[str, list[str]] | None = None, count: int = 1, memory: int = 2048, cpus: int = 2) -> Servers:
    """Servers h1, h2 ... with the addresses 10.0.0.1, 10.0.0.2 ..."""
    names = [f"h{number}" for number in range(1, count + 1)]
    hosts = {name: Host(name, f"10.0.0.{name[1:]}", memory, cpus, "3.11", "Debian 12") for name in names}
    return Servers({"all": names, **(groups or {})}, hosts)


_SECONDS = st.integers(1, 86400)
_SMALL = st.fixed_dictionaries(
    {},
    optional={
        "cache": st.sampled_from(["redis", "memcached", "none"]),
        "broker": st.sampled_from(["auto", "redis", "none", f"amqp://me:{USERS_SECRET}@mq.example.com/x"]),
        "app_server": st.sampled_from(["gunicorn", "uwsgi"]),
        "process_manager": st.sampled_from(["systemd", "supervisord"]),
        "processes": st.sampled_from(
            [{}, {"clock": "python clock.py"}, {"a": {"run": "x", "stop_timeout": 9}, "b": None}]
        ),
        "schedules": st.sampled_from([[], [{"name": "night", "calendar": "daily", "run": "python manage.py x"}]]),
        "database": st.one_of(
            st.sampled_from(["postgresql", "mariadb", "sqlite", "none"]),
            st.fixed_dictionaries(
                {},
                optional={
                    "engine": st.sampled_from(["postgresql", "none"]),
                    "switch_from": st.sampled_from([None, "sqlite"]),
                    "over": st.sampled_from(["socket", "tcp"]),
                    "extensions": st.lists(st.sampled_from(["pg_trgm", "unaccent"]), unique=True),
                    "password_version": st.integers(1, 9),
                },
            ),
            st.fixed_dictionaries(
                {"pooler": st.just("pgbouncer")},
                optional={"over": st.sampled_from(["socket", "tcp"]), "pool_size": st.integers(1, 9)},
            ),
        ),
        "env": st.dictionaries(
            st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True),
            st.one_of(
                st.booleans(),
                st.integers(),
                st.none(),
                st.sampled_from(
                    ["", "${database.password}", "$${x}", "a ${domain} ${secret_key}", USERS_SECRET, "ü 'x'"]
                ),
            ),
            max_size=3,
        ),
        "files": st.just([{"path": "local.py", "content": f"KEY = '{USERS_SECRET}'\nURL = '${{database.url}}'\n"}]),
        "workers": st.one_of(st.none(), st.integers(1, 9)),
        "threads": st.integers(1, 4),
        "timeout": _SECONDS,
        "migrate": st.booleans(),
        "settings_overlay": st.sampled_from(["auto", True, False]),
        "collectstatic": st.sampled_from([True, False, "build_assets"]),
        "order": st.permutations(["collectstatic", "migrate"]),
        "static": st.sampled_from([None, {"url": "/media/"}, {"root": "assets"}, {"root": "${site.shared}/x"}]),
        "media": st.sampled_from([None, {"url": "/static/"}, {"url": "/m/"}, {"root": "/var/lib/media"}]),
        "shared": st.lists(st.sampled_from(["data", "keys.json"]), unique=True),
        "directories": st.lists(st.sampled_from(["${site.shared}/q", "/var/lib/q", "tmp"]), unique=True),
        "python": st.sampled_from([None, "3.12", "3.13"]),
        "hsts_seconds": st.integers(0, 63072000),
        "hsts_subdomains": st.booleans(),
        "headers": st.sampled_from([{}, {"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": None}]),
        "secret_key_version": st.integers(1, 3),
        "cache_password_version": st.integers(1, 3),
        "state": st.sampled_from(["present", "present", "present", "absent"]),
    },
)
_NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True), min_size=1, max_size=4, unique=True)


@st.composite
def sites(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Valid ``django_sites``."""
    found = []
    web = draw(st.sampled_from([{}, {"web_server": "apache"}]))
    for number, name in enumerate(draw(_NAMES)):
        assume(name not in validate.RESERVED and name not in validate.RESERVED_DATABASES and not name.startswith("pg_"))
        host = f"s{number}.example.com"
        domains = draw(
            st.sampled_from([[host], [host.upper() + "."], [f"bücher.{host}"], [host, f"*.{host}", f"10.1.1.{number}"]])
        )
        redirect = draw(st.sampled_from([[], [f"www.{host}"]]))
        source = draw(
            st.sampled_from(
                [{"path": "/nowhere"}, {"repo": "https://me:hunter2-hunter2@git.example.com/x.git", "version": "v1.0"}]
            )
        )
        found.append({"name": name, "domains": domains, "redirect_domains": redirect, **source, **web, **draw(_SMALL)})
    return found


@st.composite
def topologies(draw: st.DrawFn) -> Servers:
    """One server, several that are each complete, or tiers on servers of their own or together."""
    count = draw(st.integers(1, 6))
    memory = draw(st.sampled_from([512, 1024, 2048, 8192, 65536]))
    found = servers(None, count, memory, draw(st.integers(1, 16)))
    names = list(found.hosts)
    for tier in draw(st.lists(st.sampled_from(["database", "cache", "app", "web"]), unique=True)):
        most = 1 if tier in ("database", "cache") else 3
        found.groups[tier] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True))
    full = {"database": {"engine": "postgresql"}, "cache": "redis", "broker": "none"}
    assume(validate.topology(found.groups, [full]) == [])
    return found
