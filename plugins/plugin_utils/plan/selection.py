# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sites that one run is about: ``-e site=blog -e version=v1.2``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.complete import complete
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import SITE, Error, kind_of, shown

SITE_FLAG = "-e site"
VERSION_FLAG = "-e version"


def names(value: Any) -> tuple[list[str], list[Error]]:
    """The names in a list or in a text with commas."""
    if isinstance(value, str):
        value = value.split(",")
    elif not isinstance(value, (list, tuple)):
        return [], [Error("", SITE_FLAG, f"must name sites, like blog,shop, not {kind_of(value)} {shown(value)}")]
    found = list(dict.fromkeys(str(one).strip() for one in value if str(one).strip()))
    if value and not found:
        # A variable of the shell that is not set must not mean all sites.
        return [], [Error("", SITE_FLAG, "is empty; name a site, or leave it out for all of them")]
    return found, []


def select(
    sites: Sequence[dict[str, Any]], wanted: Any, *, absent: bool = False
) -> tuple[list[dict[str, Any]], list[Error]]:
    """The sites that are named; all that are to be there if none is.

    Args:
        sites: validated ones.
        wanted: a list of names, or a text with commas.
        absent: whether sites with ``state: absent`` may be named.
    """
    chosen, errors = names(wanted)
    known = {site["name"]: site for site in sites if site["name"]}
    for name in chosen:
        if name not in known:
            close = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(sorted(known)) or 'none at all'}"
            errors.append(Error("", SITE_FLAG, f"there is no site {name!r}; {hint}"))
        elif known[name]["state"] == "absent" and not absent:
            text = "is absent here; the playbook site takes it off the servers (or remove, it alone)"
            errors.append(Error(name, "state", text))
    if errors:
        return [], errors
    if chosen:
        return [known[name] for name in chosen], []
    return [site for site in known.values() if site["state"] == "present"], []


def override(selected: Sequence[dict[str, Any]], version: Any) -> list[Error]:
    """Give the one selected site another version, in place."""
    if version in (None, ""):
        return []
    if len(selected) != 1:
        found = ", ".join(str(site["name"]) for site in selected) or "none"
        text = f"belongs to one site, and this run is about {found}; name it with {SITE_FLAG}=NAME"
        return [Error("", VERSION_FLAG, text)]
    site = selected[0]
    errors: list[Error] = []
    value = complete(SITE["version"], version, site["name"], VERSION_FLAG, errors)
    if site["package"]:
        text = "is a package's, and that is written in `package`, like 'name==1.2'; change it there"
        errors.append(Error(site["name"], VERSION_FLAG, text))
    elif not site["repo"]:
        text = "belongs to a repo, and this site's code is a `path`, which is deployed as it is; leave it out"
        errors.append(Error(site["name"], VERSION_FLAG, text))
    if not errors:
        site["version"] = value
    return errors
