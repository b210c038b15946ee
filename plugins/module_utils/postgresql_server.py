# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL cluster of a Debian host, asked and changed through psql as the superuser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import drift, postgresql, postgresql_undeclared
from ansible_collections.webstack.django.plugins.module_utils.postgresql import PostgresqlError, Statement, literal

SOCKETS = "/var/run/postgresql"
SUPERUSER = "postgres"
PATIENCE = 60.0  # seconds for a start, which may have to recover first

# Entries of our drop-in with the entry that wins in the order in which the server reads them, and what waits.
SETTINGS_QUERY = """
SELECT json_build_object(
  'loaded', extract(epoch FROM pg_conf_load_time()),
  'read', (SELECT count(*) FROM pg_file_settings WHERE sourcefile = {config}),
  'errors', (SELECT coalesce(json_agg(format('%s line %s: %s: %s', f.sourcefile, f.sourceline, f.name, f.error)), '[]')
             FROM pg_file_settings f LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
             WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster'),
  'won', (SELECT coalesce(json_agg(json_build_array(w.name, w.sourcefile, w.sourceline)), '[]')
          FROM (SELECT DISTINCT ON (lower(name)) name, sourcefile, sourceline FROM pg_file_settings
                WHERE lower(name) IN (SELECT lower(name) FROM pg_file_settings WHERE sourcefile = {config})
                ORDER BY lower(name), seqno DESC) w
          WHERE w.sourcefile <> {config}),
  'automatic', (SELECT coalesce(json_agg(DISTINCT f.name), '[]') FROM pg_file_settings f
                JOIN pg_settings s ON lower(s.name) = lower(f.name)
                WHERE f.sourcefile LIKE '%/postgresql.auto.conf' AND f.name !~ {standby}),
  'pending', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings
              WHERE pending_restart AND lower(name) IN
                (SELECT lower(name) FROM pg_file_settings WHERE sourcefile = {config}))
)
"""
# What makes a standby of a server is written there by pg_basebackup.
_STANDBY = "^(primary_|restore_command|recovery_|archive_cleanup)"


