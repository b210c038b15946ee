"""Which SQL brings MariaDB from one state to another. What the server makes of it is tested in Molecule."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import mariadb

ROOT = {"access": 1, "plugin": "unix_socket", "auth_or": [{}]}
USER: dict[str, Any] = {
    "name": "blog",
    "host": "localhost",
    "auth": "socket",
    "password": None,
    "tls": False,
    "databases": ["my_blog"],
    "state": "present",
}
FAR = {**USER, "host": "10.0.0.2", "auth": "password", "password": "secret", "tls": True}
HASH = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"  # SELECT PASSWORD('secret')
RIGHTS = {
    "Host": "localhost",
    "Db": r"my\_blog",
    "User": "blog",
    "Select_priv": "Y",
    "Drop_priv": "Y",
    "Grant_priv": "N",
}


def planned(declared: Any = (), **state: Any) -> list[str]:
    known = {"users": {("root", "localhost"): ROOT}, "grants": [], "databases": [], **state}
    found = mariadb.plan(list(declared), [], known, "utf8mb4", "utf8mb4_bin")
    assert HASH not in "".join(one.shown for one in found.statements)
    return [one.sql for one in found.statements]


def test_a_new_account() -> None:
    assert planned([USER]) == [
        "CREATE USER 'blog'@'localhost' IDENTIFIED VIA unix_socket REQUIRE NONE PASSWORD EXPIRE NEVER ACCOUNT UNLOCK",
        r"GRANT ALL PRIVILEGES ON `my\_blog`.* TO 'blog'@'localhost'",
    ]
    assert planned([FAR])[0] == (
        f"CREATE USER 'blog'@'10.0.0.2' IDENTIFIED VIA mysql_native_password USING '{HASH}' REQUIRE SSL "
        "PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"plugin": "mysql_native_password"},
        {"auth_or": [{}, {"plugin": "ed25519"}]},
        {"account_locked": True},
        {"ssl_type": 1},
        {"password_last_changed": 0},
    ],
)
def test_an_account_that_was_changed_is_put_back(change: dict[str, Any]) -> None:
    there = {"access": 0, "plugin": "unix_socket", "authentication_string": "", "password_lifetime": 0, "auth_or": [{}]}
    root = {("root", "localhost"): ROOT}
    assert planned([USER], users={**root, ("blog", "localhost"): there}, grants=[RIGHTS]) == []
    found = planned([USER], users={**root, ("blog", "localhost"): {**there, **change}}, grants=[RIGHTS])
    assert len(found) == 1 and found[0].startswith(
        "ALTER USER 'blog'@'localhost' IDENTIFIED VIA unix_socket REQUIRE NONE"
    )


def test_rights_beyond_its_databases_are_taken() -> None:
    there = {"access": 1, "plugin": "unix_socket", "authentication_string": ""}
    users = {("root", "localhost"): ROOT, ("blog", "localhost"): there}
    assert planned([USER], users=users, grants=[RIGHTS]) == [
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'blog'@'localhost'",
        r"GRANT ALL PRIVILEGES ON `my\_blog`.* TO 'blog'@'localhost'",
    ]
    users["blog", "localhost"] = {**there, "access": 0}
    more = [{**RIGHTS, "Grant_priv": "Y", "Drop_priv": "N"}, {**RIGHTS, "Db": "my_blog"}]
    assert planned([USER], users=users, grants=more) == [
        r"GRANT ALL PRIVILEGES ON `my\_blog`.* TO 'blog'@'localhost'",
        r"REVOKE GRANT OPTION ON `my\_blog`.* FROM 'blog'@'localhost'",
        "REVOKE ALL PRIVILEGES ON `my_blog`.* FROM 'blog'@'localhost'",
    ]


def test_what_an_installation_leaves_open() -> None:
    users = {
        ("root", "localhost"): {"plugin": "mysql_native_password", "auth_or": [{}, {"plugin": "unix_socket"}]},
        ("", "localhost"): {},
        ("root", "%"): {"plugin": "mysql_native_password"},
        ("admins", ""): {"is_role": True},
    }
    grants = [{**RIGHTS, "User": "", "Db": "test"}]
    tests = [{"name": "test", "charset": "utf8mb4", "tables": "0"}]
    assert planned(users=users, grants=grants) == [
        "DROP USER ''@'localhost'",
        "ALTER USER 'root'@'%' ACCOUNT LOCK",
        "ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket",
        "DELETE FROM mysql.db WHERE User = ''",
        "FLUSH PRIVILEGES",
    ]
    known: dict[str, Any] = {"users": {}, "grants": [], "databases": tests}
    assert [one.sql for one in mariadb.plan([], [], known, "utf8mb4", "c").statements] == ["DROP DATABASE `test`"]
    tests[0]["tables"] = "1"
    kept = mariadb.plan([], [], known, "utf8mb4", "c")
    assert kept.statements == [] and "holds tables; declare it or drop it" in kept.warnings[0]


@pytest.mark.parametrize(
    ("users", "databases", "words"),
    [
        ([{**USER, "name": "Blog"}], [], "users: 'Blog' is no name for it"),
        ([USER, USER], [], "users: blog@localhost is listed twice"),
        ([{**USER, "host": "a'b"}], [], "is no host; give an address"),
        ([{**FAR, "password": None}], [], "blog@10.0.0.2 has no password"),
        ([], [{"name": "a`b", "state": "present"}], "databases: 'a`b' is no name"),
    ],
)
def test_bad_names(users: Any, databases: Any, words: str) -> None:
    with pytest.raises(mariadb.MariadbError, match=words):
        mariadb.validate(users, databases)
