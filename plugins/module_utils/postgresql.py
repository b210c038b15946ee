# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What SQL brings roles, databases and extensions from the state they are in to the declared one.

Pure functions: the declared state and what the server says of itself go in, statements come out. Check
mode shows the statements, apply runs them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import stringprep
import unicodedata
from typing import Any, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils import drift

NAME = re.compile(r"^[a-z_][a-z0-9_-]{0,62}$")
ITERATIONS = 4096  # what PostgreSQL itself uses: src/include/common/scram-common.h
SYSTEM_DATABASE = "postgres"

# One row of JSON with all that `plan` needs to know of the cluster.
CLUSTER_QUERY = """
SELECT json_build_object(
  'roles', (SELECT coalesce(json_agg(json_build_object(
      'name', r.rolname, 'login', r.rolcanlogin, 'createdb', r.rolcreatedb, 'connection_limit', r.rolconnlimit,
      'special', r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls OR NOT r.rolinherit,
      'expires', r.rolvaliduntil IS NOT NULL AND r.rolvaliduntil <> 'infinity', 'password', r.rolpassword,
      'member_of', (SELECT coalesce(json_agg(g.rolname ORDER BY g.rolname), '[]') FROM pg_auth_members m
                    JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid))), '[]') FROM pg_authid r),
  'databases', (SELECT coalesce(json_agg(json_build_object(
      'name', d.datname, 'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
      'open', d.datallowconn, 'connection_limit', d.datconnlimit,
      'public', EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) WHERE grantee = 0),
      'granted', has_database_privilege(d.datdba, d.oid, 'CONNECT')
                 AND has_database_privilege(d.datdba, d.oid, 'CREATE')
                 AND has_database_privilege(d.datdba, d.oid, 'TEMPORARY'))), '[]')
    FROM pg_database d WHERE NOT d.datistemplate),
  'shared', (SELECT coalesce(json_agg(d.datname ORDER BY d.datname), '[]') FROM pg_database d
    WHERE d.datname IN ('postgres', 'template1')
      AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) WHERE grantee = 0)),
  'depends', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(
      pg_get_userbyid(s.refobjid),
      (SELECT datname FROM pg_database d
       WHERE d.oid = CASE WHEN s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END))), '[]')
    FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype <> 'p'),
  'powerful', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles
    WHERE (rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls) AND oid <> 10 AND rolname !~ '^pg_'),
  'settings', (SELECT coalesce(json_agg(json_build_array(d.datname, r.rolname,
      (SELECT json_agg(split_part(c, '=', 1)) FROM unnest(s.setconfig) c))), '[]') FROM pg_db_role_setting s
    LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole),
  'available', (SELECT coalesce(json_agg(name), '[]') FROM pg_available_extensions)
)
"""

# The same for the inside of one database; the name of its owner is put in as a literal.
DATABASE_QUERY = """
SELECT json_build_object(
  'name', current_database(),
  'extensions', (SELECT coalesce(json_agg(extname), '[]') FROM pg_extension),
  'public', (SELECT json_build_object(
      'anybody', EXISTS (SELECT FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner)))
                         WHERE grantee = 0 AND privilege_type = 'CREATE'),
      'owner', has_schema_privilege({owner}, n.oid, 'CREATE') AND has_schema_privilege({owner}, n.oid, 'USAGE'))
    FROM pg_namespace n WHERE n.nspname = 'public'))
"""


class Statement(NamedTuple):
    """One SQL statement, the database to run it in, and how it may be shown; a ``drift.Action`` knows what differs."""

    database: str
    sql: str
    shown: str


class Plan(NamedTuple):
    """Statements to run in order, and what the user should know."""

    statements: list[Statement]
    warnings: list[str]


class PostgresqlError(Exception):
    """What is wrong with what is declared, in words for the user."""


def identifier(name: str) -> str:
    """A quoted identifier."""
    return '"{}"'.format(name.replace('"', '""'))


def literal(text: str) -> str:
    """A quoted string."""
    return "'{}'".format(text.replace("'", "''"))


