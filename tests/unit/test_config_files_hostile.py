# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users who move their directories while root works in them, a lost power supply, and a directory without parent."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import config_files, private_view
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction as transaction
from trees import UID, build, declared, photograph


@pytest.mark.skipif(UID != 0, reason="only root can write to the root directory")
def test_a_file_in_the_root_directory_is_written_and_put_back(tmp_path: Path) -> None:
    path = Path(f"/webstack-test-{os.getpid()}")
    path.write_text("old")
    before, directory = path.lstat(), Path("/").stat()
    try:
        for keep in (False, True):
            work = transaction.Transaction(str(tmp_path / "state"))
            work.open()
            work.apply(config_files.plan([declared(path)], []))
            assert path.read_bytes() == b"new\n"
            if keep:
                work.commit()
            else:
                work.rollback()
                assert (path.read_text(), path.lstat().st_ino) == ("old", before.st_ino)
                assert Path("/").stat().st_mtime_ns == directory.st_mtime_ns
            work.close()
            assert os.listdir(tmp_path / "state") == ["lock"]
        assert path.read_bytes() == b"new\n"
    finally:
        path.unlink()


def test_a_directory_swapped_for_a_link_all_the_time_leads_nowhere(tmp_path: Path) -> None:
    """Hundreds of transactions while another process swaps the directory for a link to somebody else's."""
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    build(victim, {"x.conf": ("file", (b"theirs\n", 0o600)), "y.conf": ("file", (b"theirs\n", 0o600))})
    build(shared, {"conf": ("directory", 0o755), "link": ("link", str(victim))})
    shared.chmod(0o777)
    before = photograph(victim)
    swap = "import ctypes, sys\nwhile True: ctypes.CDLL(None).renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)"
    swapper = subprocess.Popen([sys.executable, "-c", swap, str(shared / "conf"), str(shared / "link")])
    outcomes = set()
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (len(outcomes) == 2 and time.monotonic() > deadline - 57):
            work = transaction.Transaction(str(tmp_path / "state"))
            try:
                work.open()
                items = [declared(shared / "conf" / "x.conf", content=os.urandom(4)), declared(shared / "conf" / "n")]
                work.apply(config_files.plan(items, [{"path": str(shared / "conf"), "patterns": ["*.conf"]}]))
                work.commit()
                outcomes.add("done")
            except config_files.ConfigError:
                outcomes.add("refused")
            finally:
                work.close()
            assert photograph(victim) == before
    finally:
        swapper.kill()
        swapper.wait()
    assert outcomes == {"done", "refused"}


def test_a_user_cannot_move_a_private_view_away(tmp_path: Path) -> None:
    """What is covered lies above all that a user can move: else the change would be made for good beside it."""
    home = tmp_path / "home"
    (home / "conf").mkdir(parents=True)
    home.chmod(0o777)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as outside:
        begun, moved = Path(outside, "begun"), Path(outside, "moved")

        def move() -> None:
            while not begun.exists():
                time.sleep(0.01)
            (home / "conf").rename(home / "away")
            (home / "conf").mkdir()
            moved.touch()

        def work() -> dict[str, Any]:
            begun.touch()
            while not moved.exists():
                time.sleep(0.01)
            (home / "conf" / "x").write_text("only tried")
            return {}

        user = threading.Thread(target=move, daemon=True)
        user.start()
        try:
            private_view.run([str(home / "conf" / "x")], work)
        except private_view.Unavailable as error:
            if not begun.exists():
                pytest.skip(str(error))
        user.join(60)
    assert sorted(path.name for path in home.iterdir()) == ["away", "conf"]
    assert [*(home / "conf").iterdir(), *(home / "away").iterdir()] == []


@pytest.mark.skipif(UID != 0, reason="only root can give things away")
def test_a_directory_of_which_only_the_owner_changed_gets_it_back(tmp_path: Path) -> None:
    build(tmp_path / "root", {"d": ("directory", 0o755)})
    os.chown(tmp_path / "root" / "d", 1234, 2345)
    before = photograph(tmp_path / "root")
    work = transaction.Transaction(str(tmp_path / "state"))
    work.open()
    work.apply(config_files.plan([declared(tmp_path / "root" / "d", "directory", directory_mode=0o755)], []))
    assert (tmp_path / "root" / "d").stat().st_uid == UID
    work.rollback()
    work.close()
    assert photograph(tmp_path / "root") == before


def test_all_content_and_the_journal_are_on_disk_before_anything_goes_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves empty files, or no way back."""
    build(tmp_path / "root", {"a": ("file", (b"old", 0o644))})
    events: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.rename

    def note_sync(fd: int) -> None:
        events.append(("sync", os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2].partition("-")[0]))
        sync(fd)

    def note_rename(old: str, new: str, **named: Any) -> None:
        events.append(("rename", new.rpartition("/")[2].partition("-")[0]))
        rename(old, new, **named)

    work = transaction.Transaction(str(tmp_path / "state"))
    work.open()
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note_rename)
    work.apply(config_files.plan([declared(tmp_path / "root" / name) for name in "ab"], []))
    monkeypatch.undo()
    work.commit()
    work.close()
    journal = [("sync", ".journal"), ("rename", "undo"), ("sync", "state")]
    staged = [("sync", ".a.webstack"), ("sync", ".b.webstack")]
    live = [("rename", "a"), ("rename", "b"), ("sync", "root")]
    assert events == [*journal, *staged, *journal, *live]


def test_what_a_directory_gives_to_all_its_new_files_is_not_given_to_ours(tmp_path: Path) -> None:
    """A default ACL, which lets user 1 read and write."""
    build(tmp_path / "root", {"d": ("directory", 0o755)})
    acl = "0200000001000600ffffffff020006000100000004000400ffffffff10000600ffffffff20000400ffffffff"
    try:
        os.setxattr(tmp_path / "root" / "d", "system.posix_acl_default", bytes.fromhex(acl))
    except OSError as error:
        pytest.skip(str(error))
    work = transaction.Transaction(str(tmp_path / "state"))
    work.open()
    items = [declared(tmp_path / "root" / "d" / "secret", mode=0o640)]
    work.apply(config_files.plan(items, []))
    work.commit()
    work.close()
    assert "system.posix_acl_access" not in os.listxattr(tmp_path / "root" / "d" / "secret")
    assert config_files.plan(items, []) == []
