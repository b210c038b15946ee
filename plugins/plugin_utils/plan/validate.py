# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what the user wrote to complete, typed sites, or to a list of all mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.calendar_cron import cron
from ansible_collections.webstack.django.plugins.plugin_utils.plan import certificates, domains, placeholders, pooler
from ansible_collections.webstack.django.plugins.plugin_utils.plan.checks import RESERVED_DATABASES
from ansible_collections.webstack.django.plugins.plugin_utils.plan.complete import complete
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import (
    ENGINES,
    RESERVED,
    SITE,
    Error,
    kind_of,
    nearest,
    shown,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Option as _Option
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import GROUPS, TIERS, tiers

LEAST_MB = 256  # of a server
YEAR = 31536000  # seconds
SOURCES = ("repo", "path", "package")
PLAN_VARIABLES = ("django_sites",)
# Variables of servers and of the whole inventory.
OTHER_VARIABLES = (
    "private_address",
    "webstack_ignore_groups",
    "webstack_ignore_variables",
    "webstack_master_key",
    "webstack_memory_mb",
)
# Set by the plan itself.
FACTS = ("webstack_plan", "webstack_selected", "webstack_sites", "webstack_sites_given", "webstack_tiers")
# Names of groups that people use for a tier.
_GROUPS = {
    **dict.fromkeys(("db", "dbs", "postgres", "postgresql", "dbserver", "dbservers"), "database"),
    **dict.fromkeys(("redis", "broker", "brokers"), "cache"),
    **dict.fromkeys(("application", "applications", "django", "appserver", "appservers", "backend", "workers"), "app"),
    **dict.fromkeys(("nginx", "proxy", "frontend", "loadbalancer", "webserver", "webservers"), "web"),
}
_MYSQL_OWN = ("mysql", "sys", "information_schema", "performance_schema")
_WHOLE = _Option("dict", "", keys=SITE)


def sites(raw: Any) -> tuple[list[dict[str, Any]], list[Error]]:
    """Check ``django_sites`` and fill in the defaults; nothing outside the variable is looked at."""
    errors: list[Error] = []
    if raw is None:
        raw = []
    if not isinstance(raw, (list, tuple)):
        return [], [
            Error("", "django_sites", f"must be a list of sites, not {kind_of(raw)}; each begins with `- name:`")
        ]
    result = []
    for number, one in enumerate(raw):
        if isinstance(one, Mapping):
            result.append(_site(one, number, errors))
        else:
            text = f"must be a mapping, not {kind_of(one)} {shown(one)}; a site begins with `- name:`"
            errors.append(
                Error("", f"django_sites[{number}]", text if one is not None else "is empty; remove the line")
            )
    _between(result, errors)
    return result, errors


def _site(raw: Mapping[str, Any], number: int, errors: list[Error]) -> dict[str, Any]:
    label = str(raw.get("name") or f"number {number + 1}")
    if isinstance(raw.get("database"), str):
        raw = {**raw, "database": {"engine": raw["database"]}}
    if isinstance(raw.get("tls"), (str, bool)):
        raw = {**raw, "tls": {"mode": raw["tls"]}}
    if isinstance(raw.get("tls"), Mapping) and raw["tls"].get("mode") is False:
        raw = {**raw, "tls": {**raw["tls"], "mode": "off"}}  # YAML reads `off` so
    site: dict[str, Any] = complete(_WHOLE, dict(raw), label, "", errors)
    name = site["name"]
    if name in RESERVED or name in RESERVED_DATABASES:
        errors.append(Error(label, "name", f"{name!r} is a name that the system uses itself; choose another one"))
    for key in ("domains", "redirect_domains"):
        site[key] = _domains(site, label, key, errors)
    _database(site["database"], label, errors)
    if site["state"] == "present":
        _present(site, label, errors)
    for key, text in _texts(site):
        errors += [Error(label, key, problem) for problem in placeholders.unknown(text)]
    return site


def _database(given: dict[str, Any], label: str, errors: list[Error]) -> None:
    engine, before = given["engine"], given["switch_from"]
    if engine in ENGINES and before in ENGINES and ENGINES[engine] == ENGINES[before]:
        errors.append(Error(label, "database.switch_from", f"is the engine itself ({engine}); remove the line"))
    errors += pooler.mistakes(given, label)
    if given["extensions"] and engine in ENGINES and engine != "postgresql":
        errors.append(Error(label, "database.extensions", f"belong to postgresql; {engine} has none, remove the line"))
    if engine in ("mariadb", "mysql") and given["name"] in _MYSQL_OWN:
        errors.append(
            Error(label, "database.name", f"{given['name']!r} belongs to MariaDB itself; choose another name")
        )


def _domains(site: dict[str, Any], label: str, key: str, errors: list[Error]) -> list[str]:
    found = []
    for number, name in enumerate(site[key] or []):
        if name is None:
            continue
        form, problem = domains.normal(name)
        if problem:
            errors.append(Error(label, f"{key}[{number}]", problem))
        elif form in found:
            errors.append(Error(label, f"{key}[{number}]", f"{name!r} is there twice"))
        found.append(form)
    return found


def _present(site: dict[str, Any], label: str, errors: list[Error]) -> None:
    if not site["domains"]:
        if not any(error.site == label and error.key.startswith("domains") for error in errors):
            errors.append(Error(label, "domains", "is missing; give at least one host name"))
    elif site["domains"][0].startswith("*."):
        errors.append(Error(label, "domains[0]", "the first domain is the canonical one and cannot be a wildcard"))
    given = [key for key in SOURCES if site[key]]
    wrong = any(error.site == label and error.key in SOURCES for error in errors)
    if len(given) > 1:
        errors.append(
            Error(label, given[1], f"{' and '.join(given)} are given; where the code is can be said once only")
        )
    elif not given and not wrong:
        errors.append(Error(label, "repo", "is missing; say where the code is with one of repo, path and package"))
    if site["version"] and given and not site["repo"]:
        errors.append(Error(label, "version", "belongs to a repo; a package's version is written 'name==1.2'"))
    if site["checkout"]["path"] and given and not site["repo"]:
        text = "is the working copy of a repo, and this site has none; remove the line"
        errors.append(Error(label, "checkout.path", text))
    if site["package"]:
        if site["checkout"]["tests"]:
            errors.append(Error(label, "checkout.tests", "belong to a repo or a path; a package has none, remove them"))
        served = "asgi" if site["interface"] == "asgi" or (site["asgi"] and not site["wsgi"]) else "wsgi"
        for key in ("settings", served):
            if not site[key]:
                errors.append(
                    Error(label, key, "is missing; a package's cannot be detected, look in its documentation")
                )
    if not any(error.site == label and error.key.startswith("tls") for error in errors):
        errors += [Error(label, key, text) for key, text in certificates.mistakes(site)]
    _schedules(site, label, errors)
    wrong = any(error.site == label and error.key.startswith("order") for error in errors)
    if not wrong and sorted(site["order"]) != ["collectstatic", "migrate"]:
        errors.append(Error(label, "order", "must name collectstatic and migrate once each"))
    step = site["collectstatic"]
    if not isinstance(step, (bool, str)) or step == "":
        errors.append(Error(label, "collectstatic", f"must be true, false or a management command, not {shown(step)}"))
    if site["static"]["url"] and site["static"]["url"] == site["media"]["url"]:
        errors.append(Error(label, "media.url", "is the same as static.url; give uploaded files a path of their own"))
    if site["hsts_preload"] and not (
        site["hsts_subdomains"] and site["hsts_seconds"] >= YEAR and site["https_redirect"]
    ):
        text = (
            f"needs hsts_subdomains: true, hsts_seconds of at least {YEAR} and https_redirect: true (hstspreload.org)"
        )
        errors.append(Error(label, "hsts_preload", text))
    names = {name.lower(): name for name in site["headers"]}
    errors += [
        Error(label, f"headers.{names[name.lower()]}", "is there twice")
        for name in site["headers"]
        if names[name.lower()] != name
    ]
    for number, one in enumerate(site["files"]):
        wrong = any(error.site == label and error.key.startswith(f"files[{number}].") for error in errors)
        if not wrong and (one["content"] is None) == (one["src"] is None):
            errors.append(Error(label, f"files[{number}]", "give exactly one of content and src"))
        if one["path"] and ".." in one["path"].split("/"):
            errors.append(Error(label, f"files[{number}].path", "must not contain '..'"))


def _schedules(site: dict[str, Any], label: str, errors: list[Error]) -> None:
    names: list[str] = []
    for number, one in enumerate(site["schedules"]):
        if one["name"] in names or one["name"] in site["processes"] or one["name"] == "web":
            text = f"{one['name']!r} is there already; give it a name of its own"
            errors.append(Error(label, f"schedules[{number}].name", text))
        names.append(one["name"])
        if site["process_manager"] == "supervisord" and one["calendar"]:
            try:
                cron(one["calendar"])
            except ValueError as error:
                text = f"{error}; with supervisord cron is what runs it, so say it in another way, or choose systemd"
                errors.append(Error(label, f"schedules[{number}].calendar", text))


def _texts(site: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(f"env.{name}", value) for name, value in (site["env"] or {}).items() if value]
    for number, one in enumerate(site["files"] or []):
        found += [(f"files[{number}].{key}", one[key]) for key in ("path", "content") if one[key]]
    if site["static"].get("root"):
        found.append(("static.root", site["static"]["root"]))
    found += [(f"directories[{number}]", one) for number, one in enumerate(site["directories"]) if one]
    return found


def _between(found: Sequence[dict[str, Any]], errors: list[Error]) -> None:
    """Mistakes that only two sites together make."""
    names: set[str] = set()
    owner: dict[str, str] = {}
    databases: dict[str, str] = {}
    web: tuple[str, str] | None = None
    for site in found:
        name = site["name"]
        if name is None:
            continue
        if name in names:
            errors.append(Error(name, "name", "two sites have this name; names are unique"))
        names.add(name)
        if site["state"] != "present":
            continue
        if site["web_server"]:
            web = web or (name, site["web_server"])
            if web[1] != site["web_server"]:
                text = f"is {site['web_server']!r}, and {web[1]!r} for site {web[0]}; all sites have the same, so say it once"
                errors.append(Error(name, "web_server", text))
        for key in ("domains", "redirect_domains"):
            for domain in site[key]:
                other = owner.setdefault(domain, name)
                if other != name:
                    errors.append(Error(name, key, f"{domain!r} belongs to site {other} already"))
                elif key == "redirect_domains" and domain in site["domains"]:
                    errors.append(
                        Error(name, key, f"{domain!r} is one of the site's domains already; name it in one place")
                    )
        if site["database"]["engine"] == "postgresql":
            database = site["database"]["name"] or name
            other = databases.setdefault(database, name)
            if other != name:
                errors.append(Error(name, "database.name", f"{database!r} is the database of site {other} already"))


def topology(groups: Mapping[str, Sequence[str]], sites: Sequence[Mapping[str, Any]] = ()) -> list[Error]:
    """Groups of servers that cannot serve the sites."""
    everyone = list(groups.get("all", ()))
    errors: list[Error] = []
    if not any(groups.get(tier) for tier in TIERS):
        if sites and everyone and set(everyone) <= set(groups.get("monitoring", ())):
            errors.append(Error("", "group monitoring", "holds every server, so none is left for the sites"))
        return errors
    served = tiers(groups, everyone, "")
    needed = {"app", "web"} if sites else set()
    needed |= {"database" for site in sites if ENGINES.get(site["database"]["engine"], "sqlite3") != "sqlite3"}
    needed |= {"cache" for site in sites if {site["cache"], site["broker"]} & {"redis", "memcached"}}
    for site in sites:
        if site["database"]["engine"] == "sqlite" and len(served["app"]) > 1:
            text = f"is sqlite, a file on one server, and the applications live on {', '.join(served['app'])}; choose postgresql or mariadb"
            errors.append(Error(site["name"], "database.engine", text))
    for tier in TIERS:
        members = served[tier]
        if not members and tier in needed:
            text = "has no server, and no server is without a group; put one into this group"
            errors.append(Error("", f"group {tier}", text))
        if len(members) > 1 and tier in ("database", "cache"):
            text = f"has {len(members)} servers ({', '.join(members)}); this tier lives on one server, so name it in this group"
            errors.append(Error("", f"group {tier}", text))
    return errors


def group_names(groups: Mapping[str, Sequence[str]], ignored: Sequence[str] = ()) -> list[Error]:
    """Groups whose name is nearly that of a tier and that single servers out: they would serve everything instead."""
    errors = []
    everyone = set(groups.get("all", ()))
    for name in sorted(set(groups) - {*GROUPS, "all", "ungrouped", *ignored}):
        members = set(groups[name])
        plain = name.lower().replace("-", "").replace("_", "")
        # A number at the end counts groups of one kind: app1 is a name, not a typo.
        close = difflib.get_close_matches(plain, GROUPS, n=1, cutoff=0.7) if plain.isalpha() else []
        tier = _GROUPS.get(plain) or (close[0] if close else None)
        if tier and members and members < everyone and not members <= set(groups.get(tier, ())):
            text = f"is no tier; did you mean {tier!r}? If it is a group of yours, list it in webstack_ignore_groups."
            errors.append(Error("", f"group {name}", text))
    return errors


def server(name: str, given: Mapping[str, Any]) -> list[Error]:
    """Mistakes in the variables of one server."""
    errors = []
    address, memory = given.get("private_address"), given.get("webstack_memory_mb")
    if address is not None and not (isinstance(address, str) and domains.is_address(address)):
        text = (
            f"must be an IP address by which the other servers reach this one, not {kind_of(address)} {shown(address)}"
        )
        errors.append(Error("", f"private_address of {name}", text))
    number = str(memory)
    if memory is not None and (isinstance(memory, bool) or not number.isdecimal() or int(number) < LEAST_MB):
        text = f"must be a number of MB, at least {LEAST_MB}, not {kind_of(memory)} {shown(memory)}"
        errors.append(Error("", f"webstack_memory_mb of {name}", text))
    wrong = certificates.email_mistake(given.get("tls_email"))
    if wrong:
        errors.append(Error("", "tls_email", wrong))
    return errors


def addresses(world: World) -> list[Error]:
    """Servers of a tier that others have to reach by an address that is not known."""
    errors = []
    members = {name for tier in TIERS for name in world.tiers[tier]}
    supervised = [site for site in world.live if site.given["process_manager"] == "supervisord"]
    for name in world.tiers["app"] if supervised else ():
        if world.others("web", name) and ":" in world.hosts[name].address:
            text = f"is an IPv6 address ({world.hosts[name].address}), on which supervisord cannot listen; give an IPv4 address"
            errors.append(Error(supervised[0].name, f"private_address of {name}", text))
    for name in sorted(members) if len(members) > 1 else ():
        host = world.hosts[name]
        if not host.known:
            text = "is not known, since this run leaves that server out; set it, or run without --limit"
            errors.append(Error("", f"private_address of {name}", text))
        elif not domains.is_address(host.address):
            text = f"is not known ({host.address!r} is no IP address); set it to the address by which the other servers reach it"
            errors.append(Error("", f"private_address of {name}", text))
    return errors


def variables(names: Sequence[str], known: Mapping[str, Iterable[str]], ignored: Sequence[str] = ()) -> list[Error]:
    """Top-level variables with the prefix of a role that the role does not know, and misspelt ones.

    Args:
        names: the names of all variables of a host.
        known: the options of each role.
        ignored: names that the user declares to be their own.
    """
    errors = []
    options = {option for role in known.values() for option in role} | {*PLAN_VARIABLES, *OTHER_VARIABLES, *FACTS}
    for name in sorted(set(names) - options - set(ignored)):
        if name.startswith("ansible_"):
            continue
        role = next((role for role in known if name.startswith(f"{role}_")), None)
        if name.startswith("django_") and role is None:
            role = "django_app"
        close = difflib.get_close_matches(name.lower().replace("-", "_"), sorted(options), n=1, cutoff=0.9)
        if role is not None:
            known_here = [*known.get(role, ()), *(PLAN_VARIABLES if name.startswith("django_") else ())]
            text = f"the role {role} has no such option; {nearest(name, known_here)}"
        elif name.startswith("webstack_"):
            text = f"there is no such variable; {nearest(name, OTHER_VARIABLES)}"
        elif close:
            text = f"there is no such variable; did you mean {close[0]!r}?"
        else:
            continue
        errors.append(Error("", name, f"{text} If it is a variable of yours, list it in webstack_ignore_variables."))
    return errors