def saslprep(password: str) -> str:
    """Normalise a password as RFC 4013 asks; one that may not be normalised is taken as it is, like libpq does."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in password
        if not stringprep.in_table_b1(char) or stringprep.in_table_c12(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if not prepared or any(table(char) for char in prepared for table in forbidden):
        return password
    return prepared


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What PostgreSQL stores of a password (RFC 5803, with SCRAM-SHA-256 of RFC 7677)."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.new(salted, b"Server Key", hashlib.sha256).digest()).decode()
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{server}"


def password_matches(password: str, verifier: str | None) -> bool:
    """Whether a stored verifier is one of this password. Anything but SCRAM (md5) counts as another password."""
    found = re.match(r"^SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$", verifier or "")
    if verifier is None or found is None:
        return False
    again = scram_verifier(password, base64.b64decode(found.group(2)), int(found.group(1)))
    return hmac.compare_digest(again.encode(), verifier.encode())


def _shown(sql: str, thing: str, expected: str, found: str) -> drift.Action:
    """A statement as it is shown, with what it is for."""
    return drift.Action(sql, drift.entry(thing, expected, found))


def _names(items: list[dict[str, Any]], option: str) -> None:
    seen = set()
    for item in items:
        name = item["name"]
        if not NAME.match(name):
            raise PostgresqlError(
                f"{option}: {name!r} is no name for it; use a-z, 0-9, _ and -, beginning with a letter, at most 63"
            )
        if name in seen:
            raise PostgresqlError(f"{option}: {name} is listed twice; give each name once")
        seen.add(name)


def validate(roles: list[dict[str, Any]], databases: list[dict[str, Any]]) -> None:
    """Refuse names that would need quoting elsewhere, and names given twice."""
    _names(roles, "roles")
    _names(databases, "databases")


def _role(item: dict[str, Any], found: dict[str, Any] | None) -> list[Statement]:
    """Create or correct one role."""
    name = item["name"]
    createdb = "CREATEDB" if item["createdb"] else "NOCREATEDB"
    attributes = (
        f"LOGIN INHERIT NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {createdb} "
        f"CONNECTION LIMIT {int(item['connection_limit'])}"
    )
    statements = []
    if found is None:
        sql = f"CREATE ROLE {identifier(name)} {attributes}"
        statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"role {name}", "there", "missing")))
    elif (
        not found["login"]
        or found["special"]
        or found["expires"]
        or found["createdb"] != item["createdb"]
        or found["connection_limit"] != item["connection_limit"]
    ):
        sql = f"ALTER ROLE {identifier(name)} {attributes} VALID UNTIL 'infinity'"
        statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"role {name}", attributes, _rights(found))))
    password = item.get("password")
    stored = found["password"] if found else None
    if password and not password_matches(password, stored):
        sql = f"ALTER ROLE {identifier(name)} PASSWORD "
        verifier = literal(scram_verifier(password, os.urandom(16)))
        other = "another one" if stored else "none"
        shown = _shown(sql + "'(not shown)'", f"role {name}: password", "the declared one", other)
        statements.append(Statement(SYSTEM_DATABASE, sql + verifier, shown))
    elif not password and stored is not None:
        sql = f"ALTER ROLE {identifier(name)} PASSWORD NULL"
        statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"role {name}: password", "none", "one")))
    return statements


def _rights(found: dict[str, Any]) -> str:
    """The attributes of a role, as they are."""
    words = ["LOGIN" if found["login"] else "NOLOGIN"]
    if found["special"]:
        words.append("one of SUPERUSER, CREATEROLE, REPLICATION, BYPASSRLS and NOINHERIT")
    words += ["CREATEDB" if found["createdb"] else "NOCREATEDB", f"CONNECTION LIMIT {found['connection_limit']}"]
    return " ".join(words + ["VALID UNTIL some day"] * bool(found["expires"]))


def _memberships(item: dict[str, Any], found: dict[str, Any] | None) -> list[Statement]:
    wanted, actual = set(item["member_of"]), set(found["member_of"] if found else [])
    statements = []
    for group in sorted(wanted - actual):
        sql = f"GRANT {identifier(group)} TO {identifier(item['name'])}"
        shown = _shown(sql, f"role {item['name']}", f"member of {group}", "no member of it")
        statements.append(Statement(SYSTEM_DATABASE, sql, shown))
    for group in sorted(actual - wanted):
        sql = f"REVOKE {identifier(group)} FROM {identifier(item['name'])}"
        shown = _shown(sql, f"role {item['name']}", f"no member of {group}", "member of it")
        statements.append(Statement(SYSTEM_DATABASE, sql, shown))
    return statements


def _database(item: dict[str, Any], found: dict[str, Any] | None) -> list[str]:
    """Create or correct one database; everybody but its owner is shut out."""
    name, owner = identifier(item["name"]), identifier(item["owner"])
    statements: list[str] = []

    def want(sql: str, expected: str, other: str) -> None:
        statements.append(_shown(sql, f"database {item['name']}", expected, other))

    if found is None:
        want(
            f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'",
            "there",
            "missing",
        )
        found = {"owner": item["owner"], "public": True, "granted": True, "open": True, "connection_limit": -1}
    if found["owner"] != item["owner"]:
        want(f"ALTER DATABASE {name} OWNER TO {owner}", f"owner {item['owner']}", f"owner {found['owner']}")
    if not found["open"]:
        want(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true", "takes connections", "takes none")
    if found["connection_limit"] != -1:
        limit = f"connection limit {found['connection_limit']}"
        want(f"ALTER DATABASE {name} CONNECTION LIMIT -1", "no connection limit", limit)
    if not found["granted"]:
        want(f"GRANT ALL ON DATABASE {name} TO {owner}", "all rights for its owner", "not all of them")
    if found["public"]:
        want(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", "nobody but its owner may use it", "everybody has rights")
    return statements


def _inside(item: dict[str, Any], found: dict[str, Any] | None, available: list[str] | None) -> list[str]:
    """What is inside one database: the schema ``public`` belongs to the owner alone, extensions exist."""
    statements: list[str] = []
    thing = f"database {item['name']}: schema public"
    schema = (found or {}).get("public") or {}
    if found is not None and not schema:
        sql = f"CREATE SCHEMA public AUTHORIZATION {identifier(item['owner'])}"
        statements.append(_shown(sql, thing, "there", "missing"))
        schema = {"anybody": False, "owner": True}
    if schema.get("anybody"):
        sql = "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        statements.append(_shown(sql, thing, "nobody but its owner may write to it", "everybody may"))
    if schema and not schema.get("owner"):
        sql = f"GRANT ALL ON SCHEMA public TO {identifier(item['owner'])}"
        statements.append(_shown(sql, thing, f"all rights for {item['owner']}", "not all of them"))
    for extension in item["extensions"]:
        if found and extension in found["extensions"]:
            continue
        if available is not None and extension not in available:
            raise PostgresqlError(
                f"databases: {item['name']}: the extension {extension} is not installed on this host; check its name, "
                "or name the package that has it in postgresql_packages"
            )
        sql = f"CREATE EXTENSION IF NOT EXISTS {identifier(extension)}"
        statements.append(_shown(sql, f"database {item['name']}: extension {extension}", "there", "missing"))
    return statements


def plan(
    roles: list[dict[str, Any]], databases: list[dict[str, Any]], state: dict[str, Any], inside: dict[str, Any]
) -> Plan:
    """All statements, in order: roles, databases, drops.

    ``state`` is the answer to CLUSTER_QUERY, ``inside`` the answers to DATABASE_QUERY by database. A database that
    does not exist yet has none: call again after the statements have run, for what is inside it.
    """
    known_roles = {role["name"]: role for role in state["roles"]}
    known = {database["name"]: database for database in state["databases"]}
    present = [item for item in roles if item["state"] == "present"]
    statements = [statement for item in present for statement in _role(item, known_roles.get(item["name"]))]
    # The databases of nobody: a role has nothing to do there.
    shut = [
        _shown(
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            f"database {name}",
            "nobody may use it",
            "everybody has rights",
        )
        for name in state.get("shared", [])
    ]
    statements += [Statement(SYSTEM_DATABASE, sql, sql) for sql in shut]
    statements += [statement for item in present for statement in _memberships(item, known_roles.get(item["name"]))]
    warnings = []
    for item in databases:
        name = item["name"]
        found = known.get(name)
        if item["state"] == "present":
            statements += [Statement(SYSTEM_DATABASE, sql, sql) for sql in _database(item, found)]
            statements += [Statement(name, sql, sql) for sql in _inside(item, inside.get(name), state.get("available"))]
            if found and found["encoding"] != "UTF8":
                warnings.append(
                    f"the database {name} has the encoding {found['encoding']}; Django needs UTF8: "
                    "dump it, drop it, converge, restore it"
                )
    statements += _drops(roles, databases, state, warnings)
    return Plan(statements, warnings)


def _drops(
    roles: list[dict[str, Any]], databases: list[dict[str, Any]], state: dict[str, Any], warnings: list[str]
) -> list[Statement]:
    """Databases are dropped only when told so twice; roles only when nothing of them is left."""
    statements = []
    known = {database["name"]: database for database in state["databases"]}
    dropped = set()
    for item in databases:
        name = item["name"]
        if item["state"] != "absent" or name not in known:
            continue
        if item["drop"]:
            sql = f"DROP DATABASE {identifier(name)} WITH (FORCE)"
            statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"database {name}", "absent", "there")))
            dropped.add(name)
        else:
            warnings.append(f"the database {name} is kept with its data; set `drop: true` as well to delete it")
    for item in roles:
        name = item["name"]
        found = {role["name"]: role for role in state["roles"]}.get(name)
        if item["state"] != "absent" or found is None:
            continue
        if any(role == name and database not in dropped for role, database in state["depends"]):
            if found["login"]:
                sql = f"ALTER ROLE {identifier(name)} NOLOGIN"
                statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"role {name}", "NOLOGIN", "LOGIN")))
            warnings.append(f"the role {name} still owns something; it is kept and cannot log in")
        else:
            sql = f"DROP ROLE {identifier(name)}"
            statements.append(Statement(SYSTEM_DATABASE, sql, _shown(sql, f"role {name}", "absent", "there")))
    return statements
