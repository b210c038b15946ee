# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From what the user wrote to complete, typed sites, or to a list of all mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan import domains, placeholders
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import (
    RESERVED,
    SITE,
    Error,
    complete,
    kind_of,
    nearest,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Option as _Option
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import TIERS, tiers

SOURCES = ("repo", "path", "package")
PLAN_VARIABLES = ("django_sites",)
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
    result = [_site(one, number, errors) for number, one in enumerate(raw)]
    _between(result, errors)
    return result, errors


def _label(raw: Any, number: int) -> str:
    name = raw.get("name") if isinstance(raw, Mapping) else None
    return str(name) if name else f"number {number + 1}"


def _site(raw: Any, number: int, errors: list[Error]) -> dict[str, Any]:
    label = _label(raw, number)
    if isinstance(raw, Mapping) and isinstance(raw.get("database"), str):
        raw = {**raw, "database": {"engine": raw["database"]}}
    site: dict[str, Any] = complete(_WHOLE, dict(raw) if isinstance(raw, Mapping) else raw, label, "", errors)
    if site["name"] in RESERVED:
        errors.append(Error(label, "name", f"{site['name']!r} is an account of the system; choose another name"))
    for key in ("domains", "redirect_domains"):
        site[key] = _domains(site, label, key, errors)
    if site["state"] == "present":
        _present(site, label, errors)
    for key, text in _texts(site):
        errors += [Error(label, key, problem) for problem in placeholders.unknown(text)]
    return site


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
        if not any(error.site == label and error.key == "domains" for error in errors):
            errors.append(Error(label, "domains", "is missing; give at least one host name"))
    elif site["domains"][0].startswith("*."):
        errors.append(Error(label, "domains[0]", "the first domain is the canonical one and cannot be a wildcard"))
    given = [key for key in SOURCES if site[key]]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        errors.append(Error(label, "repo", f"give exactly one of repo, path and package; found {found}"))
    if site["version"] and not site["repo"]:
        errors.append(Error(label, "version", "belongs to a repo; a package's version is written 'name==1.2'"))
    if site["package"]:
        for key in ("settings", "wsgi"):
            if not site[key]:
                errors.append(
                    Error(label, key, "is missing; a package's cannot be detected, look in its documentation")
                )
    if sorted(site["order"]) != ["collectstatic", "migrate"]:
        errors.append(Error(label, "order", "must name collectstatic and migrate once each"))
    if site["collectstatic"] not in (True, False) and not isinstance(site["collectstatic"], str):
        errors.append(Error(label, "collectstatic", "must be true, false or a management command"))
    for number, one in enumerate(site["files"]):
        if (one["content"] is None) == (one["src"] is None):
            errors.append(Error(label, f"files[{number}]", "give exactly one of content and src"))
        if one["path"] and ".." in one["path"].split("/"):
            errors.append(Error(label, f"files[{number}].path", "must not contain '..'"))


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
    units: dict[str, str] = {}
    for site in found:
        name = site["name"]
        if name is None:
            continue
        if name in names:
            errors.append(Error(name, "name", "two sites have this name; names are unique"))
        names.add(name)
        if site["state"] != "present":
            continue
        for key in ("domains", "redirect_domains"):
            for domain in site[key]:
                other = owner.setdefault(domain, name)
                if other != name or (key == "redirect_domains" and domain in site["domains"]):
                    errors.append(Error(name, key, f"{domain!r} belongs to site {other} already"))
        if site["database"]["engine"] == "postgresql":
            database = site["database"]["name"] or name
            other = databases.setdefault(database, name)
            if other != name:
                errors.append(Error(name, "database.name", f"{database!r} is the database of site {other} already"))
        other = units.setdefault(f"{name}-web", name)
        if other != name:
            errors.append(Error(name, "name", f"its units would have the names of site {other}'s"))


def topology(groups: Mapping[str, Sequence[str]], sites: Sequence[Mapping[str, Any]] = ()) -> list[Error]:
    """Groups of servers that cannot serve the sites."""
    errors: list[Error] = []
    if not any(groups.get(tier) for tier in TIERS):
        return errors
    served = tiers(groups, list(groups.get("all", ())), "")
    needed = {"app", "web"} if sites else set()
    needed |= {"database" for site in sites if site["database"]["engine"] == "postgresql"}
    needed |= {"cache" for site in sites if "redis" in (site["cache"], site["broker"])}
    for tier in TIERS:
        members = served[tier]
        if not members and tier in needed:
            text = "has no server, and no server is without a group; put one into this group"
            errors.append(Error("", f"group {tier}", text))
        if len(members) > 1 and tier in ("database", "cache"):
            text = f"has {len(members)} servers ({', '.join(members)}); this tier lives on one server, so name it in this group"
            errors.append(Error("", f"group {tier}", text))
    return errors


def variables(names: Sequence[str], known: Mapping[str, Sequence[str]], ignored: Sequence[str] = ()) -> list[Error]:
    """Top-level variables with the prefix of a role that the role does not know.

    Args:
        names: the names of all variables of a host.
        known: the options of each role.
        ignored: names that the user declares to be their own.
    """
    errors = []
    options = {option for role in known.values() for option in role} | set(PLAN_VARIABLES)
    for name in sorted(set(names) - options - set(ignored)):
        role = next((role for role in known if name.startswith(f"{role}_")), None)
        if name.startswith("django_") and role is None:
            role = "django_app"
        if role is not None:
            known_here = [*known.get(role, ()), *(PLAN_VARIABLES if name.startswith("django_") else ())]
            text = f"the role {role} has no such option; {nearest(name, known_here)}"
            errors.append(
                Error("", name, f"{text} If it is a variable of yours, list it in webstack_ignore_variables.")
            )
    return errors