class Server:
    """One cluster. ``actions`` collects what was done, or in check mode would be."""

    def __init__(self, version: int, port: int, config: str | None, check_mode: bool) -> None:
        self.version = version
        self.port = port
        self.etc = f"/etc/postgresql/{version}/main"
        self.config = config or self.etc + "/conf.d/webstack.conf"
        self.psql = f"/usr/lib/postgresql/{version}/bin/psql"
        self.check_mode = check_mode
        self.actions: list[str] = []
        self.overridden: list[str] = []
        self.superusers: list[str] = []  # roles of others that may be powerful
        self.kept: list[str] = []  # settings that others may make in the catalogue, and with ALTER SYSTEM
        self.up = False

    # Talking to it ---------------------------------------------------------------------------------

    def run(self, script: str, database: str = postgresql.SYSTEM_DATABASE) -> str:
        """Run a script of SQL from the standard input of psql; raises with the words of the server."""
        argv = [self.psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", SOCKETS, "-p", str(self.port), "-d", database]
        done = subprocess.run(
            argv,
            input=script,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=SUPERUSER,
            group=SUPERUSER,
            extra_groups=[],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGAPPNAME": "webstack", "PGCLIENTENCODING": "UTF8"},
        )
        if done.returncode != 0:
            words = re.sub(r"SCRAM-SHA-256\$[^'\s]*", "(not shown)", done.stderr.strip())
            raise PostgresqlError(words.replace("psql:<stdin>:", "SQL line "))
        return done.stdout

    def ask(self, query: str, database: str = postgresql.SYSTEM_DATABASE) -> Any:
        """The JSON that a query answers."""
        return json.loads(self.run(query + ";\n", database))

    def answers(self, patience: float) -> bool:
        """Whether the server takes connections, waiting for it where it is on its way."""
        deadline = time.monotonic() + patience
        while True:
            try:
                self.run("SELECT 1;\n")
                return True
            except PostgresqlError as error:
                if time.monotonic() > deadline:
                    if self.check_mode:
                        return False
                    raise PostgresqlError(f"{error}\n{self._log()}") from error
            time.sleep(0.2)

    def _log(self) -> str:
        path = f"/var/log/postgresql/postgresql-{self.version}-main.log"
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            return "The end of {}:\n{}".format(path, "".join(file.readlines()[-10:]))
        return f"See journalctl -u postgresql@{self.version}-main"

    # Its configuration -----------------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(SETTINGS_QUERY.format(config=literal(self.config), standby=literal(_STANDBY)))
        return found

    def _newest(self) -> float:
        """When its files last changed (of the inode: a rename puts an old file in place)."""
        latest = 0.0
        for directory, _directories, files in os.walk(self.etc):
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    latest = max(latest, os.lstat(os.path.join(directory, name)).st_ctime)
        return latest

    def load_configuration(self) -> None:
        """Make the running server use what is in its files."""
        if self.check_mode and not (os.path.exists(self.psql) and os.path.exists(self.etc)):
            return
        self.up = self.answers(0.0 if self.check_mode else PATIENCE)
        if not self.up:
            return
        settings = self._settings()
        automatic = {name: file for name, file, _line in settings["won"] if file.endswith("/postgresql.auto.conf")}
        reset = [
            *automatic,
            *(name for name in settings["automatic"] if name not in automatic and name not in self.kept),
        ]
        for name in reset:
            sql = f"ALTER SYSTEM RESET {name}"
            since = drift.changed(automatic[name]) if name in automatic else None
            wanted = f"as in {self.config}" if name in automatic else "not set"
            differs = drift.entry(name, wanted, "set by ALTER SYSTEM", since)
            self.actions.append(drift.Action(sql, differs))
            if not self.check_mode:
                self.run(sql + ";\n")
        newest = self._newest()
        if reset or newest > float(settings["loaded"]):
            unit = f"postgresql@{self.version}-main.service"
            old = drift.entry(unit, f"runs with the files in {self.etc}", "has read older ones (reload is due)", newest)
            self.actions.append(drift.Action("reload", *[old] * (not reset)))
            if not self.check_mode:
                settings = self._reload(float(settings["loaded"]))
        if settings["errors"] and self.check_mode:  # of files that are about to be put back; a check looks at the rest
            differs = drift.entry(self.etc, "taken by the server", "; ".join(settings["errors"]))
            self.actions.append(drift.Action("load the configuration", differs))
        elif settings["errors"]:
            raise PostgresqlError("does not take its configuration:\n{}".format("\n".join(settings["errors"])))
        if os.path.exists(self.config) and not settings["read"] and not self.check_mode:
            raise PostgresqlError(
                f"{self.etc}/postgresql.conf does not read {self.config}; put the line include_dir = 'conf.d' "
                "at its end and run again"
            )
        if settings["pending"]:
            waiting = [
                drift.entry(name, f"as in {self.config}", "another value since the start (restart is due)")
                for name in settings["pending"]
            ]
            self.actions.append(drift.Action("restart for {}".format(", ".join(settings["pending"])), *waiting))
            if not self.check_mode:
                self._restart()
                settings = self._settings()
        self.overridden = [f"{name} in {file} line {line}" for name, file, line in settings["won"] if name not in reset]

    def _reload(self, loaded: float) -> dict[str, Any]:
        self.run("SELECT pg_reload_conf();\n")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            settings = self._settings()
            if float(settings["loaded"]) > loaded:
                return settings
            time.sleep(0.1)
        settings = self._settings()
        if settings["errors"]:
            raise PostgresqlError("does not take its configuration:\n{}".format("\n".join(settings["errors"])))
        raise PostgresqlError(f"does not reload its configuration\n{self._log()}")

    def _restart(self) -> None:
        unit = f"postgresql@{self.version}-main.service"
        done = subprocess.run(["systemctl", "restart", unit], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PostgresqlError(f"systemctl restart {unit}: {done.stderr.strip()}\n{self._log()}")
        self.answers(PATIENCE)

    # Roles and databases ---------------------------------------------------------------------------

    def _inside(self, names: list[str], owners: dict[str, str]) -> dict[str, Any]:
        """What is inside each of these databases, with one psql for all."""
        script = "".join(
            f"\\connect {name}\n{postgresql.DATABASE_QUERY.format(owner=literal(owners[name]))};\n" for name in names
        )
        lines = self.run(script).splitlines() if names else []
        answers = [json.loads(line) for line in lines if line.strip()]
        return {answer["name"]: answer for answer in answers}

    def _plan(self, roles: list[dict[str, Any]], databases: list[dict[str, Any]]) -> postgresql.Plan:
        if not self.up and os.path.exists(f"/var/lib/postgresql/{self.version}/main/PG_VERSION"):
            return postgresql.Plan([], ["the server does not answer, so its roles and databases were not looked at"])
        if not self.up:
            nothing: dict[str, Any] = {"roles": [], "databases": [], "depends": []}
            return postgresql.plan(roles, databases, nothing, {})
        state = self.ask(postgresql.CLUSTER_QUERY)
        known = {database["name"] for database in state["databases"] if database["open"]}
        role_names = {role["name"] for role in state["roles"]}
        owners = {item["name"]: item["owner"] for item in databases if item["state"] == "present"}
        look = [name for name, owner in owners.items() if name in known and owner in role_names]
        found = postgresql.plan(roles, databases, state, self._inside(look, owners))
        more = postgresql_undeclared.statements(roles, databases, state, self.superusers, self.kept)
        return postgresql.Plan(found.statements + more, found.warnings)

    def converge(self, roles: list[dict[str, Any]], databases: list[dict[str, Any]]) -> list[str]:
        """Bring roles and databases into their state; returns what the user should know."""
        plan = self._plan(roles, databases)
        if self.check_mode:
            self.actions += [statement.shown for statement in plan.statements]
            return plan.warnings
        for _round in range(3):  # what is inside a new database shows only after it was made
            if not plan.statements:
                return plan.warnings
            self._apply(plan.statements)
            plan = self._plan(roles, databases)
        if plan.statements:
            raise PostgresqlError(f"this does not hold after it was done: {plan.statements[0].shown}")
        return plan.warnings

    def _apply(self, statements: list[Statement]) -> None:
        """Run statements in order, those of one database in one session that logs nothing of them."""
        quiet = (
            "SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';\n"
            "SET pg_stat_statements.track = 'none';\n"
        )
        groups: list[list[Statement]] = []
        for statement in statements:
            if not groups or groups[-1][0].database != statement.database:
                groups.append([])
            groups[-1].append(statement)
        for group in groups:
            self.run(quiet + "".join(f"{statement.sql};\n" for statement in group), group[0].database)
            self.actions += [statement.shown for statement in group]
