"""Releases on a disk: static files of several releases, what is kept, and files that are placed into a checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import activate, configure, files, static
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError, Site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    return tmp_path


def site(root: Path, release: str = "one", **more: Any) -> Site:
    return Site({"name": "blog", "root": str(root), "release_id": release, "settings_overlay": False, **more})


def release(root: Path, name: str, assets: dict[str, str], **state: Any) -> None:
    """A built release; `state` is what was done with it."""
    directory = root / "releases" / name
    for path, text in assets.items():
        (directory / "static" / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / "static" / path).write_text(text)
    directory.mkdir(exist_ok=True)
    (directory / "release.json").write_text(json.dumps({"id": name}))
    (directory / ".state.json").write_text(json.dumps({"static_root": str(directory / "static"), **state}))


def current(root: Path, name: str) -> None:
    files.link(f"releases/{name}", str(root / "current"))


def public(root: Path) -> dict[str, str]:
    top = root / "public/static"
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


# Static files ------------------------------------------------------------------------------------


def test_the_public_directory_is_the_union_and_the_newest_wins(root: Path) -> None:
    release(root, "one", {"css/a.1.css": "1", "logo.svg": "old", "staticfiles.json": "{}"}, activated_at=1)
    release(root, "two", {"css/a.2.css": "2", "logo.svg": "new"}, activated_at=2)
    assert static.publish(site(root), ["one"], check_mode=False) == ["blog: publish 2 static files"]
    assert public(root) == {"css/a.1.css": "1", "logo.svg": "old"}
    assert static.publish(site(root), ["two", "one"], check_mode=True) == ["blog: publish 2 static files"]
    assert public(root) == {"css/a.1.css": "1", "logo.svg": "old"}
    assert static.publish(site(root), ["two", "one"], check_mode=False) == ["blog: publish 2 static files"]
    assert public(root) == {"css/a.1.css": "1", "css/a.2.css": "2", "logo.svg": "new"}
    assert static.publish(site(root), ["two", "one"], check_mode=False) == []
    source = root / "releases/two/static/logo.svg"
    assert os.stat(source).st_ino == os.stat(root / "public/static/logo.svg").st_ino


def test_files_that_no_release_has_go_only_when_that_is_asked_for(root: Path) -> None:
    release(root, "one", {"old/a.css": "1"})
    release(root, "two", {"b.css": "2"})
    static.publish(site(root), ["two", "one"], check_mode=False)
    assert static.publish(site(root), ["two"], check_mode=False) == []
    assert static.publish(site(root), ["two"], check_mode=True, prune=True) == [
        "blog: remove 1 static files that no kept release has"
    ]
    assert len(public(root)) == 2
    static.publish(site(root), ["two"], check_mode=False, prune=True)
    assert public(root) == {"b.css": "2"}
    assert os.listdir(root / "public/static") == ["b.css"]


def test_a_file_takes_the_place_of_a_directory(root: Path) -> None:
    release(root, "one", {"x": "file"})
    (root / "public/static/x/y").mkdir(parents=True)
    static.publish(site(root), ["one"], check_mode=False)
    assert public(root) == {"x": "file"}


def test_another_file_system_gets_copies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(root, "one", {"a.css": "1"})

    def link(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(static.os, "link", link)
    static.publish(site(root), ["one"], check_mode=False)
    assert public(root) == {"a.css": "1"}
    one, other = (os.stat(root / where / "a.css") for where in ("releases/one/static", "public/static"))
    assert one.st_ino != other.st_ino
    assert (one.st_mtime_ns, other.st_mode & 0o777) == (other.st_mtime_ns, 0o644)


def test_links_among_static_files_are_not_followed(root: Path) -> None:
    release(root, "one", {"a.css": "1"})
    (root / "releases/one/static/passwd").symlink_to("/etc/passwd")
    static.publish(site(root), ["one"], check_mode=False)
    assert public(root) == {"a.css": "1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_only_what_root_made_public_is_published(root: Path) -> None:
    """STATIC_ROOT may lie where the site can put a link to a directory of another site in its place."""
    release(root, "one", {})
    other = root / "other"
    other.mkdir()
    for name, mode in (("code.py", 0o640), ("letter.txt", 0o644), ("style.css", 0o644)):
        (other / name).write_text(name)
        (other / name).chmod(mode)
    os.chown(other / "letter.txt", 12345, 12345)  # an upload
    (root / "releases/one/static").symlink_to(other)
    static.publish(site(root), ["one"], check_mode=False)
    assert public(root) == {"style.css": "style.css"}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_tree_is_given_and_sealed_through_no_link(root: Path) -> None:
    other, shared = root / "other", root / "shared"
    (other / "static").mkdir(parents=True)
    (other / "static").chmod(0o700)
    shared.mkdir()
    os.chown(shared, 12345, 12345)
    (shared / "static").symlink_to(other / "static")
    (shared / "deep").symlink_to(other)
    for path in (shared / "static", shared / "deep/static"):
        for work in (lambda top: files.give(top, 12345, 12345), lambda top: files.seal(top, 12345, readable=True)):
            with pytest.raises(OSError, match=r"link|directory"):
                work(str(path))
    info = os.stat(other / "static")
    assert (info.st_uid, info.st_mode & 0o777) == (os.geteuid(), 0o700)


# What is kept ------------------------------------------------------------------------------------


def test_the_order_of_releases(root: Path) -> None:
    for number, name in enumerate(["one", "two", "three"]):
        release(root, name, {}, activated_at=number)
    (root / "releases/half").mkdir()
    current(root, "one")
    assert static.kept(site(root)) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("keep", "remaining"),
    [(1, {"two", "four"}), (2, {"two", "four"}), (3, {"two", "three", "four"}), (9, {"one", "two", "three", "four"})],
)
def test_the_last_releases_are_kept_with_the_one_before(root: Path, keep: int, remaining: set[str]) -> None:
    for number, name in enumerate(["one", "two", "three", "four"]):
        release(root, name, {f"{name}.css": name}, activated_at=number)
    release(root, "bad", {"bad.css": "x"}, bad={"config": "x"}, activated_at=9)
    (root / "releases/half").mkdir()
    current(root, "four")
    files.link("releases/two", str(root / "previous"))
    wanted = site(root, "four", keep_releases=keep)
    predicted = activate.prune(wanted, check_mode=True)
    assert set(os.listdir(root / "releases")) == {"one", "two", "three", "four", "bad", "half"}
    static.publish(wanted, static.kept(wanted), check_mode=False)
    done = activate.prune(wanted, check_mode=False)
    assert set(os.listdir(root / "releases")) == remaining
    assert set(public(root)) == {f"{name}.css" for name in remaining}
    assert set(predicted) <= set(done) | {"blog: publish 4 static files"} | {
        f"blog: publish {len(remaining)} static files"
    }
    assert activate.prune(wanted, check_mode=False) == []


def test_a_release_is_refused_with_the_configuration_that_failed(root: Path) -> None:
    one = site(root)
    release(root, "one", {}, bad={"config": one.digest({}), "reason": "it does not answer"})
    assert activate.refused(one, {}) == {"config": one.digest({}), "reason": "it does not answer"}
    assert activate.refused(site(root, env={"X": "1"}), {}) is None


# Files in a checkout -----------------------------------------------------------------------------


@pytest.fixture
def checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout of a release whose site is the account that runs the tests."""
    code = root / "releases/one/code"
    code.mkdir(parents=True)
    return code


