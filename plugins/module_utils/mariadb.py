# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SQL brings accounts and databases of MariaDB from the state they are in to the declared one.

Pure functions: the declared state and what the server says of itself go in, statements come out. Check
mode shows the statements, apply runs them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

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
_SSL_NONE, _SSL_ANY = 0, 1  # enum SSL_type of the server: sql/violite.h
_GRANTING = "Grant_priv"


class Statement(NamedTuple):
    """One SQL statement, and how it may be shown."""

    sql: str
    shown: str


class Plan(NamedTuple):
    """Statements to run in order, and what the user should know."""

    statements: list[Statement]
    warnings: list[str]


class MariadbError(Exception):
    """What is wrong with what is declared, in words for the user."""


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


def _user(item: dict[str, Any], priv: dict[str, Any] | None) -> list[Statement]:
    """Create or correct one account; it has no right beyond its databases."""
    who = account(item["name"], item["host"])
    statements = []
    if priv is None or not _as_declared(item, priv):
        plugin, secret = _identified(item)
        start = "{} {} IDENTIFIED VIA {}".format("CREATE USER" if priv is None else "ALTER USER", who, plugin)
        end = f" REQUIRE {'SSL' if item['tls'] else 'NONE'} PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
        using, hidden = (f" USING '{secret}'", " USING '(not shown)'") if secret else ("", "")
        statements.append(Statement(start + using + end, start + hidden + end))
    if priv is not None and priv.get("access", 0):
        sql = f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"
        statements.append(Statement(sql, sql))
    return statements


def _grants(item: dict[str, Any], found: list[dict[str, str]], anew: bool) -> list[Statement]:
    """All rights on the account's databases, and none on others. ``anew``: nothing of what was found is left."""
    who = account(item["name"], item["host"])
    mine = (
        {} if anew else {row["Db"]: row for row in found if (row["User"], row["Host"]) == (item["name"], item["host"])}
    )
    wanted = [pattern(name) for name in item["databases"]]
    statements = []
    for name in wanted:
        rights = {key: value for key, value in mine.get(name, {}).items() if key.endswith("_priv")}
        may_grant = rights.pop(_GRANTING, "N") == "Y"
        if not rights or set(rights.values()) != {"Y"}:
            statements.append(f"GRANT ALL PRIVILEGES ON {identifier(name)}.* TO {who}")
        if may_grant:
            statements.append(f"REVOKE GRANT OPTION ON {identifier(name)}.* FROM {who}")
    for name in sorted(set(mine) - set(wanted)):
        statements.append(f"REVOKE ALL PRIVILEGES ON {identifier(name)}.* FROM {who}")
        if mine[name].get(_GRANTING) == "Y":
            statements.append(f"REVOKE GRANT OPTION ON {identifier(name)}.* FROM {who}")
    return [Statement(sql, sql) for sql in statements]


def _safe(state: dict[str, Any], databases: list[dict[str, Any]], warnings: list[str]) -> list[str]:
    """What an installation may leave open: accounts without a name, root with a password, the database ``test``."""
    statements = []
    for (name, host), priv in sorted(state["users"].items()):
        who = account(name, host)
        if not name and not priv.get("is_role"):
            statements.append(f"DROP USER {who}")
        elif (name, host) == ROOT and (priv.get("plugin") != "unix_socket" or _alternatives(priv)):
            statements.append(f"ALTER USER {who} IDENTIFIED VIA unix_socket")
        elif name == ROOT[0] and host != ROOT[1] and not priv.get("account_locked"):
            statements.append(f"ALTER USER {who} ACCOUNT LOCK")
    declared = {item["name"] for item in databases}
    found = {row["name"]: row for row in state["databases"]}
    if TEST in found and TEST not in declared:
        if int(found[TEST]["tables"]):
            warnings.append("the database test, which everybody may use, holds tables; declare it or drop it")
        else:
            statements.append(f"DROP DATABASE {identifier(TEST)}")
    if any(not row["User"] for row in state["grants"]):
        statements += ["DELETE FROM mysql.db WHERE User = ''", "FLUSH PRIVILEGES"]
    return statements


# All of it ---------------------------------------------------------------------------------------


def plan(
    users: list[dict[str, Any]], databases: list[dict[str, Any]], state: dict[str, Any], charset: str, collation: str
) -> Plan:
    """All statements, in order: what must not be open, databases, accounts.

    ``state`` has ``users`` (by name and host, what the server keeps of them), ``grants`` and ``databases`` (rows).
    """
    warnings: list[str] = []
    plain = _safe(state, databases, warnings)
    found = {row["name"]: row for row in state["databases"]}
    for item in databases:
        name, there = item["name"], found.get(item["name"])
        if item["state"] == "absent":
            if there and item["drop"]:
                plain.append(f"DROP DATABASE {identifier(name)}")
            elif there:
                warnings.append(f"the database {name} is kept with its data; set `drop: true` as well to delete it")
        elif there is None:
            plain.append(f"CREATE DATABASE {identifier(name)} CHARACTER SET {charset} COLLATE {collation}")
        elif there["charset"] != charset:
            warnings.append(
                f"the database {name} has the character set {there['charset']}, which lacks characters; "
                f"ALTER DATABASE {name} CHARACTER SET {charset} and convert its tables"
            )
    statements = [Statement(sql, sql) for sql in plain]
    for item in users:
        priv = state["users"].get((item["name"], item["host"]))
        if item["state"] == "absent":
            if priv is not None:
                sql = f"DROP USER {account(item['name'], item['host'])}"
                statements.append(Statement(sql, sql))
            continue
        statements += _user(item, priv)
        # REVOKE ALL PRIVILEGES, GRANT OPTION takes those on databases as well.
        statements += _grants(item, state["grants"], anew=bool(priv and priv.get("access", 0)))
    return Plan(statements, warnings)
