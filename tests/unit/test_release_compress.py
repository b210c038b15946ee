# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Static files that are compressed once."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from ansible_collections.webstack.django.plugins.module_utils.release import compress

TEXT = b"body { color: red }\n" * 200
FILES = {
    "css/style.0123456789ab.css": TEXT,
    "css/style.css": TEXT,
    "css/small.0123456789ab.css": b"h1 {}",
    "photo.0123456789ab.png": TEXT,
    "noise.0123456789ab.js": os.urandom(4000),
}


def make(top: Path) -> None:
    for name, content in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)


def test_what_has_a_hash_and_is_worth_it(tmp_path: Path) -> None:
    make(tmp_path / "static")
    assert compress.static(str(tmp_path / "static"), str(tmp_path / "public")) == 1
    (made,) = (tmp_path / "static").rglob("*.gz")
    assert made == tmp_path / "static/css/style.0123456789ab.css.gz"
    assert gzip.decompress(made.read_bytes()) == TEXT
    assert made.stat().st_mode & 0o777 == 0o644
    assert compress.static(str(tmp_path / "static"), str(tmp_path / "public")) == 0


def test_the_work_for_the_release_before_is_taken_over_where_it_is_whole(tmp_path: Path) -> None:
    public = tmp_path / "public/css/style.0123456789ab.css.gz"
    public.parent.mkdir(parents=True)
    for content, same in ((gzip.compress(TEXT), True), (gzip.compress(b"other"), False), (b"half", False)):
        public.write_bytes(content)
        top = tmp_path / f"static-{len(content)}"
        make(top)
        assert compress.static(str(top), str(tmp_path / "public")) == 1
        made = top / "css/style.0123456789ab.css.gz"
        assert gzip.decompress(made.read_bytes()) == TEXT
        assert (made.read_bytes() == public.read_bytes()) == same
        assert not os.path.samefile(made, public)  # a release is opened to its site while it is made


def test_no_link_is_followed(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere")
    top = tmp_path / "static"
    top.mkdir()
    (top / "css").symlink_to(tmp_path / "elsewhere/css")
    (top / "one.0123456789ab.css").symlink_to(tmp_path / "elsewhere/css/style.css")
    assert compress.static(str(top), str(tmp_path / "public")) == 0
    assert list(tmp_path.rglob("*.gz")) == []
