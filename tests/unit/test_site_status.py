# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host says of a site and of itself."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import host_status, site_parts, site_status, vhosts
from ansible_collections.webstack.django.plugins.module_utils.site_parts import Process

SHOWN = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "MainPID": "41",
    "NRestarts": "2",
    "MemoryCurrent": str(80 * 2**20),
    "ActiveEnterTimestamp": "Sun 2026-11-29 10:00:00.500000 UTC",
    "InactiveEnterTimestamp": "Sun 2026-11-29 09:00:00.000000 UTC",
}
TEN, NINE = 1795946400.5, 1795942800.0


@pytest.mark.parametrize(
    ("values", "timed", "expected"),
    [
        ({}, False, ("running", True, 41, TEN, 80, 2)),
        ({"MemoryCurrent": "18446744073709551615"}, False, ("running", True, 41, TEN, None, 2)),
        ({"MemoryCurrent": "[not set]"}, False, ("running", True, 41, TEN, None, 2)),
        ({"ActiveState": "inactive", "MainPID": "0"}, False, ("stopped", False, None, NINE, None, 2)),
        ({"ActiveState": "failed", "MainPID": "0"}, False, ("failed", False, None, NINE, None, 2)),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0"},
            False,
            ("crashing", False, None, NINE, None, 2),
        ),
        ({"ActiveState": "inactive", "MainPID": "0"}, True, ("waiting", True, None, NINE, None, None)),
        (
            {"ActiveState": "failed", "Result": "exit-code", "MainPID": "0"},
            True,
            ("failed", False, None, NINE, None, None),
        ),
        ({"ActiveState": "activating"}, True, ("starting", True, 41, NINE, 80, None)),
    ],
)
def test_a_unit(values: dict[str, str], timed: bool, expected: tuple[Any, ...]) -> None:
    row = site_status.of_unit("web", "blog-web.service", {**SHOWN, **values}, timed)
    assert tuple(row[key] for key in ("state", "ok", "pid", "since", "memory_mb", "restarts")) == expected


def test_a_unit_that_systemd_does_not_know() -> None:
    assert site_status.of_unit("web", "blog-web.service", {})["state"] == "unknown"
    assert not site_status.of_unit("web", "blog-web.service", {})["ok"]


@pytest.mark.parametrize(
    ("state", "shown", "ok"),
    [
        ("RUNNING", "running", True),
        ("BACKOFF", "crashing", False),
        ("FATAL", "failed", False),
        ("STOPPED", "stopped", False),
    ],
)
def test_a_program(state: str, shown: str, ok: bool) -> None:
    row = site_status.of_program(
        Process("web", "supervisord", "blog-web"), {"state": state, "pid": os.getpid() if ok else 0}
    )
    assert (row["state"], row["ok"], row["restarts"]) == (shown, ok, None)
    assert (row["memory_mb"] is not None) == ok
    assert (row["since"] is not None) == ok


def test_units_are_asked_for_in_one_call() -> None:
    def run(argv: list[str]) -> tuple[int, str, str]:
        assert argv[-2:] == ["a.service", "b.service"]
        return 0, "ActiveState=active\nMainPID=1\n\nActiveState=failed\nMainPID=0\n", ""

    assert site_status.show(["a.service", "b.service"], run) == {
        "a.service": {"ActiveState": "active", "MainPID": "1"},
        "b.service": {"ActiveState": "failed", "MainPID": "0"},
    }
    assert site_status.show([], run) == {}


def test_the_release_that_serves(tmp_path: Path) -> None:
    release = tmp_path / "releases/a"
    release.mkdir(parents=True)
    current = tmp_path / "current"
    assert site_status.release(str(current)) is None
    current.symlink_to("releases/a")
    assert site_status.release(str(current)) is None
    (release / "release.json").write_text(json.dumps({"id": "a", "commit": "c" * 40, "built": 5, "database": {}}))
    assert site_status.release(str(current)) == {"id": "a", "commit": "c" * 40, "since": 5}
    (release / ".state.json").write_text(json.dumps({"activated_at": 9.5, "facts": {}}))
    assert site_status.release(str(current)) == {"id": "a", "commit": "c" * 40, "since": 9.5}


