# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The link that tells a web server with kept pages which release serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import mirror, served
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


def make(root: Path, **more: Any) -> Site:
    return Site({"name": "blog", "root": str(root), "release_id": "one", "page_cache": True, **more})


def test_every_release_leads_elsewhere(tmp_path: Path) -> None:
    site, now, seen = make(tmp_path), tmp_path / "served/now", []
    for release in ("one", "two", "three", "two"):
        assert served.differs(site, release)
        served.note(site, release)
        assert not served.differs(site, release)
        seen.append(now.resolve(strict=True).name)
        assert now.resolve().stat().st_mode & 0o777 == 0o755
    assert seen == ["one", "two", "three", "two"]
    assert {one.name for one in (tmp_path / "served").iterdir()} == {"now", "two", "three"}


def test_a_site_whose_pages_nobody_keeps_has_none(tmp_path: Path) -> None:
    site = make(tmp_path, page_cache=False)
    served.note(site, "one")
    assert list(tmp_path.iterdir()) == []
    served.note(make(tmp_path), "one")
    assert served.differs(site, "two")  # a way back knows only that the link is there


def test_once_all_servers_have_the_release_it_leads_elsewhere_again(tmp_path: Path) -> None:
    site, now = make(tmp_path), tmp_path / "served/now"
    served.note(site, "one")
    assert len(mirror.served_now(site, check_mode=True)) == 1
    assert now.resolve().name == "one"
    assert len(mirror.served_now(site, check_mode=False)) == 1
    assert now.resolve(strict=True).name == "one.all"
    assert mirror.served_now(site, check_mode=False) == []
    assert not served.differs(site, "one")
    assert not served.differs(site, "one-r1")  # as that server calls one that was built anew
    assert served.differs(site, "two")


@pytest.mark.parametrize("name", ["one", "one.all"])
def test_what_it_leads_to_is_put_back(tmp_path: Path, name: str) -> None:
    site = make(tmp_path)
    served.note(site, "one", everywhere=name != "one")
    (tmp_path / "served" / name).rmdir()
    assert served.differs(site, "one")
    served.note(site, "one")
    assert (tmp_path / "served/now").resolve(strict=True).name == "one"
