# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SQL brings accounts and databases of MariaDB from the state they are in to the declared one.

Pure functions: the declared state and what the server says of itself go in, statements come out. Check
mode shows the statements, apply runs them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils import drift

NAME = re.compile(r"^[a-z_][a-z0-9_-]{0,62}$")
HOST = re.compile(r"^[A-Za-z0-9.:%_/-]{1,255}$")
ROOT = ("root", "localhost")
TEST = "test"
# What the state is read from; each answer has its columns in its first line.
USERS_QUERY = "SELECT User, Host, Priv FROM mysql.global_priv"
GRANTS_QUERY = "SELECT * FROM mysql.db"
DATABASES_QUERY = """
SELECT SCHEMA_NAME AS name, DEFAULT_CHARACTER_SET_NAME AS charset,
       (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = SCHEMA_NAME) AS tables
FROM information_schema.SCHEMATA
"""
# Settings of the running server that somebody made with SET GLOBAL.
SET_QUERY = "SELECT VARIABLE_NAME AS name FROM information_schema.SYSTEM_VARIABLES WHERE GLOBAL_VALUE_ORIGIN = 'SQL'"
# Rights on all databases with which an account can change them, files or other accounts; bits of sql/privilege.h:
# INSERT, UPDATE, DELETE, CREATE, DROP, FILE, GRANT, ALTER, SUPER, CREATE USER. Those that look (SELECT, PROCESS) are not among them.
_POWERFUL = sum(1 << bit for bit in (1, 2, 3, 4, 5, 9, 10, 13, 15, 25))
_SYSTEM = ("root", "mysql", "mariadb.sys")
_SSL_NONE, _SSL_ANY = 0, 1  # enum SSL_type of the server: sql/violite.h
_GRANTING = "Grant_priv"


class Statement(NamedTuple):
    """One SQL statement, and how it may be shown; a ``drift.Action`` knows what differs."""

    sql: str
    shown: str


class Plan(NamedTuple):
    """Statements to run in order, and what the user should know."""

    statements: list[Statement]
    warnings: list[str]


class MariadbError(Exception):
    """What is wrong with what is declared, in words for the user."""


