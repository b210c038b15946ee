# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The processes of a site: its application server, what a Procfile or Celery asks for, and what runs at times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import (
    Site,
    World,
    endpoint,
    interface,
    placeholder_values,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host, workers

APP_PORT = 8001  # of the first site, where the web servers are other machines
WEB_GROUP = "www-data"
SOCKETS = "/run/webstack"
GRACE = 30  # seconds that requests under way get when a web process is stopped
WARM = 300  # seconds that the tasks of a Celery worker get
CONTROL = "/usr/local/sbin/webstack-supervisord"  # of the role supervisord
_CELERY = re.compile(r"\bcelery\b.*\b(worker|beat)\b")
# Two of these would do everything twice.
_ONE_ONLY = re.compile(r"\bcelery\b.*\bbeat\b|\b(rqscheduler|clock\.py|apscheduler)\b")
_ONLY_MIGRATES = re.compile(r"(python[0-9.]*\s+)?(\S*/)?manage\.py\s+(migrate|collectstatic)(\s+-\S+)*")


@dataclass(frozen=True)
class Process:
    """One process of a site beside web."""

    name: str
    command: str
    first: bool  # on the first application server only
    stop_signal: str = "TERM"
    stop_timeout: int = 60
    memory_max_mb: int | None = None
    calendar: str | None = None
    pooler: bool = True  # whether it goes through `database.pooler`


def beside_web(site: Site) -> list[Process]:
    """The processes beside web: detected ones, unless the user says otherwise, then those of the user."""
    given = site.given["processes"]
    wanted: dict[str, Mapping[str, Any]] = {}
    for name, line in _detected(site).items():
        wanted[name] = {"run": line}
    for name, one in given.items():
        if one is None:
            wanted.pop(name, None)
        else:
            wanted[name] = one
    found = []
    for name, one in wanted.items():
        line = one["run"]
        first = bool(_ONE_ONLY.search(line)) if one.get("hosts") is None else one["hosts"] == "first"
        warm = WARM if _CELERY.search(line) else 60
        found.append(
            Process(
                name,
                line,
                first,
                one.get("stop_signal", "TERM"),
                one.get("stop_timeout") or warm,
                one.get("memory_max_mb"),
                pooler=one.get("pooler", True),
            )
        )
    for one in site.given["schedules"]:
        found.append(Process(one["name"], one["run"], one["hosts"] == "first", calendar=one["calendar"], pooler=False))
    return found


def _detected(site: Site) -> dict[str, str]:
    """Lines of the Procfile, and of a Celery app for which it has none."""
    seen = site.detected or {}
    lines = {
        name.lower(): line
        for name, line in (seen.get("processes") or {}).items()
        if name.lower() not in ("web", "release")
    }
    celery = seen.get("celery")
    if celery:
        said = " ".join([*lines.values(), *(one["run"] for one in site.given["processes"].values() if one)])
        kinds = set(_CELERY.findall(said))
        app = f"celery -A {celery['app']}"
        if "worker" not in kinds:
            lines["worker"] = f"{app} worker --loglevel INFO"
        if celery["beat"] and "beat" not in kinds and not re.search(r"\bcelery\b.*\s(-B|--beat)\b", said):
            # Its own file, since the release is read-only; a scheduler of another kind passes over it.
            lines["beat"] = f"{app} beat --loglevel INFO --schedule /srv/{site.name}/shared/celerybeat-schedule"
    return lines


def release_command(site: Site) -> str | None:
    """The ``release:`` line of a Procfile, where it does more than each deployment does anyway."""
    line = (site.detected or {}).get("processes", {}).get("release")
    if not line or ("release" in site.given["processes"] and site.given["processes"]["release"] is None):
        return None
    parts = [part for part in re.split(r"\s*&&\s*", line) if not _ONLY_MIGRATES.fullmatch(part.strip())]
    return " && ".join(parts) or None


def app_socket(site: Site, world: World, host: Host) -> dict[str, Any]:
    """Where the web process listens: a unix socket, or TCP where a web server is another machine."""
    if not world.others("web", host.name):
        return {"path": f"{SOCKETS}/{site.name}/web.sock", "user": site.name, "group": WEB_GROUP, "mode": "0660"}
    number = [one.name for one in world.live].index(site.name)
    return {"address": endpoint(host.address, APP_PORT + number)}


def protocol(site: Site) -> str:
    """What the web process speaks on its socket."""
    return "uwsgi" if site.given["app_server"] == "uwsgi" else "http"


def config_file(site: Site, server: str | None = None) -> str:
    """The configuration of the application server."""
    names = {"gunicorn": "gunicorn.conf.py", "uwsgi": "uwsgi.ini"}
    return f"/etc/webstack/{site.name}/{names[server or site.given['app_server']]}"


def lines(site: Site) -> dict[str, str]:
    """The command line of each process, which a release keeps: another release may have other ones."""
    option = {"gunicorn": "-c", "uwsgi": "--ini"}[site.given["app_server"]]
    web = f"{site.given['app_server']} {option} {config_file(site)}"
    return {"web": web, **{one.name: one.command for one in beside_web(site)}}


