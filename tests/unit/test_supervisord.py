"""What has to be done to programs of supervisord, and the words for it."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import processes, supervisord
from ansible_collections.webstack.django.plugins.module_utils.supervisord import (
    ProgramError,
    Programs,
    decide,
    wrong_socket,
)


def shown(**values: Any) -> dict[str, Any]:
    return {
        "state": "RUNNING",
        "pid": os.getpid(),
        "start": int(time.time()),
        "log": "/x",
        "socket": None,
        "told": False,
        **values,
    }


def test_a_process_has_its_start() -> None:
    begin = processes.started(os.getpid())
    assert begin is not None
    assert 0 <= time.time() - begin < 3600
    assert processes.started(2**22 + 1) is None
    assert "PATH" in processes.environ(os.getpid())
    assert processes.environ(2**22 + 1) == {}


@pytest.mark.parametrize(
    ("found", "verb"),
    [
        ({}, None),
        ({"state": "STOPPED", "pid": 0}, "start"),
        ({"state": "EXITED", "pid": 0}, "start"),
        ({"state": "FATAL", "pid": 0}, "start"),
        ({"socket": "RUNNING"}, None),
        ({"socket": "EXITED"}, "start"),
        ({"state": "STOPPING"}, None),
        # It is tried again and again: hurrying would not help.
        ({"state": "BACKOFF", "pid": 0}, None),
    ],
)
def test_the_state_decides(found: dict[str, Any], verb: str | None) -> None:
    assert decide({"name": "x"}, shown(**found)) == verb


def test_a_newer_file_is_a_reason_to_restart(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    program = {"name": "x", "restart_on": [str(tmp_path / "env")]}
    assert decide(program, shown()) == "restart"
    assert decide(program, shown(told=True)) is None  # it is about to start again
    assert decide(program, shown(state="BACKOFF", pid=0, start=int(time.time()) - 10)) == "restart"
    assert decide(program, shown(state="BACKOFF", pid=0, start=int(time.time()) + 10)) is None
    assert decide({**program, "restart_on": [str(tmp_path / "none")]}, shown()) is None


def test_without_its_release_it_is_left_alone(tmp_path: Path) -> None:
    program = {"name": "x", "run_if": str(tmp_path / "release.json")}
    assert decide(program, shown(state="EXITED", pid=0)) is None
    (tmp_path / "release.json").write_text("")
    assert decide(program, shown(state="EXITED", pid=0)) == "start"


def test_a_socket_is_compared(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    wanted = {"path": path, "user": "root", "group": "root", "mode": "0660"}
    assert wrong_socket(wanted)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o660)
        owner = os.stat(path).st_uid == 0
        assert wrong_socket(wanted) is not owner
        os.chmod(path, 0o600)
        assert wrong_socket(wanted)
    assert wrong_socket({**wanted, "user": "nobody-there"})
    assert not wrong_socket(None)


class Host:
    """Answers systemctl and webstack-supervisord."""

    def __init__(self, diff: dict[str, list[str]], status: dict[str, Any], units: dict[str, str] | None = None) -> None:
        self.answers = {"diff": json.dumps(diff), "--json status": json.dumps(status)}
        self.units = units or {}
        self.done: list[str] = []
        self.fail: dict[str, str] = {}

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        words = " ".join(argv[1:])
        if argv[0] == "systemctl":
            if argv[1] == "show":
                return 0, "\n\n".join(f"Id={name}\n{self.units[name]}" for name in argv[argv.index("--") + 1 :]), ""
            if argv[1] != "is-active":
                self.done.append("systemctl " + words)
            return 0, "", ""
        if words in self.answers:
            return 0, self.answers[words], ""
        self.done.append(words)
        return (1, "", self.fail[words]) if words in self.fail else (0, "", "")


NOTHING: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(supervisord, "COMMAND", str(tmp_path / "command"))
    (tmp_path / "command").write_text("")
    return lambda host: Programs(host, record=str(tmp_path / "run/programs"))


def test_only_our_programs_are_added_replaced_and_removed(make: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/programs").write_text("old\nweb\n")
    diff = {"added": ["new", "other1"], "changed": ["web", "other2"], "removed": ["old", "other3"]}
    host = Host(diff, {"web": shown(), "old": shown(), "worker": shown()})
    done = make(host).converge([{"name": name} for name in ("web", "new", "worker")], [], [], False)
    assert done == ["remove old", "replace web", "add new"]
    assert host.done == ["update old", "--force update web", "start web", "--force update new", "start new"]
    assert (tmp_path / "run/programs").read_text() == "new\nweb\nworker\n"


def test_a_check_changes_nothing(make: Any, tmp_path: Path) -> None:
    host = Host({**NOTHING, "added": ["new"]}, {})
    assert make(host).converge([{"name": "new"}], [], [], True) == ["add new"]
    assert host.done == []
    assert not (tmp_path / "run").exists()


def test_all_failures_are_said(make: Any) -> None:
    host = Host({**NOTHING, "added": ["a", "b", "c"]}, {})
    host.fail = {"start a": "a does not stay up", "start c": "c does not stay up"}
    with pytest.raises(ProgramError, match="a does not stay up\n\nc does not stay up"):
        make(host).converge([{"name": name} for name in "abc"], [], [], False)
    assert "start b" in host.done


def test_what_has_been_failing_is_a_warning(make: Any) -> None:
    """A deployment that comes later in the same run may be the cure."""
    programs = make(Host(NOTHING, {"worker": shown(state="BACKOFF", pid=0)}))
    assert programs.converge([{"name": "worker"}], [], [], False) == []
    assert programs.warnings == ["worker does not stay up; its log is /x"]


def test_units_make_room_and_the_listening_ones_last(make: Any) -> None:
    up = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled"
    gone = "LoadState=not-found\nActiveState=inactive\nUnitFileState="
    units = {"web.socket": up, "web.service": up, "worker.socket": gone, "worker.service": up, "gone.service": gone}
    host = Host(NOTHING, {"web": shown()}, units)
    programs = make(host)
    done = programs.converge([{"name": "web"}], list(units), [], False)
    assert host.done == [
        "systemctl disable -- web.socket web.service worker.service",
        "systemctl stop -- worker.service",
        "systemctl stop -- web.socket web.service",
    ]
    assert done[-3:] == ["stop worker.service", "stop web.socket", "stop web.service"]
