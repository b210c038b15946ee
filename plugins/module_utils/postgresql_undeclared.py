# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nobody declared of a PostgreSQL cluster: powerful roles, and settings that only the catalogue knows.

Pure functions like those of ``postgresql``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.postgresql import SYSTEM_DATABASE, Statement, identifier

_POWERS = "NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_POWERFUL = "may be superuser, make roles, replicate or see past row security"


def statements(
    roles: list[dict[str, Any]],
    databases: list[dict[str, Any]],
    state: dict[str, Any],
    superusers: Iterable[str] = (),
    settings: Iterable[str] = (),
) -> list[Statement]:
    """What takes it away.

    Args:
        roles: declared roles.
        databases: declared databases.
        state: the answer to CLUSTER_QUERY.
        superusers: roles of others that may be powerful.
        settings: names of settings that may be made with ALTER ROLE and ALTER DATABASE.
    """
    return _powerful(roles, state, set(superusers)) + _settings(roles, databases, state, set(settings))


def _powerful(roles: list[dict[str, Any]], state: dict[str, Any], kept: set[str]) -> list[Statement]:
    """A role that nobody declared loses its powers and cannot log in; it stays, with what is its own."""
    declared = {item["name"] for item in roles}
    found = []
    for name in state.get("powerful") or []:
        if name in declared or name in kept:
            continue
        sql = f"ALTER ROLE {identifier(name)} {_POWERS} NOLOGIN"
        entry = drift.entry(f"role {name}", "no powers and no log-in", _POWERFUL)
        found.append(Statement(SYSTEM_DATABASE, sql, drift.Action(sql, entry)))
    return found


def _settings(
    roles: list[dict[str, Any]], databases: list[dict[str, Any]], state: dict[str, Any], kept: set[str]
) -> list[Statement]:
    """Settings of a declared role or database that every connection would begin with."""
    ours = {item["name"] for item in roles if item["state"] == "present"}
    known = {item["name"] for item in databases if item["state"] == "present"}
    found = []
    for database, role, names in state.get("settings") or []:
        if role is None and database in known:
            start, thing = f"ALTER DATABASE {identifier(database)}", f"database {database}"
        elif role in ours and database is None:
            start, thing = f"ALTER ROLE {identifier(role)}", f"role {role}"
        elif (role in ours and database is not None) or (role is not None and database in known):
            start = f"ALTER ROLE {identifier(role)} IN DATABASE {identifier(database)}"
            thing = f"role {role} in the database {database}"
        else:
            continue
        for name in names or []:
            if name not in kept:
                sql = f"{start} RESET {name if name.isidentifier() else identifier(name)}"
                entry = drift.entry(f"{thing}: {name}", "not set", "set for every connection")
                found.append(Statement(SYSTEM_DATABASE, sql, drift.Action(sql, entry)))
    return found