def predicted(root: Path, **more: Any) -> list[str]:
    found = configure.apply(site(root, user=_me(), **more), {}, check_mode=True)
    return [line.removeprefix("blog: write ").removesuffix(" of release one") for line in found]


def _me() -> str:
    return files.pwd.getpwuid(os.getuid()).pw_name


def test_a_check_says_what_would_be_laid_down(root: Path, checkout: Path) -> None:
    more = {
        "files": [{"path": "local.py", "content": "x"}],
        "shared": ["data", "keys.json"],
        "directories": ["logs"],
    }
    expected = ["link data", "link keys.json", "directory logs", "local.py", "env", "manage", "project"]
    assert predicted(root, **more) == expected
    assert os.listdir(checkout) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", [{"path": "../x", "content": ""}]),
        ("shared", ["../x"]),
        ("directories", ["a/../../x"]),
    ],
)
def test_no_path_leads_out_of_the_checkout(root: Path, checkout: Path, key: str, value: Any) -> None:
    with pytest.raises(ReleaseError, match=f"site blog, prepare: {key}: '.*' lies outside the checkout\nWhat to do: "):
        predicted(root, **{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("files", [{"path": "out/x", "content": ""}]),
        ("shared", ["out/x"]),
        ("directories", ["out/x"]),
    ],
)
def test_no_link_leads_out_of_the_checkout(root: Path, checkout: Path, key: str, value: Any) -> None:
    (checkout / "out").symlink_to("/etc")
    with pytest.raises(ReleaseError, match=f"{key}: a link leads 'out/x' out of the checkout"):
        predicted(root, **{key: value})


def test_a_file_is_not_written_through_a_link(root: Path, checkout: Path) -> None:
    (checkout / "local.py").symlink_to("/etc/passwd")
    with pytest.raises(ReleaseError, match=r"files: \S+/local.py is a symbolic link"):
        predicted(root, files=[{"path": "local.py", "content": ""}])


def test_a_file_is_not_written_where_others_could_turn_it_away(root: Path, checkout: Path) -> None:
    link = root / "link"
    link.symlink_to("/etc")
    with pytest.raises(ReleaseError, match=r"files: \S+/link/x: \S+/link is a symbolic link\nWhat to do: choose a dir"):
        predicted(root, files=[{"path": str(link / "x"), "content": ""}])


# The small operations ----------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write(str(path), "old", 0o600, os.getgid(), os.getuid())
    with pytest.raises(UnicodeEncodeError):
        files.write(str(path), "new\ud800", 0o600, os.getgid(), os.getuid())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_half_of_a_release_file_is_none(tmp_path: Path) -> None:
    assert files.load(str(tmp_path)) == {}
    (tmp_path / "release.json").write_text('{"id": "o')
    assert files.load(str(tmp_path)) == {}
    (tmp_path / "release.json").write_text("[1]")
    assert files.load(str(tmp_path)) == {}


def test_a_link_is_replaced(tmp_path: Path) -> None:
    files.link("a", str(tmp_path / "x"))
    files.link("b", str(tmp_path / "x"))
    assert os.readlink(tmp_path / "x") == "b"
    assert os.listdir(tmp_path) == ["x"]


def test_directories_are_made_below_their_top_only(tmp_path: Path) -> None:
    mine = (os.getuid(), os.getgid())
    files.make_directories(str(tmp_path / "a/b"), str(tmp_path), *mine)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o750
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(ValueError, match="link is a symbolic link"):
        files.make_directories(str(tmp_path / "link/x"), str(tmp_path), *mine)
    with pytest.raises(ValueError, match="is not below"):
        files.make_directories("/elsewhere", str(tmp_path), *mine)
