"""What runs of a site under systemd and supervisord, and what an activation makes of it."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import activate, running, switch
from ansible_collections.webstack.django.plugins.module_utils.release.activate import Activation
from ansible_collections.webstack.django.plugins.module_utils.release.commands import Result
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

COMMAND = "/usr/local/sbin/webstack-supervisord"
ACTIVATE = [
    ["systemctl", "restart", "blog-web.service"],
    ["systemctl", "--no-block", "restart", "blog-worker.service"],
]


def tool(directory: Path, name: str, script: str) -> str:
    path = directory / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gives the files of a release to the site; whoever else runs these tests cannot."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "fchown", lambda _fd, _uid, _gid: None)


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """systemctl("blog-web.service", ActiveState="active"): what `systemctl show` says from now on."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tool(tmp_path, "systemctl", f'cat "{tmp_path}/unit-$4" 2>/dev/null || echo LoadState=not-found\n')

    def say(name: str, **values: Any) -> None:
        shown = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "MainPID": os.getpid(),
            "Type": "exec",
            "Job": "0",
        } | values
        (tmp_path / f"unit-{name}").write_text("".join(f"{key}={value}\n" for key, value in shown.items()))

    return say


@pytest.fixture
def supervisord(tmp_path: Path) -> Any:
    """supervisord({"blog-web": {...}}): the command that says so."""

    def say(found: dict[str, Any]) -> str:
        (tmp_path / "status").write_text(json.dumps(found))
        return tool(tmp_path, "webstack-supervisord", f"test \"$1 $2\" = '--json status' && cat {tmp_path}/status\n")

    return say


def program(**values: Any) -> dict[str, Any]:
    return {"state": "RUNNING", "pid": os.getpid(), "log": "/none", "told": False, **values}


def test_processes_come_from_the_commands_of_both_managers(systemctl: Any, supervisord: Any) -> None:
    systemctl("blog-web.service")
    command = supervisord({"blog-worker": program(), "blog-clock": program()})
    given = [
        ["systemctl", "restart", "blog-web.service", "blog-gone.service"],
        [command, "--no-block", "restart", "blog-worker"],
        [command, "restart", "blog-clock"],
        ["/usr/bin/touch", "/srv/blog/wsgi.py"],
    ]
    found = running.processes(Site({"name": "blog", "activate": given}))
    assert [(one.manager, one.name, one.waited) for one in found] == [
        ("systemctl", "blog-web.service", True),
        ("webstack-supervisord", "blog-worker", False),
        ("webstack-supervisord", "blog-clock", True),
    ]
    assert [one.pid for one in found] == [os.getpid()] * 3
    assert found[1].stop_command() == [command, "stop", "blog-worker"]


def test_without_supervisord_there_is_no_program(tmp_path: Path) -> None:
    given = [[str(tmp_path / "webstack-supervisord"), "restart", "blog-web"]]
    assert running.processes(Site({"name": "blog", "activate": given})) == []


def test_a_timer_has_no_process_and_only_has_to_be_there(systemctl: Any) -> None:
    systemctl("blog-night.timer", MainPID="", Type="")
    timer = running.Unit("blog-night.timer", waited=False)
    assert timer.stale({}, []) is None
    systemctl("blog-night.timer", MainPID="", Type="", ActiveState="inactive")
    timer.read()
    assert timer.stale({}, []) == "blog-night.timer is not running"


@pytest.mark.parametrize(
    ("values", "waited", "reason"),
    [
        ({}, True, None),
        ({"ActiveState": "inactive", "MainPID": 0}, True, "is not running"),
        ({"ActiveState": "activating", "MainPID": 0}, True, "is not running"),
        ({"Type": "oneshot", "ActiveState": "inactive"}, True, None),
        # It finishes its job and starts again by itself, or systemd tries it again and again.
        ({"ActiveState": "deactivating"}, False, None),
        ({"Job": "123"}, False, None),
        ({"ActiveState": "activating", "MainPID": 0}, False, None),
        ({"ActiveState": "inactive", "MainPID": 0}, False, "is not running"),
        ({"ActiveState": "failed", "MainPID": 0}, False, "is not running"),
    ],
)
def test_a_stale_unit(systemctl: Any, values: dict[str, Any], waited: bool, reason: str | None) -> None:
    systemctl("x.service", **values)
    found = running.Unit("x.service", waited).stale({}, [])
    assert found == (f"x.service {reason}" if reason else None)


