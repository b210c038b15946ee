# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drop the database of a site that is purged, with its role or accounts."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.webstack.django.plugins.module_utils import mariadb_server, postgresql_server, site_parts
from ansible_collections.webstack.django.plugins.module_utils.mariadb import USERS_QUERY

SOCKET = "/run/mysqld/mysqld.sock"


def _port(config: str) -> int:
    found = re.search(r"^port\s*=?\s*'?(\d+)", site_parts.read(config), re.MULTILINE)
    return int(found.group(1)) if found else 5432


def postgresql(role: str, database: str, check_mode: bool) -> tuple[list[str], list[str]]:
    """Drop both in each cluster ``main`` that our role set up; what was done, and what the user should know."""
    actions: list[str] = []
    warnings: list[str] = []
    for config in sorted(glob.glob("/etc/postgresql/*/main/conf.d/webstack.conf")):
        server = postgresql_server.Server(int(config.split("/")[3]), _port(config), None, check_mode)
        if not os.path.exists(server.psql):
            continue
        server.up = server.answers(0.0 if check_mode else postgresql_server.PATIENCE)
        roles = [{"name": role, "state": "absent"}]
        warnings += server.converge(roles, [{"name": database, "state": "absent", "drop": True}])
        actions += server.actions
    return actions, warnings


def mysql(user: str, database: str, check_mode: bool) -> tuple[list[str], list[str]]:
    """Drop a database and all accounts of a user, from whichever host they come."""
    if not os.path.exists(mariadb_server.CLIENT):
        return [], []
    server = mariadb_server.Server(SOCKET, "", check_mode)
    hosts = [row["Host"] for row in server.rows(USERS_QUERY) if row["User"] == user] if server.answers() else []
    users = [{"name": user, "host": host, "state": "absent"} for host in sorted(hosts)]
    warnings = server.converge(users, [{"name": database, "state": "absent", "drop": True}])
    return server.actions, warnings
