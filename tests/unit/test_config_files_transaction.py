# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import config_files, safe_fs
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction as transaction
from trees import UID, build, declared, disk_full, nothing_left, on_call, photograph

OLD = {
    "a.conf": ("file", (b"old a\n", 0o640)),
    "b.conf": ("file", (b"same\n", 0o600)),
    "gone.conf": ("file", (b"to be removed\n", 0o604)),
    "link": ("link", "a.conf"),
    "becomes_directory": ("file", (b"x", 0o644)),
    "sub": ("directory", 0o700),
    "sub/deep.conf": ("file", (b"deep\n", 0o444)),
    "tree": ("directory", 0o750),
    "tree/in/it": ("file", (b"y", 0o644)),
}


def wanted(root: Path) -> list[Any]:
    """One of every kind of change."""
    return [
        declared(root / "a.conf", content=b"new a\n"),
        declared(root / "b.conf", content=b"same\n", mode=0o644),
        declared(root / "gone.conf", "absent"),
        declared(root / "link", "link", target="b.conf"),
        declared(root / "fresh" / "x.conf"),
        declared(root / "fresh", "directory"),
        declared(root / "fresh" / "inner", "directory"),
        declared(root / "fresh" / "inner" / "y.conf"),
        declared(root / "becomes_directory", "directory"),
        declared(root / "becomes_directory" / "z.conf"),
        declared(root / "sub", "directory", directory_mode=0o755),
        declared(root / "sub" / "deep.conf", content=b"deeper\n"),
        declared(root / "tree", "absent"),
        declared(root / "new_link", "link", target="/nowhere"),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    things = tmp_path / "root"
    build(things, OLD)
    return things


@pytest.fixture
def work(tmp_path: Path) -> Iterator[transaction.Transaction]:
    made = transaction.Transaction(str(tmp_path / "state"))
    made.open()
    yield made
    made.close()


def test_everything_is_as_declared_afterwards(root: Path, tmp_path: Path, work: transaction.Transaction) -> None:
    work.apply(config_files.plan(wanted(root), []))
    work.commit()
    assert config_files.plan(wanted(root), []) == []
    assert (root / "a.conf").read_bytes() == b"new a\n"
    assert (root / "fresh" / "inner" / "y.conf").read_bytes() == b"new\n"
    assert not (root / "tree").exists()
    assert nothing_left(tmp_path)


def test_rollback_leaves_every_byte_mode_owner_and_time(
    root: Path, tmp_path: Path, work: transaction.Transaction
) -> None:
    if UID == 0:
        os.chown(root / "a.conf", 1234, 2345)
        os.chown(root / "sub", 1234, 2345)
    before = photograph(root)
    work.apply(config_files.plan(wanted(root), []))
    assert photograph(root) != before
    work.rollback()
    assert photograph(root) == before
    assert nothing_left(tmp_path)


def test_an_error_at_any_point_leaves_the_old_state(root: Path, tmp_path: Path) -> None:
    before = photograph(root)
    number = 0
    failed = True
    while failed or number < 50:
        number += 1
        work = transaction.Transaction(str(tmp_path / "state"))
        work.open()
        changes = config_files.plan(wanted(root), [])
        said = ""
        with on_call(number, disk_full) as counter:
            try:
                work.apply(changes)
            except config_files.ConfigError as error:
                said = str(error)
                assert "free some space" in said
                assert "Nothing was changed" in said
        failed = counter.made >= number
        if not said:
            work.rollback()
        work.close()
        assert photograph(root) == before, f"call {number}"
        assert nothing_left(tmp_path), f"call {number}"


def killed_at(number: int, after: bool, root: Path, state: Path) -> bool:
    """Apply in a child that dies at a system call; whether it died."""
    child = os.fork()
    if child == 0:
        work = transaction.Transaction(str(state))
        with on_call(number, lambda: os._exit(137), after):
            work.open()
            work.apply(config_files.plan(wanted(root), []))
            work.commit()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137


@pytest.mark.parametrize("after", [False, True])
def test_a_run_killed_at_any_point_is_undone_or_done_by_the_next(tmp_path: Path, after: bool) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    build(root, OLD)
    before = photograph(root)
    work = transaction.Transaction(str(state))
    work.open()
    work.apply(config_files.plan(wanted(root), []))
    work.commit()
    work.close()
    done = photograph(root, times=False)
    number = 1
    while True:
        build(root, OLD)
        shutil.rmtree(state)
        died = killed_at(number, after, root, state)
        journals = [journal for name, journal in transaction.pending(str(state)) if name.startswith("undo-")]
        view = config_files.View([step for journal in journals for step in journal["steps"]])
        predicted = [(c.item.path, c.reasons, c.before) for c in config_files.plan(wanted(root), [], view)]
        work = transaction.Transaction(str(state))
        work.open()
        changes = config_files.plan(wanted(root), [])
        assert predicted == [(c.item.path, c.reasons, c.before) for c in changes], f"call {number}"
        healed = photograph(root)
        if changes:
            assert healed == before, f"call {number}"
        else:
            assert photograph(root, times=False) == done, f"call {number}"
        work.apply(changes)
        work.commit()
        work.close()
        assert photograph(root, times=False) == done, f"call {number}"
        assert nothing_left(tmp_path), f"call {number}"
        if not died:
            break
        number += 1
    assert number > 50


def test_what_others_made_after_a_kill_is_kept(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    build(root, {"a.conf": ("file", (b"old", 0o644))})
    work = transaction.Transaction(str(state))
    work.open()
    items = [
        declared(root / "a.conf"),
        declared(root / "b.conf"),
        declared(root / "d", "directory"),
        declared(root / "e", "directory"),
    ]
    work.apply(config_files.plan(items, []))
    work.close()  # killed here: neither committed nor rolled back
    for name in ("a.conf", "b.conf"):
        (root / "package").write_text("from a package")
        (root / "package").rename(root / name)
    (root / "d" / "log").write_text("written since")
    work = transaction.Transaction(str(state))
    assert sorted(work.open()) == sorted(str(root / name) for name in ("a.conf", "b.conf", "d", "e"))
    work.close()
    assert (root / "a.conf").read_text() == "from a package"
    assert (root / "b.conf").read_text() == "from a package"
    assert (root / "d" / "log").read_text() == "written since"
    assert not (root / "e").exists()
    assert nothing_left(tmp_path)


def test_a_full_disk_leaves_the_old_state(tmp_path: Path) -> None:
    """A real one: a tmpfs with room for two of the three files."""
    full = tmp_path / "full"
    full.mkdir()
    mounted = (
        UID == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(full)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        root = full / "root"
        build(root, dict.fromkeys("abc", ("file", (b"old", 416))))
        before = photograph(root)
        work = transaction.Transaction(str(tmp_path / "state"))
        work.open()
        items = [declared(root / name, content=os.urandom(100_000)) for name in "abc"]
        with pytest.raises(config_files.ConfigError, match=r"root/c: No space left.*free some space"):
            work.apply(config_files.plan(items, []))
        work.close()
        assert photograph(root) == before
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_file_that_is_mounted_is_written_in_place(tmp_path: Path, work: transaction.Transaction) -> None:
    """/etc/hosts of a container can be written but not replaced."""
    root = tmp_path / "root"
    build(root, {"hosts": ("file", (b"old\n", 0o640))})
    (tmp_path / "other").write_bytes(b"old\n")
    (tmp_path / "other").chmod(0o640)
    if (
        UID != 0
        or subprocess.run(
            ["mount", "--bind", str(tmp_path / "other"), str(root / "hosts")], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("nothing can be mounted here")
    try:
        items = [declared(root / "hosts", content=b"new and longer\n"), declared(root / "b")]
        work.apply(config_files.plan(items, []))
        assert (tmp_path / "other").read_bytes() == b"new and longer\n"
        work.rollback()
        assert (tmp_path / "other").read_bytes() == b"old\n"
        assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640
        assert nothing_left(tmp_path)
        again = transaction.Transaction(str(tmp_path / "state"))
        again.apply(config_files.plan(items, []))
        again.commit()
        assert (tmp_path / "other").read_bytes() == b"new and longer\n"
        assert nothing_left(tmp_path)
    finally:
        subprocess.run(["umount", str(root / "hosts")], check=True)


def test_an_immutable_file_is_put_right_and_frozen_again_by_a_rollback(root: Path, tmp_path: Path) -> None:
    if UID != 0 or subprocess.run(["chattr", "+i", str(root / "a.conf")], check=False, capture_output=True).returncode:
        pytest.skip("no immutable files here")
    try:
        before = photograph(root)
        work = transaction.Transaction(str(tmp_path / "state"))
        work.open()
        work.apply(config_files.plan(wanted(root), []))
        assert (root / "a.conf").read_bytes() == b"new a\n"
        work.rollback()
        assert photograph(root) == before
        assert safe_fs.frozen(str(root / "a.conf"))
    finally:
        subprocess.run(["chattr", "-i", str(root / "a.conf")], check=False)
    work.close()


def test_where_only_the_mode_drifted_the_time_stamp_stays(root: Path, work: transaction.Transaction) -> None:
    """So that no daemon is reloaded for it by those who look at time stamps."""
    work.apply(config_files.plan([declared(root / "b.conf", content=b"same\n", mode=0o644)], []))
    work.commit()
    assert (root / "b.conf").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((root / "b.conf").stat().st_mode) == 0o644


def test_a_new_file_is_never_readable_before_it_has_its_mode(root: Path, work: transaction.Transaction) -> None:
    seen = set()
    original = os.fchown

    def watch(fd: int, *arguments: int) -> None:
        seen.add(stat.S_IMODE(os.fstat(fd).st_mode))
        original(fd, *arguments)

    os.fchown = watch  # type: ignore[assignment]
    try:
        work.apply(config_files.plan([declared(root / "secret", mode=0o640)], []))
    finally:
        os.fchown = original
    assert seen == {0o600}
    work.rollback()


def test_a_reader_never_sees_half_a_file(root: Path, tmp_path: Path) -> None:
    """The path is replaced by a rename: at any moment it has the old or the new content."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                if (root / "a.conf").read_bytes() not in (b"A" * 100_000, b"B" * 100_000, b"old a\n"):
                    os._exit(1)
        except BaseException:
            os._exit(2)
    try:
        for letter in (b"A", b"B") * 20:
            work = transaction.Transaction(str(tmp_path / "state"))
            work.open()
            work.apply(config_files.plan([declared(root / "a.conf", content=letter * 100_000)], []))
            work.commit()
            work.close()
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_two_runs_take_turns(root: Path, tmp_path: Path) -> None:
    work = transaction.Transaction(str(tmp_path / "state"))
    work.open()
    child = os.fork()
    if child == 0:
        work.close()  # the parent still holds it
        other = transaction.Transaction(str(tmp_path / "state"))
        other.open()
        (root / "second").touch()
        os._exit(0)
    time.sleep(0.3)
    assert not (root / "second").exists()
    work.close()
    os.waitpid(child, 0)
    assert (root / "second").exists()


def test_waiting_for_a_run_that_never_ends_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = transaction.Transaction(str(tmp_path / "state"))
    first.open()
    monkeypatch.setattr(transaction, "LOCK_SECONDS", 0.2)
    with pytest.raises(config_files.ConfigError, match="another run"):
        transaction.Transaction(str(tmp_path / "state")).open()
    first.close()


def test_the_state_directory_is_private(tmp_path: Path, work: transaction.Transaction) -> None:
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing/x.conf", "its directory does not exist"), ("a.conf/x.conf", "something above it is a file")],
)
def test_a_path_that_cannot_be_is_explained(root: Path, work: transaction.Transaction, path: str, words: str) -> None:
    before = photograph(root)
    changes = config_files.plan([declared(root / "b.conf"), declared(root / path)], [])
    with pytest.raises(config_files.ConfigError, match=words):
        work.apply(changes)
    assert photograph(root) == before


def test_an_account_that_does_not_exist_is_an_error(root: Path, work: transaction.Transaction) -> None:
    with pytest.raises(config_files.ConfigError, match="owner or group does not exist"):
        work.apply(config_files.plan([declared(root / "x", uid=None)], []))


def test_explanations_name_the_remedy() -> None:
    for code, words in ((errno.EROFS, "read-write"), (errno.EDQUOT, "quota"), (errno.EPERM, "lsattr")):
        assert words in transaction.explain("/x", OSError(code, "words"))