def _plain(sql: str, thing: str, expected: str, found: str) -> Statement:
    """A statement that may be shown, with what it is for."""
    return Statement(sql, drift.Action(sql, drift.entry(thing, expected, found)))


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`{}`".format(name.replace("`", "``"))


def account(name: str, host: str) -> str:
    """A quoted account."""
    quoted = ["'{}'".format(part.replace("\\", "\\\\").replace("'", "''")) for part in (name, host)]
    return "@".join(quoted)


def pattern(database: str) -> str:
    """The name of one database where GRANT takes a pattern."""
    return re.sub(r"([_%\\])", r"\\\1", database)


def native_hash(password: str) -> str:
    """What mysql_native_password stores of a password."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def validate(users: list[dict[str, Any]], databases: list[dict[str, Any]]) -> None:
    """Refuse names that would need quoting elsewhere, names given twice, and accounts nobody could use safely."""
    seen: set[tuple[str, str]] = set()
    for option, items in (("users", users), ("databases", databases)):
        for item in items:
            name, host = item["name"], item.get("host", "")
            if not NAME.match(name):
                raise MariadbError(
                    f"{option}: {name!r} is no name for it; use a-z, 0-9, _ and -, beginning with a letter, at most 63"
                )
            if option == "users" and not HOST.match(host):
                raise MariadbError(f"users: {name}: {host!r} is no host; give an address, like 10.0.0.2")
            if (option + name, host) in seen:
                raise MariadbError(f"{option}: {name}{'@' * bool(host)}{host} is listed twice; give each once")
            seen.add((option + name, host))
            if option == "users" and item["state"] == "present" and item["auth"] == "password" and not item["password"]:
                raise MariadbError(f"users: {name}@{host} has no password; set it, or auth: socket")


# Accounts ----------------------------------------------------------------------------------------


def _identified(item: dict[str, Any]) -> tuple[str, str]:
    """The plugin and what it keeps of the password."""
    if item["auth"] == "socket":
        return "unix_socket", ""
    return "mysql_native_password", native_hash(item["password"])


def _alternatives(priv: dict[str, Any]) -> bool:
    """Whether another way in is left; an ALTER USER leaves a list with nothing in it."""
    return any(priv.get("auth_or", []))


def _as_declared(item: dict[str, Any], priv: dict[str, Any]) -> bool:
    plugin, secret = _identified(item)
    return (
        priv.get("plugin") == plugin
        and priv.get("authentication_string", "") == secret
        and not _alternatives(priv)
        and priv.get("ssl_type", _SSL_NONE) == (_SSL_ANY if item["tls"] else _SSL_NONE)
        and not priv.get("account_locked")
        and priv.get("password_lifetime", -1) <= 0
        and priv.get("password_last_changed") != 0
    )


def _found(item: dict[str, Any], priv: dict[str, Any]) -> str:
    """What differs of an account; nothing that is secret."""
    plugin, secret = _identified(item)
    words = [str(priv.get("plugin"))] if priv.get("plugin") != plugin else []
    words += ["another password"] * bool(not words and priv.get("authentication_string", "") != secret)
    words += ["another way to log in"] * _alternatives(priv)
    words += ["TLS otherwise"] * (priv.get("ssl_type", _SSL_NONE) != (_SSL_ANY if item["tls"] else _SSL_NONE))
    words += ["locked"] * bool(priv.get("account_locked"))
    expires = priv.get("password_lifetime", -1) > 0 or priv.get("password_last_changed") == 0
    return ", ".join(words + ["its password expires"] * expires)


def _user(item: dict[str, Any], priv: dict[str, Any] | None) -> list[Statement]:
    """Create or correct one account; it has no right beyond its databases."""
    who = account(item["name"], item["host"])
    statements = []
    if priv is None or not _as_declared(item, priv):
        plugin, secret = _identified(item)
        start = "{} {} IDENTIFIED VIA {}".format("CREATE USER" if priv is None else "ALTER USER", who, plugin)
        end = f" REQUIRE {'SSL' if item['tls'] else 'NONE'} PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
        using, hidden = (f" USING '{secret}'", " USING '(not shown)'") if secret else ("", "")
        wanted = (
            plugin
            + " with the declared password" * bool(secret)
            + f", TLS {'required' if item['tls'] else 'not required'}"
        )
        entry = drift.entry(f"account {who}", wanted, "missing" if priv is None else _found(item, priv))
        statements.append(Statement(start + using + end, drift.Action(start + hidden + end, entry)))
    if priv is not None and priv.get("access", 0):
        sql = f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"
        statements.append(_plain(sql, f"account {who}", "no rights but on its databases", "rights on all databases"))
    return statements


def _grants(item: dict[str, Any], found: list[dict[str, str]], anew: bool) -> list[Statement]:
    """All rights on the account's databases, and none on others. ``anew``: nothing of what was found is left."""
    who = account(item["name"], item["host"])
    mine = (
        {} if anew else {row["Db"]: row for row in found if (row["User"], row["Host"]) == (item["name"], item["host"])}
    )
    wanted = [pattern(name) for name in item["databases"]]
    thing = f"account {who}"
    statements = []
    for name in wanted:
        rights = {key: value for key, value in mine.get(name, {}).items() if key.endswith("_priv")}
        may_grant = rights.pop(_GRANTING, "N") == "Y"
        if not rights or set(rights.values()) != {"Y"}:
            sql = f"GRANT ALL PRIVILEGES ON {identifier(name)}.* TO {who}"
            statements.append(_plain(sql, thing, f"all rights on {name}", "some of them" if rights else "none"))
        if may_grant:
            sql = f"REVOKE GRANT OPTION ON {identifier(name)}.* FROM {who}"
            statements.append(_plain(sql, thing, f"may not hand on rights on {name}", "may do so"))
    for name in sorted(set(mine) - set(wanted)):
        sql = f"REVOKE ALL PRIVILEGES ON {identifier(name)}.* FROM {who}"
        statements.append(_plain(sql, thing, f"no rights on {name}", "rights on it"))
        if mine[name].get(_GRANTING) == "Y":
            sql = f"REVOKE GRANT OPTION ON {identifier(name)}.* FROM {who}"
            statements.append(_plain(sql, thing, f"may not hand on rights on {name}", "may do so"))
    return statements


def _safe(state: dict[str, Any], databases: list[dict[str, Any]], warnings: list[str]) -> list[Statement]:
    """What an installation may leave open: accounts without a name, root with a password, the database ``test``."""
    statements = []
    for (name, host), priv in sorted(state["users"].items()):
        who = account(name, host)
        if not name and not priv.get("is_role"):
            statements.append(_plain(f"DROP USER {who}", f"account {who}", "absent", "an account without a name"))
        elif (name, host) == ROOT and (priv.get("plugin") != "unix_socket" or _alternatives(priv)):
            sql = f"ALTER USER {who} IDENTIFIED VIA unix_socket"
            statements.append(_plain(sql, f"account {who}", "unix_socket alone", f"{priv.get('plugin')} or others"))
        elif name == ROOT[0] and host != ROOT[1] and not priv.get("account_locked"):
            statements.append(_plain(f"ALTER USER {who} ACCOUNT LOCK", f"account {who}", "locked", "not locked"))
    declared = {item["name"] for item in databases}
    found = {row["name"]: row for row in state["databases"]}
    if TEST in found and TEST not in declared:
        if int(found[TEST]["tables"]):
            warnings.append("the database test, which everybody may use, holds tables; declare it or drop it")
        else:
            sql = f"DROP DATABASE {identifier(TEST)}"
            statements.append(_plain(sql, f"database {TEST}", "absent", "there, and everybody may use it"))
    if any(not row["User"] for row in state["grants"]):
        for sql in ("DELETE FROM mysql.db WHERE User = ''", "FLUSH PRIVILEGES"):
            statements.append(_plain(sql, "rights of everybody", "none", "rights on some database"))
    return statements


def _undeclared(state: dict[str, Any], users: list[dict[str, Any]], kept: Collection[str]) -> list[Statement]:
    """Accounts of nobody with rights on all databases lose them, and are locked."""
    ours = {(item["name"], item["host"]) for item in users}
    statements = []
    for (name, host), priv in sorted(state["users"].items()):
        if not int(priv.get("access") or 0) & _POWERFUL or (name, host) in ours or name in (*_SYSTEM, *kept, ""):
            continue
        who = account(name, host)
        for sql in (f"ALTER USER {who} ACCOUNT LOCK", f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"):
            if not (priv.get("is_role") and sql.startswith("ALTER")):
                statements.append(_plain(sql, f"account {who}", "no rights on all databases", "may change all of them"))
    return statements


# All of it ---------------------------------------------------------------------------------------


def plan(
    users: list[dict[str, Any]],
    databases: list[dict[str, Any]],
    state: dict[str, Any],
    charset: str,
    collation: str,
    superusers: Collection[str] = (),
) -> Plan:
    """All statements, in order: what must not be open, databases, accounts.

    ``state`` has ``users`` (by name and host, what the server keeps of them), ``grants`` and ``databases`` (rows).
    """
    warnings: list[str] = []
    statements = _safe(state, databases, warnings) + _undeclared(state, users, superusers)
    found = {row["name"]: row for row in state["databases"]}
    for item in databases:
        name, there = item["name"], found.get(item["name"])
        if item["state"] == "absent":
            if there and item["drop"]:
                sql = f"DROP DATABASE {identifier(name)}"
                statements.append(_plain(sql, f"database {name}", "absent", "there"))
            elif there:
                warnings.append(f"the database {name} is kept with its data; set `drop: true` as well to delete it")
        elif there is None:
            sql = f"CREATE DATABASE {identifier(name)} CHARACTER SET {charset} COLLATE {collation}"
            statements.append(_plain(sql, f"database {name}", "there", "missing"))
        elif there["charset"] != charset:
            warnings.append(
                f"the database {name} has the character set {there['charset']}, which lacks characters; "
                f"ALTER DATABASE {name} CHARACTER SET {charset} and convert its tables"
            )
    for item in users:
        priv = state["users"].get((item["name"], item["host"]))
        if item["state"] == "absent":
            if priv is not None:
                who = account(item["name"], item["host"])
                statements.append(_plain(f"DROP USER {who}", f"account {who}", "absent", "there"))
            continue
        statements += _user(item, priv)
        # REVOKE ALL PRIVILEGES, GRANT OPTION takes those on databases as well.
        statements += _grants(item, state["grants"], anew=bool(priv and priv.get("access", 0)))
    return Plan(statements, warnings)