def writable(site: Site, values: Mapping[str, str]) -> list[str]:
    """What the processes may write to: the rest of the server is read-only to them."""
    shared = values["site.shared"]
    wanted = [values["media.root"], *(placeholders.fill(one, values) for one in site.given["directories"])]
    absolute = [one if one.startswith("/") else f"{values['site.root']}/current/code/{one}" for one in wanted]
    return [shared, *dict.fromkeys(one for one in absolute if not one.startswith(f"{shared}/"))]


def processes(site: Site, world: World, host: Host) -> list[dict[str, Any]]:
    """The processes of a site on one server, for whichever process manager runs them."""
    root, settings = f"/srv/{site.name}", f"/etc/webstack/{site.name}"
    common: dict[str, Any] = {
        "user": site.name,
        "group": site.name,
        "working_directory": f"{root}/current/project",
        "environment": {},
        "environment_files": [f"{settings}/env", f"{root}/current/env"],
        "reload_signal": None,
        "read_write_paths": writable(site, placeholder_values(site, world, host)),
        "run_if": f"{root}/current/release.json",
        "state": "present",
    }
    found = [
        {
            **common,
            "name": f"{site.name}-web",
            "description": f"{site.name}: web",
            "command": [f"{root}/current/run/web"],
            "socket": app_socket(site, world, host),
            "type": "notify",
            "stop_signal": "TERM",
            "stop_timeout": GRACE + 15,
            "memory_max_mb": site.given["memory_max_mb"],
            "read_write_paths": [
                *common["read_write_paths"],
                # uWSGI makes its socket of statistics there.
                *([f"{SOCKETS}/{site.name}/uwsgi"] if site.given["app_server"] == "uwsgi" else []),
            ],
            "restart_on": [config_file(site), f"{settings}/env", f"{root}/current"],
            "calendar": None,
        }
    ]
    for one in beside_web(site):
        if one.first and host.name != world.tiers["app"][0]:
            continue
        found.append(
            {
                **common,
                "name": f"{site.name}-{one.name}",
                "description": f"{site.name}: {one.name}",
                "command": [f"{root}/current/run/{one.name}"],
                # A process that the next release brings is started with it, and rests in one that lacks it.
                "run_if": f"{root}/current/run/{one.name}",
                "socket": None,
                "type": "exec",
                "stop_signal": one.stop_signal,
                "stop_timeout": one.stop_timeout,
                "memory_max_mb": one.memory_max_mb,
                "restart_on": [] if one.calendar else [f"{settings}/env", f"{root}/current"],
                "calendar": one.calendar,
            }
        )
    return found


def activate(site: Site, world: World, host: Host) -> list[list[str]]:
    """Commands that bring a new release into the processes. Those beside web finish what they are at, unwaited for."""
    found = processes(site, world, host)
    names = [one["name"] for one in found if not one["calendar"]]
    timers = [one["name"] + ".timer" for one in found if one["calendar"]]
    if site.given["process_manager"] == "supervisord":
        begin, suffix = [CONTROL], ""
    else:
        begin, suffix = ["systemctl"], ".service"
    result = [[*begin, "restart", names[0] + suffix]]
    if len(names) > 1:
        result.append([*begin, "--no-block", "restart", *(name + suffix for name in names[1:])])
    if timers and begin == ["systemctl"]:  # cron asks for no start
        result.append([*begin, "--no-block", "start", *timers])
    return result


def threads(site: Site, lite: bool) -> int:
    """Of each process. With one thread uWSGI can drop a connection at the end of a process (docs/alternatives.md)."""
    if site.given["app_server"] == "uwsgi":
        return 4 if lite else 2
    return 4 if lite and interface(site) == "wsgi" else 1


def instance(site: Site, world: World, host: Host, share_mb: int) -> dict[str, Any]:
    """An item of ``gunicorn_instances`` or ``uwsgi_instances``."""
    lite = (
        site.given["database"]["engine"] == "sqlite"
    )  # one writer at a time: threads wait for each other more cheaply
    common = {
        "name": site.name,
        "config_file": config_file(site),
        "group": site.name,
        "workers": site.given["workers"] or (1 if lite else workers(host.cpus, share_mb)),
        "threads": site.given["threads"] or threads(site, lite),
        "timeout": site.given["timeout"],
        "graceful_timeout": GRACE,
        "state": "present",
    }
    if site.given["app_server"] == "uwsgi":
        return {**common, "stats_socket": f"{SOCKETS}/{site.name}/uwsgi/stats.sock", "settings": {}}
    others = world.others("web", host.name)
    # A web server on this machine reaches a TCP port from this machine's own address.
    local = [host] if others and host.name in world.tiers["web"] else []
    proxies = [web.address for web in [*local, *others]]
    return {
        **common,
        "release_file": f"/srv/{site.name}/current/release.json",
        "settings": {"forwarded_allow_ips": ",".join(proxies)} if proxies else {},
    }
