"""Where a site's data is, and that no deployment leaves it behind unasked."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import database, files
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site

POSTGRESQL = {"engine": "postgresql", "name": "blog", "user": "blog", "password": "secret-1", "host": "/run/postgresql"}
MYSQL = {"engine": "mysql", "name": "blog", "user": "blog", "host": "localhost"}


def site(root: Path, wanted: dict[str, Any] | None, **more: Any) -> Site:
    name = files.pwd.getpwuid(os.getuid()).pw_name
    return Site({"name": "blog", "user": name, "root": str(root), "release_id": "two", "database": wanted, **more})


def serves(root: Path, known: dict[str, Any] | None) -> None:
    (root / "releases/one").mkdir(parents=True)
    facts = {"id": "one"} if known is None else {"id": "one", "database": known}
    (root / "releases/one/release.json").write_text(json.dumps(facts))
    files.link("releases/one", str(root / "current"))


@pytest.mark.parametrize(
    ("wanted", "facts"),
    [
        (POSTGRESQL, {"engine": "postgresql", "name": "blog", "host": None}),
        ({**POSTGRESQL, "host": "127.0.0.1"}, {"engine": "postgresql", "name": "blog", "host": None}),
        ({**POSTGRESQL, "host": "10.0.0.2"}, {"engine": "postgresql", "name": "blog", "host": "10.0.0.2"}),
        (MYSQL, {"engine": "mysql", "name": "blog", "host": None}),
        (
            {"engine": "sqlite3", "name": "/srv/blog/shared/database/db.sqlite3"},
            {"engine": "sqlite3", "name": "/srv/blog/shared/database/db.sqlite3", "host": None},
        ),
        (None, None),
    ],
)
def test_what_a_release_says_of_its_database(tmp_path: Path, wanted: Any, facts: Any) -> None:
    assert database.facts(site(tmp_path, wanted)) == facts


def test_another_engine_is_refused_with_the_way_to_go_on(tmp_path: Path) -> None:
    serves(tmp_path, {"engine": "postgresql", "name": "blog", "host": None})
    with pytest.raises(ReleaseError) as error:
        database.same(site(tmp_path, MYSQL))
    words = str(error.value)
    assert words.startswith(
        "site blog, accounts: its data is in postgresql, and database.engine is mariadb now: it would start with an empty "
        "database\nWhat to do: to keep the data where it is, leave `database.engine: postgresql`."
    )
    assert "`webstack-manage blog dumpdata --natural-foreign --natural-primary " in words
    assert "`database: {engine: mariadb, switch_from: postgresql}`" in words
    assert f"`webstack-manage blog loaddata {tmp_path}/shared/dump.json`" in words
    assert "docs/switching.md" in words


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({"engine": "postgresql", "name": "blog", "host": None}, {**MYSQL, "switch_from": "postgresql"}),
        ({"engine": "mysql", "name": "blog", "host": None}, {**MYSQL, "switch_from": "postgresql"}),
        ({"engine": "mysql", "name": "old", "host": None}, {**MYSQL, "switch_from": "mysql"}),
        ({"engine": "mysql", "name": "blog", "host": None}, None),
        (None, MYSQL),
    ],
)
def test_what_is_allowed(tmp_path: Path, known: Any, wanted: Any) -> None:
    serves(tmp_path, known)
    assert database.same(site(tmp_path, wanted)) == []


def test_a_switch_is_allowed_from_the_engine_that_serves_only(tmp_path: Path) -> None:
    serves(tmp_path, {"engine": "sqlite3", "name": "/x", "host": None})
    with pytest.raises(ReleaseError, match="its data is in sqlite, "):
        database.same(site(tmp_path, {**MYSQL, "switch_from": "postgresql"}))


def test_the_first_deployment_has_nothing_to_lose(tmp_path: Path) -> None:
    assert database.same(site(tmp_path, MYSQL)) == []


def test_another_name_is_refused_and_another_host_is_said(tmp_path: Path) -> None:
    serves(tmp_path, {"engine": "postgresql", "name": "blog", "host": None})
    with pytest.raises(
        ReleaseError, match=r"in the database blog, and database.name is other now\nWhat to do: set data"
    ):
        database.same(site(tmp_path, {**POSTGRESQL, "name": "other"}))
    assert database.same(site(tmp_path, {**POSTGRESQL, "host": "10.0.0.2"})) == [
        "site blog: its database was on this host and is on 10.0.0.2 now; the data is not copied by a deployment"
    ]


# The file of SQLite ------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def sqlite(root: Path, path: str = "shared/database/db.sqlite3") -> Site:
    return site(root, {"engine": "sqlite3", "name": str(root / path)})


def make(root: Path, path: str = "shared/database/db.sqlite3") -> list[str]:
    done = []
    for words, change in database.missing(sqlite(root, path)):
        change()
        done.append(words.replace(str(root), "ROOT"))
    return done


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_made_for_its_site_alone(tmp_path: Path, shared: Path) -> None:
    assert len(list(database.missing(sqlite(tmp_path)))) == 1
    assert list(shared.iterdir()) == []
    assert make(tmp_path) == ["ROOT/shared/database/db.sqlite3"]
    file = shared / "database/db.sqlite3"
    assert (mode(shared / "database"), mode(file), file.read_bytes()) == (0o700, 0o600, b"")
    assert make(tmp_path) == []
    file.write_bytes(b"data")
    file.chmod(0o644)
    (shared / "database").chmod(0o755)
    assert make(tmp_path) == ["ROOT/shared/database/db.sqlite3"]
    assert (mode(shared / "database"), mode(file), file.read_bytes()) == (0o700, 0o600, b"data")


@pytest.mark.parametrize("path", ["db.sqlite3", "shared/db.sqlite3"])
def test_it_has_a_directory_of_its_own(tmp_path: Path, path: str) -> None:
    with pytest.raises(ReleaseError, match=r"database.name is .*\nWhat to do: keep the file of SQLite in a directory"):
        make(tmp_path, path)


def test_no_link_is_followed(tmp_path: Path, shared: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    other.chmod(0o644)
    (shared / "database").mkdir()
    (shared / "database/db.sqlite3").symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        make(tmp_path)
    (shared / "database/db.sqlite3").unlink()
    os.link(other, shared / "database/db.sqlite3")
    with pytest.raises(ReleaseError, match="is no file of its own\nWhat to do: remove the link"):
        make(tmp_path)
    assert mode(other) == 0o644


def test_other_engines_need_no_file(tmp_path: Path) -> None:
    assert list(database.missing(site(tmp_path, MYSQL))) == []
    assert list(database.missing(site(tmp_path, None))) == []
