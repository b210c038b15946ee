# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What nobody declared: files in directories that are owned, powerful roles and accounts of databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import (
    config_files,
    mariadb,
    packaged,
    postgresql_undeclared,
)
from ansible_collections.webstack.django.plugins.module_utils import removed as copies

ROLE = {"name": "blog", "state": "present"}


def removed(directory: Path, **rule: Any) -> list[str]:
    gone = config_files.undeclared({"path": str(directory), **rule}, set(), config_files.View())
    return [Path(item.path).name for item in gone]


def test_what_declares_itself_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.conf").write_text("# webstack.django: keep, for the office\nx = 1\n")
    (tmp_path / "other.conf").write_text("x = 1\n")
    (tmp_path / "late.conf").write_text("\n" * 30 + "# webstack.django: keep\n")
    assert removed(tmp_path) == ["late.conf", "other.conf"]
    assert removed(tmp_path, keep=["o*.conf"]) == ["late.conf"]


def test_what_goes_away_is_kept_elsewhere(tmp_path: Path) -> None:
    theirs, ours, kept = tmp_path / "theirs.conf", tmp_path / "ours.conf", tmp_path / "kept"
    theirs.write_text("x = 1\n")
    ours.write_text("# Ansible managed\n# webstack.django.os\n")
    (tmp_path / "link.conf").symlink_to(theirs)
    for name in ("theirs.conf", "ours.conf", "link.conf", "missing.conf"):
        copies.keep(str(tmp_path / name), str(kept))
    (copy,) = [path for path in kept.rglob("*") if path.is_file()]
    assert str(copy) == f"{kept}{theirs}"
    assert (copy.read_text(), copy.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == ("x = 1\n", 0o600, 0o700)


def test_what_a_package_brought_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link.conf").symlink_to("/usr/share/x.conf")
    (tmp_path / "mine.conf").write_text("")
    monkeypatch.setattr(packaged, "packaged", lambda paths: {one for one in paths if one.endswith("link.conf")})
    assert removed(tmp_path, packaged="keep") == ["mine.conf"]
    assert removed(tmp_path) == ["link.conf", "mine.conf"]


def sql(state: dict[str, Any], **kept: Any) -> list[str]:
    found = postgresql_undeclared.statements([ROLE], [{**ROLE}], {"depends": [["eve", "blog"]], **state}, **kept)
    return [one.sql for one in found]


def test_powerful_roles_of_nobody() -> None:
    state = {"powerful": ["adam", "blog", "eve"]}
    assert sql(state) == [
        'ALTER ROLE "adam" NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS NOLOGIN',
        'ALTER ROLE "eve" NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS NOLOGIN',
    ]
    assert sql(state, superusers=["adam", "eve"]) == []


def test_settings_of_roles_and_databases() -> None:
    settings = [
        [None, "blog", ["search_path", "work_mem"]],
        ["blog", None, ["my.setting"]],
        ["blog", "eve", ["role"]],
        [None, "eve", ["work_mem"]],
        ["other", None, ["work_mem"]],
    ]
    assert sql({"settings": settings}, settings=["work_mem"]) == [
        'ALTER ROLE "blog" RESET search_path',
        'ALTER DATABASE "blog" RESET "my.setting"',
        'ALTER ROLE "eve" IN DATABASE "blog" RESET role',
    ]


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (0, []),
        (1 | 1 << 8, []),  # SELECT and PROCESS: a monitor
        (
            1 << 15,
            ["ALTER USER 'eve'@'%' ACCOUNT LOCK", "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'eve'@'%'"],
        ),
    ],
)
def test_accounts_of_mariadb_that_may_change_everything(access: int, expected: list[str]) -> None:
    root = {"access": 1, "plugin": "unix_socket", "auth_or": [{}]}
    users = {("eve", "%"): {"access": access}, ("mysql", "localhost"): {"access": -1}, ("root", "localhost"): root}
    state = {"users": users, "grants": [], "databases": []}
    assert [one.sql for one in mariadb.plan([], [], state, "utf8mb4", "x").statements] == expected
    assert mariadb.plan([], [], state, "utf8mb4", "x", ["eve"]).statements == []