def test_health_is_asked_through_the_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    (tmp_path / site_parts.UNITS).mkdir(parents=True)
    (tmp_path / site_parts.UNITS / "blog-web.socket").write_text(f"ListenStream={path}\n")
    site = {"name": "blog", "protocol": "http", "host": "blog.example.com", "path": "/up", "status": []}
    asked = []

    def serve(listening: socket.socket) -> None:
        connection = listening.accept()[0]
        with connection:
            asked.append(connection.recv(4096).decode())
            connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    assert site_status.health(site, True, 1, str(tmp_path))["error"] == "[Errno 2] No such file or directory"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        found = site_status.health(site, True, 5, str(tmp_path))
        thread.join()
    assert (found["ok"], found["status"], found["error"]) == (False, 503, None)
    assert "GET /up HTTP/1.1\r\n" in asked[0]
    assert "Host: blog.example.com\r\n" in asked[0]
    # Systemd would start it for this.
    assert site_status.health(site, False, 1, str(tmp_path))["error"] == "web does not run"


def test_days_of_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "fullchain.pem"
    none = {"days": None, "own": False, "ending": True}
    assert site_status.certificate(str(path), TEN) == {**none, "error": "there is none"}
    path.write_text("")
    assert site_status.certificate(str(path), TEN, lambda _argv: (1, "", "no start line")) == {
        **none,
        "error": "it cannot be read",
    }
    text = """
        Issuer: CN = {issuer}
            Not Before: {begins} 10:00:00 2026 GMT
            Not After : {ends} 10:00:00 2026 GMT
        Subject: CN = blog
sha256 Fingerprint=AA:BB
"""

    def found(issuer: str, begins: str, ends: str) -> dict[str, object]:
        said = text.format(issuer=issuer, begins=begins, ends=ends)
        return site_status.certificate(str(path), TEN, lambda _argv: (0, said, ""))

    assert found("ca", "Oct  2", "Dec 31") == {"days": 31, "error": None, "own": False, "ending": False}
    assert found("ca", "Sep 20", "Dec 20") == {"days": 20, "error": None, "own": False, "ending": True}
    assert found("ca", "Nov 28", "Dec  4")["ending"] is False  # of a life of six days
    assert found("ca", "Nov 24", "Nov 30")["ending"] is True
    assert found("blog", "Sep 20", "Dec 20") == {"days": 20, "error": None, "own": True, "ending": False}
    assert found("blog", "Sep 20", "Dec 10")["ending"] is True


def test_the_last_deployment(tmp_path: Path) -> None:
    path = tmp_path / "blog-deploys.jsonl"
    assert site_status.last_deploy(str(path)) is None
    path.write_text('{"who": "ada", "result": "ok"}\n{"who": "bob", "result": "failed", "secret": "x"}\n{"who": "cut')
    found = site_status.last_deploy(str(path))
    assert found is not None
    assert (found["who"], found["result"]) == ("bob", "failed")
    assert "secret" not in found


def test_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    assert site_status.lock(str(path)) is None
    path.write_text('{"who": "ada", "since": 5, "step": "build", "pid": 3}')
    assert site_status.lock(str(path)) == {"who": "ada", "since": 5, "step": "build"}
    path.write_text("{")
    assert site_status.lock(str(path)) == {"who": None, "since": None, "step": None}


def test_application_servers_that_get_no_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vhosts, "DRAINED", str(tmp_path))
    assert vhosts.drained("blog") == []
    for name, text in (("blog:2", "10.0.0.4:8001\n"), ("blog:1", ""), ("blog-api:1", "10.0.0.3:8002\n")):
        (tmp_path / name).write_text(text)
    assert vhosts.drained("blog") == ["10.0.0.4:8001", "blog:1"]


def test_the_newest_backup(tmp_path: Path) -> None:
    assert site_status.backup(str(tmp_path)) is None
    for name, age in (("new.dump", 5), ("old.dump", 9)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (100 - age, 100 - age))
    assert site_status.backup(str(tmp_path)) == {"time": 95, "file": "new.dump", "mb": 0}


def test_ports_and_who_has_them() -> None:
    if sys.byteorder != "little":
        pytest.skip("the table is that of a little-endian machine")
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n"
        "   1: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n"
        "   2: 0100007F:0016 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 13 1\n"
    )
    table6 = table.splitlines()[0] + (
        "\n   0: 00000000000000000000000001000000:1F41 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 14 1\n"
    )
    sockets = host_status.listeners([table, table6])
    assert sockets == [("127.0.0.1", 5432, "11", 0), ("0.0.0.0", 443, "12", 0), ("::1", 8001, "14", 0)]
    holders = {"12": {"nginx", "systemd"}, "14": {"systemd"}}
    assert host_status.ports(sockets, holders) == [
        {"port": 443, "programs": ["nginx"], "public": True},
        {"port": 5432, "programs": ["(root)"], "public": False},
        {"port": 8001, "programs": ["systemd"], "public": False},
    ]


def test_failed_units() -> None:
    shown = "a.service loaded failed failed The A\nb.service not-found failed failed b\n"
    assert host_status.failed_units(lambda _argv: (0, shown, "")) == ["a.service", "b.service"]
