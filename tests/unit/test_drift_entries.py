# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What our modules say of what differs."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import (
    access,
    config_files,
    drift,
    ensure,
    mariadb,
    postgresql,
    services,
    services_drift,
    supervisord,
)
from trees import GID, UID, build, declared

USER, GROUP = pwd.getpwuid(UID).pw_name, grp.getgrgid(GID).gr_name

NIGHT = 1764471165  # 2025-11-30T02:52:45Z
UNIT = {
    "Id": "shop.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "CanReload": "yes",
    "ExecMainStartTimestamp": "Sun 2025-11-30 01:00:00.000000 UTC",
}


def told(item: Any, prune: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The only entry, without what is tried elsewhere."""
    (change,) = config_files.plan([item] if item else [], prune or [])
    return {key: value for key, value in change.as_drift().items() if key in ("expected", "found")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    build(tmp_path / "t", {"f": ("file", (b"one\ntwo\n", 0o644))})
    return tmp_path / "t" / "f"


@pytest.mark.parametrize(
    ("state", "more", "expected", "found"),
    [
        ("file", {"content": b"one\n2\n"}, "2", "two"),
        ("file", {"content": b"one\n"}, "without these lines", "two"),
        ("file", {"content": b"one\ntwo\nthree\n"}, "three", "these lines are missing"),
        ("file", {"content": b"one\ntwo\n\n"}, "the declared content", "the same with other line ends or blank lines"),
        ("file", {"content": b"\xff"}, "the declared content", "other content"),
        (
            "file",
            {"content": b"s3cret", "diff": False},
            "the declared content (not shown)",
            "other content (not shown)",
        ),
        ("file", {"content": b"one\ntwo\n", "mode": 0o600}, "mode 0600", "mode 0644"),
        ("file", {"content": b"one\n2\n", "mode": 0o600}, "mode 0600\n2", "mode 0644\ntwo"),
        ("file", {"content": b"one\ntwo\n", "uid": 1}, "owner daemon", f"owner {USER}"),
        ("file", {"content": b"one\ntwo\n", "gid": 4242}, "group 4242", f"group {GROUP}"),
        ("file", {"content": b"one\ntwo\n", "uid": None}, "owner not made yet", f"owner {USER}"),
        ("absent", {}, "absent", "present"),
        ("directory", {}, "directory", "file"),
        ("link", {"target": "x"}, "link", "file"),
    ],
)
def test_a_file_says_what_it_should_be_and_is(
    file: Path, state: str, more: dict[str, Any], expected: str, found: str
) -> None:
    assert told(declared(file, state, **more)) == {"expected": expected, "found": found}


def test_a_file_that_is_missing_and_one_that_nobody_declared(file: Path) -> None:
    assert told(declared(file.with_name("g"))) == {"expected": "file", "found": "missing"}
    assert told(None, [{"path": str(file.parent)}]) == {"expected": "absent", "found": "present"}


def test_since_is_the_time_of_the_content_or_of_what_else_differs(file: Path) -> None:
    os.utime(file, (NIGHT, NIGHT))
    os.utime(file.parent, (NIGHT + 60, NIGHT + 60))
    (content,) = config_files.plan([declared(file, content=b"x")], [])
    assert content.as_drift()["thing"] == str(file)
    assert content.as_drift()["since"] == "2025-11-30T02:52:45Z"
    (mode,) = config_files.plan([declared(file, content=b"one\ntwo\n", mode=0o600)], [])
    assert mode.as_drift()["since"] == drift.moment(os.lstat(file).st_ctime)
    (missing,) = config_files.plan([declared(file.with_name("g"))], [])
    assert missing.as_drift()["since"] == "2025-11-30T02:53:45Z"  # of the directory


def test_long_texts_are_cut() -> None:
    expected, found = drift.lines("", "".join(f"{number}\n" for number in range(40)))
    assert expected.splitlines() == [*(str(number) for number in range(12)), "(and 28 more lines)"]
    assert found == "these lines are missing"
    assert drift.short(["x" * 300]) == "x" * 200 + "..."


def test_actions_carry_what_differs() -> None:
    known = drift.Action("go", drift.entry("/x", "a", "b", NIGHT, "blog"))
    assert known == "go"
    assert drift.of([known, "stay", drift.Action("of no account")]) == [
        {"thing": "/x", "expected": "a", "found": "b", "since": "2025-11-30T02:52:45Z", "site": "blog"},
        {"thing": "stay", "expected": "done", "found": "not done", "since": None, "site": None},
    ]


# Services ----------------------------------------------------------------------------------------


def unit(shown: dict[str, str], **declared: Any) -> list[tuple[str, str, str, str | None]]:
    """What the module says of one unit."""
    properties = "\n".join(f"{key}={value}" for key, value in {**UNIT, **shown}.items()) + "\n"
    manager = services.Manager(lambda argv: (0, properties, ""))
    manager.converge([{"name": "shop.service", **declared}], check_mode=True)
    entries = services_drift.entries(manager.found)
    return [(one["thing"], one["expected"], one["found"], one["since"]) for one in entries]


def test_a_unit_as_it_should_be_says_nothing() -> None:
    assert unit({}) == []


def test_a_unit_that_was_stopped_and_disabled() -> None:
    stopped = {"ActiveState": "inactive", "SubState": "dead", "UnitFileState": "disabled"}
    since = {"InactiveEnterTimestamp": "Sun 2025-11-30 02:52:45.000000 UTC"}
    assert unit({**stopped, **since}) == [
        ("shop.service", "enabled, running", "disabled, inactive (dead)", "2025-11-30T02:52:45Z")
    ]


def test_a_unit_that_runs_and_should_not() -> None:
    since = {"ActiveEnterTimestamp": "Sun 2025-11-30 02:52:45.000000 UTC"}
    assert unit(since, state="stopped", enabled=False) == [
        ("shop.service", "disabled, stopped", "enabled, active (running)", "2025-11-30T02:52:45Z")
    ]


def test_a_masked_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(services_drift, "UNIT_DIR", str(tmp_path))
    masked = {"LoadState": "masked", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": "masked"}
    assert unit(masked) == [
        ("shop.service", "not masked, enabled, running", "masked, inactive (dead)", None),
    ]


def test_a_unit_that_is_missing() -> None:
    assert unit({"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""})[0][2] == (
        "not enabled, no such unit"
    )


def test_a_unit_with_older_files_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("")
    since = drift.moment(os.lstat(tmp_path / "a.conf").st_ctime)
    path = tmp_path / "a.conf"
    expected = f"runs with its files as they are ({path})"
    assert unit({}, restart_on=[str(path)]) == [
        ("shop.service", expected, "has not read it since it changed (restart is due)", since)
    ]
    assert unit({"CanReload": "no"}, reload_on=[str(path)]) == [
        ("shop.service", expected, "has not read it since it changed (restart is due)", since)
    ]
    assert unit({}, reload_on=[str(tmp_path / "*.conf")]) == [
        ("shop.service", expected, "has not read it since it changed (reload is due)", since)
    ]


@pytest.mark.parametrize("shown", [{"NeedDaemonReload": "yes"}, {"LoadState": "error"}])
def test_systemd_has_read_older_files(shown: dict[str, str]) -> None:
    (one,) = unit(shown)
    assert one[:3] == ("shop.service", "its files as they are on disk", "systemd has read older ones (daemon-reload)")


def test_what_runs_is_compared_with_the_files_of_access() -> None:
    found: list[dict[str, Any]] = []
    access.stale([{"argv": ["sh", "-c", "echo not declared: x; exit 1"], "name": "the table"}], lambda _one: [], found)
    access.stale([{"argv": ["false"]}], lambda _one: [], found)
    assert [(one["thing"], one["expected"], one["found"]) for one in found] == [
        ("the table", "as declared", "not declared: x"),
        ("false", "as declared", "status 1"),
    ]


def test_a_state_that_does_not_hold_says_what_its_test_said() -> None:
    steps = [
        {"name": "the clock is right", "unless": ["sh", "-c", "echo no; echo it is wrong; exit 1"], "run": [["true"]]},
        {"name": "it is quiet", "unless": ["false"], "run": [["true"]]},
        {"name": "all is well", "unless": ["true"], "run": [["true"]]},
    ]
    entries = drift.of(ensure.converge(steps, check_mode=True))
    assert [(one["thing"], one["expected"], one["found"]) for one in entries] == [
        ("the clock is right", "this holds", "it is wrong"),
        ("it is quiet", "this holds", "it does not hold"),
    ]


def test_programs_of_supervisord(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    program = {"name": "shop-web", "restart_on": [str(tmp_path / "env")]}
    explain = supervisord._explain
    assert explain("start", program, {"state": "STOPPED"})["found"] == "STOPPED"
    assert explain("add", program, {})["found"] == "unknown to supervisord"
    assert explain("replace", program, {})["expected"] == "runs as its configuration says"
    assert str(tmp_path / "env") in explain("restart", program, {})["expected"]


# Databases ---------------------------------------------------------------------------------------

ROLE = {"name": "shop", "createdb": False, "connection_limit": -1, "member_of": [], "state": "present"}
FOUND = {
    "name": "shop",
    "login": True,
    "special": False,
    "expires": False,
    "createdb": False,
    "connection_limit": -1,
    "password": None,
    "member_of": [],
}


def role(wanted: str | None = None, **found: Any) -> list[tuple[str, str, str]]:
    state = {"roles": [{**FOUND, **found}], "databases": [], "depends": []}
    plan = postgresql.plan([{**ROLE, "password": wanted}], [], state, {})
    entries = drift.of([statement.shown for statement in plan.statements])
    return [(one["thing"], one["expected"], one["found"]) for one in entries]


def test_a_role_of_postgresql() -> None:
    attributes = "LOGIN INHERIT NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS NOCREATEDB CONNECTION LIMIT -1"
    special = "one of SUPERUSER, CREATEROLE, REPLICATION, BYPASSRLS and NOINHERIT"
    assert role() == []
    assert role(special=True) == [("role shop", attributes, f"LOGIN {special} NOCREATEDB CONNECTION LIMIT -1")]
    assert role(login=False, expires=True) == [
        ("role shop", attributes, "NOLOGIN NOCREATEDB CONNECTION LIMIT -1 VALID UNTIL some day")
    ]
    assert role(member_of=["admins"]) == [("role shop", "no member of admins", "member of it")]
    assert role("hunter-22") == [("role shop: password", "the declared one", "none")]
    assert role("hunter-22", password="md5abc") == [("role shop: password", "the declared one", "another one")]
    assert "hunter" not in repr(role("hunter-22"))


def test_an_account_of_mariadb() -> None:
    item = {
        "name": "shop",
        "host": "10.0.0.2",
        "auth": "password",
        "password": "hunter-22",
        "tls": True,
        "databases": [],
    }
    state: dict[str, Any] = {"users": {}, "grants": [], "databases": [{"name": "test", "tables": "0"}]}
    priv = {"plugin": "mysql_native_password", "authentication_string": "*0", "ssl_type": 0, "account_locked": True}
    state["users"][("shop", "10.0.0.2")] = priv
    plan = mariadb.plan([{**item, "state": "present"}], [], state, "utf8mb4", "x")
    assert [
        (one["thing"], one["expected"], one["found"]) for one in drift.of([one.shown for one in plan.statements])
    ] == [
        ("database test", "absent", "there, and everybody may use it"),
        (
            "account 'shop'@'10.0.0.2'",
            "mysql_native_password with the declared password, TLS required",
            "another password, TLS otherwise, locked",
        ),
    ]
