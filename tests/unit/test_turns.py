# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller and the server itself do not converge it at the same time, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import turns

NOW = 1_800_000_000.0
# Holds the lock as the program of the server does, until it is killed.
HOLDER = "import sys, time; sys.path.insert(0, {0!r}); import turns; turns.DIRECTORY = {1!r}\nwith turns.own_turn() as begin: {2}; print(flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(turns, "DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def hold(converges: bool) -> subprocess.Popen[bytes]:
        code = HOLDER.format(str(Path(turns.__file__).parent), str(tmp_path), "begin()" if converges else "0")
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline()
        started.append(process)
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def note(path: Path, **more: Any) -> None:
    (path / "webstack-converge.json").write_text(
        json.dumps({"pid": 0, "started": "", "since": NOW, "who": "ada", **more})
    )


def test_nobody_is_there() -> None:
    assert turns.controller(NOW) == ""
    assert turns.pulling() == ""
    assert turns.wait(0) == ""


def test_a_note_counts_for_ten_minutes_where_its_connection_is_not_known(tmp_path: Path) -> None:
    note(tmp_path)
    assert turns.controller(NOW + 599) == "a run by ada is at it since 2027-01-15 08:00:00 UTC"
    assert turns.controller(NOW + 601) == ""
    assert turns.controller(NOW - 60) == ""  # the clock was set back; a boot has happened since, or will


def test_a_note_counts_for_as_long_as_its_connection_is_there(tmp_path: Path) -> None:
    connection = subprocess.Popen(["sleep", "60"])
    try:
        started = Path(f"/proc/{connection.pid}/stat").read_text().rpartition(")")[2].split()[19]
        note(tmp_path, pid=connection.pid, started=started)
        assert turns.controller(NOW + 3600)
        assert turns.controller(NOW + 7201) == ""
        note(tmp_path, pid=connection.pid, started="1")  # another process has the number by now
        assert turns.controller(NOW + 3600) == ""
        note(tmp_path, pid=connection.pid, started=started)
    finally:
        connection.send_signal(signal.SIGKILL)
        connection.wait()
    assert turns.controller(NOW + 3600) == ""


def test_a_deployment_counts_as_well(tmp_path: Path) -> None:
    lock = tmp_path / "webstack-deploy-blog.json"
    lock.write_text(json.dumps({"who": "ada@laptop", "since": NOW, "touched": NOW + 300}))
    assert turns.controller(NOW + 800) == "site blog is being deployed by ada@laptop since 2027-01-15 08:00:00 UTC"
    assert turns.controller(NOW + 1000) == ""


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"since": "x"}', '{"since": true}'])
def test_a_note_that_nobody_can_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "webstack-converge.json").write_text(text)
    assert turns.controller(NOW) == ""


def test_the_note_of_this_process_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "deploy")
    turns.leave_note(NOW)
    turns.leave_note(NOW + 60)
    assert turns.controller(NOW + 61) == "a run by deploy is at it since 2027-01-15 08:01:00 UTC"
    assert [path.name for path in tmp_path.iterdir()] == ["webstack-converge.json"]


def test_the_connection_is_the_nearest_sshd_of_the_ancestors(tmp_path: Path) -> None:
    """A process with that name, a shell and a program below it."""
    program = tmp_path / "sshd-session"
    shutil.copy(os.path.realpath("/bin/sh"), program)
    with subprocess.Popen(
        [str(program), "-c", "sh -c 'echo $$; read x; :'; :"], stdin=-1, stdout=-1, text=True
    ) as process:
        assert process.stdout and process.stdin
        inner = int(process.stdout.readline())
        assert turns.session(inner)[0] == process.pid
        assert turns.session(process.pid)[0] == process.pid
        assert turns.session(os.getppid()) == turns.session(
            os.getpid()
        )  # whatever that is, no sshd of ours is in between
        process.stdin.close()


def test_the_lock_ends_with_its_process(holder: Any) -> None:
    process = holder(converges=True)
    assert turns.pulling() == time.strftime("%Y-%m-%d ", time.gmtime()) + turns.pulling()[11:]
    with pytest.raises(turns.Busy), turns.own_turn():
        pass
    began = time.monotonic()
    assert turns.wait(1)
    assert 1 <= time.monotonic() - began < 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert turns.wait(5) == ""
    with turns.own_turn():
        pass


def test_nobody_waits_for_a_run_that_only_looks(holder: Any) -> None:
    holder(converges=False)
    assert turns.wait(0) == ""


def test_the_run_of_the_server_itself_is_known_by_its_processes(holder: Any, tmp_path: Path) -> None:
    assert not turns.inside()
    with turns.own_turn():
        assert turns.inside()
        code = f"import sys; sys.path.insert(0, {str(Path(turns.__file__).parent)!r}); import turns; turns.DIRECTORY = {str(tmp_path)!r}; print(turns.inside())"
        words = ["sh", "-c", '"$@"; :', "sh", "setsid", sys.executable, "-c", code]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"
    process = holder(converges=True)
    assert not turns.inside()
    known = json.loads((tmp_path / "webstack-pull.lock").read_text())
    assert known["pid"] == process.pid
    (tmp_path / "webstack-pull.lock").write_text(
        json.dumps({**known, "pid": os.getpid()})
    )  # the number of another process by now
    assert not turns.inside()
