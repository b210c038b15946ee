# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where uploads are kept, before the site's directories are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import accounts
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is there already; making one needs root and a machine of its own (Molecule)."""
    monkeypatch.setattr(accounts, "missing", lambda site: [])


def site(root: Path, media: str) -> Site:
    return Site({"name": "blog", "root": str(root), "media": {"url": "/media/", "root": media}})


@pytest.mark.parametrize("where", ["mnt/uploads/blog", "srv/blog/shared/data/media"])
def test_directories_above_uploads_are_made(tmp_path: Path, where: str) -> None:
    one = site(tmp_path / "srv/blog", str(tmp_path / where))
    above = tmp_path / Path(where).parent
    said = [f"blog: make {above}, for its uploads"]
    assert accounts.create(one, check_mode=True) == said
    assert not above.exists()
    assert accounts.create(one, check_mode=False) == said
    assert above.is_dir()
    above.chmod(0o700)
    assert accounts.create(one, check_mode=False) == []
    assert above.stat().st_mode & 0o777 == 0o700


def test_a_link_of_the_site_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "srv/blog/shared").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "srv/blog/shared/data").symlink_to(tmp_path / "etc")
    assert accounts.create(site(tmp_path / "srv/blog", str(tmp_path / "srv/blog/shared/data/new/media")), False) == []
    assert list((tmp_path / "etc").iterdir()) == []


def test_the_usual_place_needs_nothing(tmp_path: Path) -> None:
    assert accounts.create(Site({"name": "blog", "root": str(tmp_path / "blog")}), False) == []
