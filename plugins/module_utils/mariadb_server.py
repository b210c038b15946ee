# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The MariaDB server of a Debian host, asked and changed through its client as root, over the unix socket."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift, mariadb
from ansible_collections.webstack.django.plugins.module_utils.mariadb import MariadbError

CLIENT = "/usr/bin/mariadb"
CHARSET = "utf8mb4"
UNIT = "mariadb.service"
PATIENCE = 60.0  # seconds for a start, which may have to recover first
# Nothing of the statements goes to a log, and backslashes mean what they say.
_QUIET = "SET SESSION sql_mode = '', SESSION slow_query_log = 0, SESSION sql_log_off = 1;\n"


class Server:
    """``actions`` collects what was done, or in check mode would be."""

    def __init__(self, socket: str, collation: str, check_mode: bool) -> None:
        self.socket = socket
        self.collation = collation
        self.check_mode = check_mode
        self.actions: list[str] = []
        self.superusers: list[str] = []  # accounts of others that may have rights on all databases

    def run(self, script: str) -> str:
        """Run a script of SQL from the standard input of the client; raises with the words of the server."""
        argv = [CLIENT, "--no-defaults", "--batch", "--raw", "--user=root", "--protocol=socket"]
        argv += ["--socket=" + self.socket, "--default-character-set=" + CHARSET]
        done = subprocess.run(
            argv,
            input=_QUIET + script,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MYSQL_HISTFILE": "/dev/null"},
        )
        if done.returncode != 0:
            words = re.sub(r"\*[0-9A-F]{40}", "(not shown)", done.stderr)
            lines = [line for line in words.splitlines() if line.startswith("ERROR")]
            raise MariadbError(" ".join(lines) or words.strip())
        return done.stdout

    def rows(self, query: str) -> list[dict[str, str]]:
        """The rows that a query answers, by column."""
        lines = self.run(query.strip() + ";\n").splitlines()
        columns = lines[0].split("\t") if lines else []
        return [dict(zip(columns, line.split("\t"))) for line in lines[1:]]

    def answers(self) -> bool:
        """Whether the server takes connections, waiting for it where it is on its way."""
        if self.check_mode and not os.path.exists(CLIENT):
            return False
        deadline = time.monotonic() + (0.0 if self.check_mode else PATIENCE)
        while True:
            try:
                self.run("SELECT 1;\n")
                return True
            except (MariadbError, FileNotFoundError) as error:
                if self.check_mode:
                    return False
                if time.monotonic() > deadline or "ERROR 1045" in str(error) or "ERROR 1698" in str(error):
                    raise MariadbError(
                        f"{error}; root of this host must be let in over {self.socket}: see journalctl -u mariadb"
                    ) from error
            time.sleep(0.2)

    def _as_started(self) -> None:
        """Settings that were made at run time go with a restart; what they were before, the server does not know."""
        names = [row["name"].lower() for row in self.rows(mariadb.SET_QUERY)]
        if not names:
            return
        differs = [drift.entry(name, "as in its files", "set at run time (SET GLOBAL)") for name in names]
        self.actions.append(drift.Action("restart {} for {}".format(UNIT, ", ".join(names)), *differs))
        if not self.check_mode:
            done = subprocess.run(["systemctl", "restart", UNIT], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise MariadbError(f"systemctl restart {UNIT}: {done.stderr.strip()}; see journalctl -u mariadb")
            self.answers()

    def _state(self) -> dict[str, Any]:
        users = {(row["User"], row["Host"]): json.loads(row["Priv"]) for row in self.rows(mariadb.USERS_QUERY)}
        return {
            "users": users,
            "grants": self.rows(mariadb.GRANTS_QUERY),
            "databases": self.rows(mariadb.DATABASES_QUERY),
        }

    def converge(self, users: list[dict[str, Any]], databases: list[dict[str, Any]]) -> list[str]:
        """Bring accounts and databases into their state; returns what the user should know."""
        if not self.answers():
            nothing: dict[str, Any] = {"users": {}, "grants": [], "databases": []}
            planned = mariadb.plan(users, databases, nothing, CHARSET, self.collation)
            self.actions += [statement.shown for statement in planned.statements]
            return planned.warnings
        self._as_started()
        planned = mariadb.plan(users, databases, self._state(), CHARSET, self.collation, self.superusers)
        self.actions += [statement.shown for statement in planned.statements]
        if self.check_mode or not planned.statements:
            return planned.warnings
        self.run("".join(f"{statement.sql};\n" for statement in planned.statements))
        again = mariadb.plan(users, databases, self._state(), CHARSET, self.collation, self.superusers)
        if again.statements:
            raise MariadbError(f"this does not hold after it was done: {again.statements[0].shown}")
        return again.warnings
