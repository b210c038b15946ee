# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a release is what was built, and which release takes its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import files, integrity
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

GID = os.getegid()
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site({"name": "blog", "root": str(tmp_path), "release_id": "abc", "directories": ["data"], "files": []})
    build(made)
    return made


def build(site: Site) -> None:
    """A release with an environment, as `build` and `prepare` leave them."""
    environment = Path(site.environments) / "key"
    (environment / "lib/django").mkdir(parents=True, exist_ok=True)
    (environment / "lib/django/shortcuts.py").write_text("render = 1\n")
    (Path(site.code) / "notes").mkdir(parents=True)
    (Path(site.code) / "data").mkdir()
    (Path(site.code) / "notes/views.py").write_text("page = 1\n")
    (Path(site.release) / "venv").symlink_to("../../environments/key")
    files.store(site.release, {"id": site.release_id}, GID)
    integrity.note_environment(site)
    integrity.note_release(site)


def found(site: Site, check_mode: bool = True) -> list[tuple[str, str]]:
    """Path below the site's root, and what is found there."""
    entries = [entry for action in integrity.look(site, check_mode) for entry in action.drift]
    return [(os.path.relpath(entry["thing"], site.root), entry["found"]) for entry in entries]


def test_an_untouched_release_is_only_looked_at(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_arguments: Any) -> str:
        raise AssertionError("a file was read")

    monkeypatch.setattr(integrity, "_digest", read)
    assert found(site) == []


def test_what_the_site_may_write_to_is_its_own(site: Site) -> None:
    (Path(site.code) / "data/upload.txt").write_text("x")
    os.utime(os.path.join(site.code, "notes/views.py"))
    assert found(site) == []


def test_each_kind_of_change_is_named(site: Site) -> None:
    views = Path(site.code) / "notes/views.py"
    views.write_text("page = 2\n")  # as long as before
    (Path(site.code) / "notes/evil.py").write_text("")
    (Path(site.environment) / "lib/django/shortcuts.py").unlink()
    os.chmod(site.environment, 0o777)
    assert found(site) == [
        ("releases/abc/code/notes/evil.py", "added"),
        ("releases/abc/code/notes/views.py", "other content"),
        ("environments/key", "mode 0777"),
        ("environments/key/lib/django/shortcuts.py", "missing"),
    ]
    assert not integrity.damaged(site.release)  # nothing is noted in check mode


def test_a_link_in_place_of_a_file(site: Site) -> None:
    views = Path(site.code) / "notes/views.py"
    views.unlink()
    views.symlink_to("/tmp/evil.py")
    assert found(site) == [("releases/abc/code/notes/views.py", "link")]


def test_the_same_code_gets_another_id(site: Site) -> None:
    assert integrity.effective(site, "abc") == "abc"
    (Path(site.code) / "notes/views.py").write_text("page = 3\n")
    assert found(site, check_mode=False) == [("releases/abc/code/notes/views.py", "other content")]
    assert integrity.effective(site, "abc") == "abc-r2"
    assert found(site) == []  # it is known to be damaged, and named once
    site.release_id = "abc-r2"
    build(site)
    assert integrity.effective(site, "abc") == "abc-r2"
    files.remove(os.path.join(site.releases, "abc"))
    assert integrity.effective(site, "abc") == "abc-r2"
    (Path(site.code) / "notes/views.py").write_text("page = 4\n")
    integrity.look(site, check_mode=False)
    assert integrity.effective(site, "abc") == "abc-r3"
    assert integrity.effective(site, "ab") == "ab"


def test_a_release_without_a_manifest_gets_one(site: Site) -> None:
    integrity.forget(site.release)
    assert found(site) == []
    assert not os.path.exists(os.path.join(site.release, integrity.MANIFEST))
    assert found(site, check_mode=False) == []
    (Path(site.code) / "notes/views.py").write_text("page = 5\n")
    assert found(site) == [("releases/abc/code/notes/views.py", "other content")]
