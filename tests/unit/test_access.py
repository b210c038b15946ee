# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way back from a change that nobody confirms: the scripts themselves, run by a shell in a directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import access, config_files
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction as transaction
from trees import build, declared, photograph

# Stands for systemd: starts what it is asked to start, and writes down everything.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{calls}
if [ "$*" = "start webstack-access.service" ]; then
  eval "$(sed -n 's/^ExecStart=//p' {units}/webstack-access.service)"
fi
"""
SYSTEMD_RUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
"$@" &
"""
TREE = {
    "kept": ("file", (b"kept\n", 0o640)),
    "link": ("link", "kept"),
    "away": ("file", (b"away\n", 0o600)),
    "d": ("directory", 0o750),
    "d/inner": ("file", (b"inner\n", 0o644)),
    "it's here": ("file", (b"quoted\n", 0o604)),
    "turns": ("file", (b"a file\n", 0o600)),
}


class Place:
    """A tree of files to change, and what stands for the server around it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.units, self.calls = path / "root", path / "units", path / "calls"
        self.state = path / "state"
        programs = path / "bin"
        for directory in (self.units, programs):
            directory.mkdir()
        systemctl = SYSTEMCTL.replace("{calls}", str(self.calls)).replace("{units}", str(self.units))
        for name, text in {"systemctl": systemctl, "systemd-run": SYSTEMD_RUN}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setattr(transaction, "STATE_DIR", str(path / "transactions"))
        build(self.root, TREE)
        self.deadman = access.Deadman(str(self.state), str(self.units))

    def changes(self) -> list[config_files.Change]:
        items = [
            declared(self.root / "kept", mode=0o644),
            declared(self.root / "link", mode=0o644),
            declared(self.root / "away", "absent"),
            declared(self.root / "d", "directory", directory_mode=0o700),
            declared(self.root / "d/inner", content=b"other\n", mode=0o600),
            declared(self.root / "it's here", content=b"other\n"),
            declared(self.root / "turns", "directory"),
            declared(self.root / "turns/into", mode=0o644),
            declared(self.root / "made", "directory"),
            declared(self.root / "made/file", mode=0o644),
        ]
        return config_files.plan(items, [])

    def change(self, apply: list[list[str]], **more: Any) -> tuple[int | None, str]:
        changes = self.changes()
        values = {"token": "t1", "seconds": 60, "undo": [], "live": [], **more}
        self.deadman.arm(changes, apply=apply, **values)
        write = transaction.Transaction(str(self.state) + "-transactions")
        write.open()
        write.apply(changes)
        write.commit()
        write.close()
        return self.deadman.apply()

    def confirm(self, token: str = "t1") -> int:
        script = self.state / "pending/confirm"
        return subprocess.run(["/bin/sh", str(script), token], check=False, capture_output=True).returncode

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.units)) for path in self.units.rglob("*") if not path.is_dir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def say(place: Place, word: str) -> list[list[str]]:
    return [["sh", "-c", f'echo {word} "$(cat kept)" >>{place.root.parent}/said', "sh"]]


def said(place: Place) -> str:
    return (place.root.parent / "said").read_text()


def test_what_nobody_confirms_is_put_back_with_every_byte_mode_and_owner(place: Place) -> None:
    before = photograph(place.root, times=False)
    where = [["sh", "-c", f"cat {place.root}/kept >>{place.root.parent}/said"]]
    assert place.change(where) == (0, "")
    assert said(place) == "new\n"
    assert photograph(place.root, times=False) != before
    assert place.left() == [
        "multi-user.target.wants/webstack-access.service",
        "timers.target.wants/webstack-access.timer",
        "webstack-access.service",
        "webstack-access.timer",
    ]
    subprocess.run(["systemctl", "start", "webstack-access.service"], check=True)
    assert photograph(place.root, times=False) == before
    assert said(place) == "new\nkept\n"
    assert place.left() == []
    assert not place.deadman.pending()
    assert place.confirm() == 2  # no such script


def test_what_is_confirmed_stays(place: Place) -> None:
    assert place.change([["true"]]) == (0, "")
    after = photograph(place.root, times=False)
    assert place.confirm("another") == 4
    assert place.deadman.pending()
    assert place.confirm() == 0
    assert place.left() == []
    assert os.listdir(place.state) == []
    subprocess.run(["systemctl", "start", "webstack-access.service"], check=False)
    assert photograph(place.root, times=False) == after
    assert place.deadman.heal() is False


def test_what_fails_cannot_be_confirmed(place: Place) -> None:
    code, words = place.change([["true"], ["sh", "-c", "echo refused; exit 7"], ["touch", str(place.root / "never")]])
    assert (code, words) == (7, "refused")
    assert place.confirm() == 6
    assert not (place.root / "never").exists()
    assert place.deadman.pending()


def test_the_next_run_puts_it_back_first(place: Place) -> None:
    before = photograph(place.root, times=False)
    place.change([["true"]])
    again = access.Deadman(str(place.state), str(place.units))
    assert again.heal() is True
    assert photograph(place.root, times=False) == before


def test_a_way_back_that_was_cut_short_begins_again(place: Place) -> None:
    before = photograph(place.root, times=False)
    place.change([["true"]])
    (place.state / "pending").rename(place.state / "undoing")
    (place.root / "kept").unlink()
    assert access.Deadman(str(place.state), str(place.units)).heal() is True
    assert photograph(place.root, times=False) == before
    assert place.left() == []


def test_the_way_back_has_what_was_saved_before(place: Place) -> None:
    place.change([["true"]], save=["cat", str(place.root / "kept")], undo=[["cp", "saved", str(place.root / "extra")]])
    subprocess.run(["systemctl", "start", "webstack-access.service"], check=True)
    assert (place.root / "extra").read_text() == "kept\n"


def test_nothing_changes_where_the_running_state_cannot_be_saved(place: Place) -> None:
    with pytest.raises(access.AccessError, match="`false` failed"):
        place.change([["true"]], save=["false"])
    assert not place.deadman.pending()
    assert place.left() == []


def test_files_of_others_in_a_new_directory_stay(place: Place) -> None:
    place.change([["true"]])
    (place.root / "made/theirs").write_text("x")
    subprocess.run(["systemctl", "start", "webstack-access.service"], check=True)
    assert sorted(path.name for path in (place.root / "made").iterdir()) == ["theirs"]


def test_the_running_state_is_asked(tmp_path: Path) -> None:
    class Unit:
        name = "ssh.service"
        up = True

        def loaded(self) -> float:
            return self.moment

        moment = 0.0

    unit = Unit()
    file = tmp_path / "file"
    file.write_text("")
    live = [{"unit": "ssh.service", "paths": [str(file)]}, {"argv": ["true"]}]

    def reasons(more: list[dict[str, Any]]) -> list[str]:
        return access.stale(more, lambda names: [unit])  # type: ignore[list-item]

    assert reasons(live) == ["ssh.service has not read its files since they changed"]
    unit.moment = file.stat().st_ctime + 1
    assert reasons(live) == []
    assert reasons([{"argv": ["sh", "-c", "echo why; exit 3"]}]) == ["`sh -c 'echo why; exit 3'` ends with 3: why"]
    unit.moment, unit.up = 0.0, False
    assert reasons(live) == []
