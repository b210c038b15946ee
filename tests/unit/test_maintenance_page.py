# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page of a site in maintenance, from its code or from us."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import maintenance
from ansible_collections.webstack.django.plugins.plugin_utils.plan import validate

PAGE = "<h1>Wir sind gleich zurück</h1>\n"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (
        ("AUTHOR_NAME", "t"),
        ("AUTHOR_EMAIL", "t@e"),
        ("COMMITTER_NAME", "t"),
        ("COMMITTER_EMAIL", "t@e"),
    ):
        monkeypatch.setenv(f"GIT_{name}", value)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / "pages").mkdir(parents=True)
    (root / "pages/503.html").write_text(PAGE, encoding="utf-8")
    (root / "latin.html").write_bytes(b"\xe4")
    (root / "out.html").symlink_to("/etc/hostname")
    return root


@pytest.fixture
def repository(checkout: Path) -> Path:
    for words in ("init --quiet", "add .", "commit --quiet -m x"):
        subprocess.run(["git", *words.split()], cwd=checkout, check=True)
    return checkout


def site(page: str | None, **more: Any) -> dict[str, Any]:
    given = {"maintenance": {"page": page, "retry_after": 600}, **more}
    (found,), errors = validate.sites([worlds.site(**given)])
    assert errors == []
    return found


def test_a_page_of_ours() -> None:
    text, warning = maintenance.page(site(None))
    assert warning == ""
    assert "blog.example.com is being worked on. Please come back in about 10 minutes." in text
    assert "color-scheme: light dark" in text
    assert "http" not in text  # nothing from elsewhere


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "a minute"), (60, "a minute"), (61, "2 minutes"), (300, "5 minutes"), (3600, "60 minutes"), (7200, "2 hours"), (86400, "24 hours"), (200000, "3 days")],
)  # fmt: skip
def test_how_long(seconds: int, words: str) -> None:
    assert maintenance.duration(seconds) == words


def test_a_page_in_a_directory(checkout: Path) -> None:
    assert maintenance.page(site("pages/503.html", path=str(checkout))) == (PAGE, "")


def test_a_page_on_the_controller(checkout: Path) -> None:
    for name in (f"{checkout}/pages/503.html", "~/shop/pages/503.html"):
        assert maintenance.page(site(name, path=None, repo="https://git.example.com/x.git")) == (PAGE, "")


def test_a_page_in_a_repository_that_is_down(repository: Path) -> None:
    given = site("pages/503.html", path=None, repo=str(repository))
    assert maintenance.page(given) == (PAGE, "")  # fetched
    shutil.rmtree(repository)
    (repository).mkdir()
    assert maintenance.page(given) == (PAGE, "")  # what was fetched before


def test_a_repository_that_was_never_read_and_is_down() -> None:
    text, warning = maintenance.page(site("pages/503.html", path=None, repo="/nowhere/at/all"))
    assert "is being worked on" in text
    assert warning.startswith(
        "site blog: maintenance.page: '/nowhere/at/all' cannot be read: there is no such repository"
    )
    assert warning.endswith("visitors see a page of the collection instead")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("none.html", "there is no file 'none.html' in the checkout"),
        ("latin.html", "'latin.html' is no text in UTF-8"),
        ("out.html", "'out.html' leads out of the checkout"),
        ("pages", "'pages' cannot be read: Is a directory"),
        ("/nowhere/x.html", "there is no file '/nowhere/x.html' on this machine"),
    ],
)
def test_a_page_that_cannot_be_had(checkout: Path, page: str, why: str) -> None:
    text, warning = maintenance.page(site(page, path=str(checkout)))
    assert "is being worked on" in text
    assert warning == f"site blog: maintenance.page: {why}; visitors see a page of the collection instead"


def test_a_package_has_no_checkout() -> None:
    given = site("x.html", path=None, package="shop==1", settings="shop.settings", wsgi="shop.wsgi")
    assert "which a package does not have; give an absolute one" in maintenance.page(given)[1]