@pytest.mark.parametrize(
    ("values", "waited", "reason"),
    [
        ({}, True, None),
        ({"state": "STARTING"}, True, None),
        ({"state": "BACKOFF", "pid": 0}, True, "is not running"),
        ({"state": "BACKOFF", "pid": 0}, False, None),
        ({"state": "STOPPING"}, False, None),
        ({"state": "STOPPED", "pid": 0}, False, "is not running"),
        ({"state": "FATAL", "pid": 0}, True, "is not running"),
    ],
)
def test_a_stale_program(supervisord: Any, values: dict[str, Any], waited: bool, reason: str | None) -> None:
    command = supervisord({"x": program(**values)})
    found = running.Program("x", waited, command)
    assert found.stale({}, []) == (f"x {reason}" if reason else None)
    assert found.failed == (values.get("state") in ("FATAL", "BACKOFF"))


def test_one_that_ends_is_not_stale_for_running_the_release_before(supervisord: Any, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("releases/2")
    paths = [str(tmp_path / "current")]
    command = supervisord({"x": program()})
    assert running.Program("x", False, command).stale({}, paths) == "x is older than its configuration"
    supervisord({"x": program(told=True)})
    assert running.Program("x", False, command).stale({}, paths) is None
    assert running.Program("x", True, command).stale({}, paths) == "x is older than its configuration"


def test_the_release_in_the_environment_tells(supervisord: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = supervisord({"x": program()})
    monkeypatch.setattr(running, "environ", lambda _pid: {"WEBSTACK_RELEASE": "1", "A": "b"})
    one = running.Program("x", True, command)
    assert one.stale({"WEBSTACK_RELEASE": "1", "A": "b"}, ["/"]) is None
    assert one.stale({"WEBSTACK_RELEASE": "2"}, []) == "x runs release 1 with another configuration"


def test_the_log_of_a_program_is_shown_from_the_activation_on(supervisord: Any, tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("long ago\n")
    one = running.Program("x", True, supervisord({"x": program(log=str(log))}))
    assert one.journal(0) == ""
    with log.open("a") as file:
        file.write("first\nlast\n")
    assert one.journal(0) == "    first\n    last"
    log.write_text("new\n")  # it was put aside
    assert one.journal(0) == "    new"


class Fake(running.Process):
    """A process whose state a test sets."""

    def __init__(self, manager: str, name: str, waited: bool, reasons: list[str | None]) -> None:
        self.manager, self.reasons, self.dead = manager, reasons, False
        super().__init__(name, waited)

    def read(self) -> None:
        pass

    failed = property(lambda self: self.dead)

    def stale(self, wanted: dict[str, str], paths: list[str]) -> str | None:
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]

    def journal(self, since: float) -> str:
        return "    words of " + self.name

    def stop_command(self) -> list[str]:
        return ["stop", self.name]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """world([...processes], activate=..., current="1"): an activation of release 2, and what it ran."""
    ran: list[list[str]] = []
    status: dict[str, int] = {}

    def run(_site: Site, argv: list[str], *_: Any, **__: Any) -> Result:
        ran.append(argv)
        return Result(status.get(argv[-1], 0), "it said so\n")

    monkeypatch.setattr(activate, "run", run)
    monkeypatch.setattr(switch, "run", run)
    monkeypatch.setattr(activate.static, "publish", lambda *_, **__: [])
    monkeypatch.setattr(activate.static, "kept", lambda _site: ["2", "1"])
    monkeypatch.setattr(activate.configure, "overlay_files", lambda *_: {})
    monkeypatch.setattr(activate.configure, "release_environment", lambda *_: {})
    monkeypatch.setattr(activate, "account", lambda _site: type("Account", (), {"pw_gid": os.getgid()}))
    monkeypatch.setattr(activate.running, "unhealthy", lambda *_, **__: None)
    for name in ("1", "2"):
        release = tmp_path / "releases" / name
        release.mkdir(parents=True)
        (release / "release.json").write_text(json.dumps({"id": name}))

    def make(processes: list[Fake], commands: list[list[str]], current: str) -> Activation:
        (tmp_path / "current").symlink_to(f"releases/{current}")
        (tmp_path / "previous").symlink_to("releases/1")
        site = Site({"name": "blog", "root": str(tmp_path), "release_id": "2", "activate": commands})
        monkeypatch.setattr(activate.running, "processes", lambda _site: processes)
        return Activation(site, {}, False)

    make.ran, make.status = ran, status  # type: ignore[attr-defined]
    return make


def pair(manager: str, suffix: str, web: list[str | None], worker: list[str | None]) -> list[Fake]:
    return [Fake(manager, "blog-web" + suffix, True, web), Fake(manager, "blog-worker" + suffix, False, worker)]


SUPERVISED = [[COMMAND, "restart", "blog-web"], [COMMAND, "--no-block", "restart", "blog-worker"]]
BOTH = [("systemctl", ".service", ACTIVATE), ("webstack-supervisord", "", SUPERVISED)]


@pytest.mark.parametrize(("manager", "suffix", "commands"), BOTH)
def test_a_new_release_goes_into_all(world: Any, manager: str, suffix: str, commands: list[list[str]]) -> None:
    """A worker that still has the release before at the end is no failure."""
    activation = world(pair(manager, suffix, ["old", None], ["old"]), commands, "1")
    assert activation.run() == ["blog: switch to release 2", "blog: restart (old; old)"]
    assert world.ran == commands


@pytest.mark.parametrize(("manager", "suffix", "commands"), BOTH)
def test_a_worker_that_is_stale_is_restarted_alone(
    world: Any, manager: str, suffix: str, commands: list[list[str]]
) -> None:
    activation = world(pair(manager, suffix, [None], ["worker is not running", None]), commands, "2")
    activation.digest = activate.files.state(activation.site.release).get("activated") or activation.digest
    assert activation.run() == ["blog: restart (worker is not running)"]
    assert world.ran == commands[1:]


def test_only_the_stale_of_several_workers_are_restarted(world: Any) -> None:
    workers = [
        Fake("systemctl", f"blog-{name}.service", False, [reason]) for name, reason in (("a", None), ("b", "old"))
    ]
    given = [["systemctl", "--no-block", "restart", "blog-a.service", "blog-b.service"]]
    world(workers, given, "2").run()
    assert world.ran == [["systemctl", "--no-block", "restart", "blog-b.service"]]


def test_a_worker_that_cannot_be_restarted_is_no_reason_to_go_back(world: Any) -> None:
    world.status["blog-worker"] = 1
    assert world(pair("webstack-supervisord", "", [None], ["old"]), SUPERVISED, "1").run()


@pytest.mark.parametrize(("manager", "suffix", "commands"), BOTH)
def test_a_web_process_that_fails_brings_the_old_release_back(
    world: Any, tmp_path: Path, manager: str, suffix: str, commands: list[list[str]]
) -> None:
    world.status["blog-web" + suffix] = 1
    activation = world(pair(manager, suffix, [None], [None]), commands, "1")
    with pytest.raises(activate_error(), match="release 2 does not serve") as caught:
        activation.run()
    words = str(caught.value)
    assert "failed with status 1; it said:\n    it said so" in words
    assert f"words of blog-web{suffix}" in words
    assert "words of blog-worker" not in words
    assert os.readlink(tmp_path / "current") == "releases/1"
    assert world.ran[:1] == commands[:1]


def activate_error() -> type[Exception]:
    return type(Site({"name": "x"}).error("a", "b"))


def test_the_first_release_that_fails_is_stopped(world: Any, tmp_path: Path) -> None:
    world.status["blog-web"] = 1
    activation = world(pair("webstack-supervisord", "", [None], [None]), SUPERVISED, "2")
    (tmp_path / "previous").unlink()
    with pytest.raises(activate_error(), match="no earlier release"):
        activation._back("it fails", switched=True)
    assert world.ran == [["stop", "blog-web"], ["stop", "blog-worker"]]
    assert not os.path.lexists(tmp_path / "current")


def test_only_processes_that_are_waited_for_can_fail_the_health_check() -> None:
    web, worker = pair("systemctl", ".service", [None], [None])
    health = {"socket": "/nonexistent/socket", "timeout": 30}
    site = Site({"name": "blog", "health": health})
    worker.dead = True
    assert "for 0 seconds" in str(running.unhealthy(site, [web, worker], patience=0))
    web.dead = True
    assert running.unhealthy(site, [web, worker], patience=10) == "blog-web.service has failed"


def test_a_socket_that_is_held_for_a_process_that_failed_is_not_waited_for(tmp_path: Path) -> None:
    web, _worker = pair("systemctl", ".service", [None], [None])
    path = str(tmp_path / "web.sock")
    health = {
        "socket": path,
        "address": None,
        "host": "",
        "path": "/",
        "protocol": "http",
        "status": [],
        "proof": False,
    }
    site = Site({"name": "blog", "root": str(tmp_path), "health": {**health, "timeout": 30}})
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(path)
        held.listen()
        web.dead = True
        began = time.monotonic()
        assert running.unhealthy(site, [web]) == "blog-web.service has failed"
    assert 2.5 < time.monotonic() - began < 6
