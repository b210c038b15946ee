# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import config_files, safe_fs
from trees import UID, declared


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory that others may write to."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o777)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root\n")
    return path


@pytest.mark.parametrize("name", ["conf/passwd", "conf/new", "conf/sub/new"])
def test_a_planted_link_on_the_way_is_refused(shared: Path, tmp_path: Path, name: str) -> None:
    (shared / "conf").symlink_to(tmp_path / "etc")
    for state in ("file", "directory", "absent"):
        with pytest.raises(config_files.ConfigError, match="is a symbolic link below a directory that users"):
            config_files.plan([declared(shared / name, state)], [])
    with pytest.raises(config_files.ConfigError, match="symbolic link"):
        config_files.plan([], [{"path": str(shared / "conf" / "x"), "patterns": ["*"]}])
    assert (tmp_path / "etc" / "passwd").read_text() == "root\n"


@pytest.mark.skipif(UID != 0, reason="only root can give things away")
@pytest.mark.parametrize("state", ["file", "directory"])
def test_a_link_that_a_user_planted_as_the_file_itself_is_refused(shared: Path, tmp_path: Path, state: str) -> None:
    (shared / "conf").symlink_to(tmp_path / "etc" / "passwd")
    os.chown(shared / "conf", 4242, 4242, follow_symlinks=False)
    with pytest.raises(config_files.ConfigError, match=r"link to .*passwd that user 4242 made"):
        config_files.plan([declared(shared / "conf", state)], [])


@pytest.mark.skipif(UID != 0, reason="only root can give things away")
def test_links_below_a_directory_of_another_user_are_refused(shared: Path, tmp_path: Path) -> None:
    shared.chmod(0o755)
    os.chown(shared, 4242, 4242)
    (shared / "conf").symlink_to(tmp_path / "etc")
    with pytest.raises(safe_fs.UnsafePathError):
        safe_fs.status(str(shared / "conf" / "passwd"))


def test_a_link_where_only_root_can_write_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Like /var/run. (Nothing below /tmp is such a place, so the verdict is given here.)"""
    monkeypatch.setattr(safe_fs, "_trusted", lambda info: True)
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("here")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    assert safe_fs.read(str(tmp_path / "link2" / "x")) == b"here"


def test_links_in_a_circle_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(safe_fs, "_trusted", lambda info: True)
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        safe_fs.read(str(tmp_path / "a" / "x"))


def test_reading_never_follows_the_last_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        safe_fs.read(str(tmp_path / "link"))


def test_removing_never_goes_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "file").touch()
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "link").symlink_to(tmp_path / "keep")
    with safe_fs.parent_of(str(tmp_path / "gone")) as (fd, name):
        safe_fs.remove(name, fd)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep"]
    assert (tmp_path / "keep" / "file").exists()


def test_attributes_are_never_set_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "link").symlink_to("secret")
    with safe_fs.parent_of(str(tmp_path / "link")) as (fd, name), pytest.raises(OSError, match="symbolic links"):
        safe_fs.set_attributes(name, fd, UID, os.getegid(), 0o644)


def test_relative_paths_are_a_mistake() -> None:
    for path in ("etc/x", "/", ""):
        with pytest.raises(ValueError, match="not an absolute path"):
            safe_fs.open_parent(path)


def test_descriptors_are_closed(tmp_path: Path, shared: Path) -> None:
    (shared / "conf").symlink_to(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for name in ("x", "no/where", "conf/x", "a/b/c"):
        for call in (safe_fs.status, safe_fs.has_acl, safe_fs.frozen):
            try:
                call(str(shared / name))
            except safe_fs.UnsafePathError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_root_directory_can_be_opened() -> None:
    """A file directly in it has it as its directory."""
    with safe_fs.opened("/") as fd:
        assert os.path.samestat(os.fstat(fd), os.stat("/"))


def test_a_directory_that_is_replaced_while_it_is_looked_at_is_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the way into it."""
    (shared / "conf").mkdir()
    original = os.lstat

    def swap(name: str, **named: int) -> os.stat_result:
        info = original(name, **named)
        if name == "conf":
            (shared / "conf").rmdir()
            (shared / "conf").symlink_to(tmp_path / "etc")
        return info

    monkeypatch.setattr(os, "lstat", swap)
    with pytest.raises(safe_fs.UnsafePathError, match="conf was a directory and was replaced"):
        safe_fs.read(str(shared / "conf" / "passwd"))


@pytest.mark.skipif(UID != 0, reason="what only root can move")
def test_an_anchor_is_a_directory_that_no_user_can_move(shared: Path, tmp_path: Path) -> None:
    assert safe_fs.anchor("/etc/no/such/file") == "/etc"
    assert safe_fs.anchor("/no-such-directory/file") == "/"
    assert safe_fs.anchor("/usr/bin/x") == "/usr/bin"
    (shared / "conf").mkdir()
    above = next(one for one in [*reversed(shared.parents), shared] if one.stat().st_mode & 0o022)
    assert safe_fs.anchor(str(shared / "conf" / "x")) == str(above)
