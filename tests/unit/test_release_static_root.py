"""Where a project may have its static files collected: root makes that directory the site's own."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import prepare
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
WORDS = "which is not the site's to write to"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "blog").mkdir()
    return Site(
        {"name": "blog", "user": "daemon", "group": "daemon", "root": str(tmp_path / "blog"), "release_id": "one"}
    )


def test_inside_of_the_site(site: Site, tmp_path: Path) -> None:
    prepare._writable(site, str(tmp_path / "blog/shared/static"))
    assert (tmp_path / "blog/shared/static").owner() == "daemon"


@pytest.mark.parametrize("root", ["/etc/cron.d", "/etc/new.d", "/etc/new.d/static", "/var/lib/new", "/srv/new", "/"])
def test_a_directory_of_others_is_refused(site: Site, root: str) -> None:
    before = os.path.exists(root)
    with pytest.raises(ReleaseError, match=WORDS):
        prepare._writable(site, root)
    assert os.path.exists(root) == before
    assert not before or os.stat(root).st_uid == 0


def test_one_of_another_site_is_refused(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "shop"
    other.mkdir()
    os.chown(other, pwd.getpwnam("nobody").pw_uid, 0)
    (tmp_path / "link").symlink_to(other)
    for path in (other, tmp_path / "link", tmp_path / "blog/../shop"):
        with pytest.raises(ReleaseError, match="STATIC_ROOT"):
            prepare._writable(site, str(path))
    assert other.owner() == "nobody"


def test_one_that_was_given_to_the_site(site: Site, tmp_path: Path) -> None:
    for name, uid in (("given", "daemon"), ("sealed", "root")):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, pwd.getpwnam(uid).pw_uid, pwd.getpwnam("daemon").pw_gid)
        prepare._writable(site, str(tmp_path / name))
        assert (tmp_path / name).owner() == "daemon"


def test_the_operator_decides(site: Site, tmp_path: Path) -> None:
    chosen = Site({**site.data, "static": {"url": "/static/", "root": str(tmp_path / "chosen/static")}})
    prepare._writable(chosen, str(tmp_path / "chosen/static"))
    assert (tmp_path / "chosen/static").owner() == "daemon"
