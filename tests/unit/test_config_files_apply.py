# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module as the server runs it: a process of its own, with its arguments as JSON."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import private_view
from conftest import ROOT
from trees import GID, UID, best_ratio, build, cpu, photograph

RUN = """
import sys
sys.path.insert(0, {collections!r})
from ansible.module_utils import basic
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction, private_view
config_files_transaction.STATE_DIR = {state!r}
if not {preview!r}:
    def refuse(paths, work):
        raise private_view.Unavailable("not in this test")
    private_view.run = refuse
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
from ansible_collections.webstack.django.plugins.modules import config_files_apply
config_files_apply.main()
"""


def can_preview() -> bool:
    """Whether the kernel and the container allow a private view."""
    try:
        return private_view.run(["/etc/webstack-test"], lambda: {"yes": True}) == {"yes": True}
    except private_view.Unavailable:
        return False


PREVIEWS = [
    pytest.param(True, id="preview", marks=pytest.mark.skipif(not can_preview(), reason="no private view here")),
    pytest.param(False, id="live"),
]


class Server:
    """A directory that stands for a server, and the module run on it."""

    def __init__(self, tmp_path: Path, preview: bool) -> None:
        self.root = tmp_path / "root"
        self.state = tmp_path / "state"
        self.preview = preview
        build(self.root, {"a.conf": ("file", (b"old a\n", 0o640)), "b.conf": ("file", (b"old b\n", 0o600))})

    def item(self, name: str, content: str = "new\n", **more: Any) -> dict[str, Any]:
        item = {"path": str(self.root / name), "state": "file", "mode": "0644", "diff": True, "target": ""}
        item.update(owner=str(UID), group=str(GID), content=base64.b64encode(content.encode()).decode())
        item.update(more)
        if item["state"] != "file":
            del item["content"]
        return item

    def start(self, files: list[Any], check: bool = False, **more: Any) -> subprocess.Popen[bytes]:
        payload = {"files": files, "prune": more.get("prune", []), "checks": more.get("checks", [])}
        arguments = {
            "payload": base64.b64encode(zlib.compress(json.dumps(payload).encode())).decode(),
            "_ansible_check_mode": check,
            "_ansible_diff": True,
            "_ansible_verbosity": 3,
            "_ansible_no_log": more.get("no_log", False),
        }
        script = RUN.format(collections=str(ROOT / ".collections"), state=str(self.state), preview=self.preview)
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        process.stdin.close()
        process.stdin = None
        return process

    def run(self, files: list[Any], check: bool = False, **more: Any) -> dict[str, Any]:
        output, error = self.start(files, check, **more).communicate(timeout=60)
        assert output, error.decode()
        return dict(json.loads(output))


@pytest.fixture(params=PREVIEWS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Server:
    return Server(tmp_path, request.param)


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory that no private view covers, where a checker can leave a sign."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"argv": ["sh", "-c", script], **more}


def test_a_content_checker_sees_the_new_state(server: Server) -> None:
    files = [server.item("a.conf"), server.item("b.conf", "two\n")]
    check = shell(f"grep new {server.root}/a.conf && grep two {server.root}/b.conf")
    result = server.run(files, checks=[check])
    assert result["changed"]
    assert result["changed_paths"] == [files[0]["path"], files[1]["path"]]
    assert result["checked"] == ("preview" if server.preview else "live")
    assert (server.root / "b.conf").read_text() == "two\n"
    assert not server.run(files, checks=[shell("exit 1")])["changed"]


def test_a_refusal_leaves_every_byte_mode_owner_and_time(server: Server) -> None:
    before = photograph(server.root)
    files = [server.item("a.conf"), server.item("c.conf"), server.item("b.conf", state="absent")]
    result = server.run(files, checks=[shell("echo line 3 is wrong; echo really >&2; exit 2")])
    assert result["failed"]
    assert not result["changed"]
    assert photograph(server.root) == before
    for words in ("line 3 is wrong", "really", "sh -c echo line 3", "exit status 2", *(item["path"] for item in files)):
        assert words in result["msg"]
    assert result["stdout"] == "line 3 is wrong\nreally"
    assert (result["rc"], result["checker"][0]) == (2, "sh")
    assert result["refused_paths"] == [item["path"] for item in files]
    assert os.listdir(server.state) == ["lock"]


def test_a_checker_that_hangs_is_a_refusal(server: Server) -> None:
    before = photograph(server.root)
    began = time.monotonic()
    result = server.run([server.item("a.conf")], checks=[shell("echo waiting; sleep 600", timeout=1)])
    assert time.monotonic() - began < 50
    assert "did not end within 1 seconds" in result["msg"]
    assert photograph(server.root) == before


@pytest.mark.skipif(not can_preview(), reason="no private view here")
def test_the_live_files_never_change_when_a_checker_refuses(tmp_path: Path, outside: Path) -> None:
    """Not for a moment, and not even the time stamp of the directory."""
    server = Server(tmp_path, True)
    inode = (server.root / "a.conf").stat()
    watch = outside / "seen"
    check = shell(f"grep -q new {server.root}/a.conf || exit 7; touch {watch}; sleep 1; exit 1")
    process = server.start([server.item("a.conf"), server.item("c.conf")], checks=[check])
    while not watch.exists():
        assert process.poll() is None
        assert (server.root / "a.conf").read_text() == "old a\n"
        assert not (server.root / "c.conf").exists()
    assert (server.root / "a.conf").read_text() == "old a\n"
    assert json.loads(process.communicate(timeout=30)[0])["rc"] == 1
    now = (server.root / "a.conf").stat()
    assert (now.st_ino, now.st_ctime_ns) == (inode.st_ino, inode.st_ctime_ns)
    assert server.root.stat().st_mtime == 1_000_000_000


@pytest.mark.skipif(not can_preview(), reason="no private view here")
def test_check_mode_predicts_what_a_checker_says(tmp_path: Path) -> None:
    server = Server(tmp_path, True)
    before = photograph(server.root)
    files = [server.item("sub/c.conf"), server.item("sub", state="directory", mode="0755")]
    check = shell(f"grep new {server.root}/sub/c.conf && echo a mistake; exit 1")
    result = server.run(files, check=True, checks=[check])
    assert result["failed"]
    assert result["stdout"] == "new\na mistake"
    assert not server.run(files, check=True, checks=[shell("exit 0")]).get("failed")
    assert photograph(server.root) == before
    assert not server.state.exists()


def test_check_mode_warns_where_a_checker_misses_what_was_only_predicted(server: Server) -> None:
    check = shell("echo 'cannot load certificate: No such file or directory'; exit 1")
    result = server.run([server.item("a.conf")], check=True, checks=[check])
    assert not result.get("failed")
    assert result["changed"]
    assert bool(result.get("warnings")) is server.preview


def test_check_mode_says_what_apply_does(server: Server) -> None:
    files = [server.item("a.conf"), server.item("d", state="directory", mode="0755"), server.item("d/x")]
    (server.root / "extra.conf").touch()
    rules = {"prune": [{"path": str(server.root), "patterns": ["*.conf"]}]}
    before = photograph(server.root)
    predicted = server.run(files, check=True, **rules)
    assert photograph(server.root) == before
    done = server.run(files, **rules)
    for key in ("changed", "changed_paths", "diff"):
        assert predicted[key] == done[key]
    assert len(done["changed_paths"]) == 5
    assert not server.run(files, check=True, **rules)["changed"]


def test_on_a_bare_host_check_mode_passes(server: Server) -> None:
    files = [server.item("no/where/x", owner="nobody-yet", group="nobody-yet")]
    result = server.run(files, check=True, checks=[{"argv": ["no-such-program", "-t"]}])
    assert result["changed"]
    assert not result.get("failed")
    result = server.run(files)
    assert "the user nobody-yet does not exist on this host" in result["msg"]


def test_a_checker_that_is_not_installed_is_an_error(server: Server) -> None:
    before = photograph(server.root)
    result = server.run([server.item("a.conf")], checks=[{"argv": ["no-such-program", "-t"]}])
    assert "no-such-program -t is not installed" in result["msg"]
    assert photograph(server.root) == before
    assert server.run([server.item("a.conf")], checks=[{"argv": ["no-such-program"], "missing_ok": True}])["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_no_secret_is_in_any_result(server: Server, check: bool) -> None:
    (server.root / "a.conf").write_text("password=oldhunter1\n")
    files = [
        server.item("a.conf", "password=newhunter2\n", diff=False),
        server.item("c", "hunter3hunter3\n", diff=False),
    ]
    tell = shell(f"cat {server.root}/a.conf {server.root}/c; exit 1")
    results = [server.run(files, check, checks=[tell]), server.run(files, check)]
    for result in results:
        text = json.dumps(result)
        assert "hunter" not in text
        for item in files:
            assert item["content"] not in text
        assert "payload" not in text
    assert results[1]["changed"]


def test_a_task_without_a_log_shows_no_content_either(server: Server) -> None:
    tell = shell(f"cat {server.root}/a.conf; exit 1")
    for checks in ([tell], []):
        result = server.run([server.item("a.conf", "password=newhunter2\n")], checks=checks, no_log=True)
        assert "hunter" not in json.dumps(result)


def test_nothing_is_logged_of_the_arguments(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The payload is marked no_log, so syslog and the journal get a placeholder."""
    source = (ROOT / "plugins" / "modules" / "config_files_apply.py").read_text()
    assert '"payload": {"type": "str", "required": True, "no_log": True}' in source


def test_200_files_take_about_as_long_as_one(server: Server) -> None:
    """On the server: compared, checked, written and synced."""
    rounds = iter(range(100))

    def seconds(count: int) -> float:
        content = f"{next(rounds)}\n"
        files = [server.item(f"many{n}.conf", content) for n in range(count)]
        began = cpu()
        assert len(server.run(files, checks=[shell("exit 0")])["changed_paths"]) == count
        return cpu() - began

    assert best_ratio(seconds, 3) < 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_lost_connection_puts_everything_back(server: Server, outside: Path, number: int) -> None:
    before = photograph(server.root)
    process = server.start([server.item("a.conf")], checks=[shell(f"touch {outside}/began; sleep 600")])
    while not (outside / "began").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    output, _error = process.communicate(timeout=60)
    assert "interrupted" in json.loads(output)["msg"]
    assert photograph(server.root) == before


def test_the_next_run_heals_one_that_was_killed(server: Server, outside: Path) -> None:
    before = photograph(server.root)
    files = [server.item("a.conf"), server.item("c.conf")]
    process = server.start(files, checks=[shell(f"touch {outside}/began; sleep 600")])
    while not (outside / "began").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    if server.preview:
        assert photograph(server.root) == before
    else:
        assert (server.root / "a.conf").read_text() == "new\n"
    predicted = server.run(files[:1], check=True)
    done = server.run(files[:1])
    assert predicted["changed_paths"] == done["changed_paths"] == [files[0]["path"]]
    assert predicted.get("healed") == done.get("healed")
    assert bool(done.get("healed")) is not server.preview
    assert not (server.root / "c.conf").exists()
    assert (server.root / "a.conf").read_text() == "new\n"
    assert os.listdir(server.state) == ["lock"]


def test_runs_at_the_same_time_take_turns(server: Server) -> None:
    texts = [f"{letter}\n" * 1000 for letter in "abcd"]
    runs = [server.start([server.item(name, text) for name in ("a.conf", "b.conf")]) for text in texts]
    for process in runs:
        assert json.loads(process.communicate(timeout=60)[0])["changed"]
    assert (server.root / "a.conf").read_text() == (server.root / "b.conf").read_text()
    assert (server.root / "a.conf").read_text() in texts


@pytest.mark.skipif(not can_preview(), reason="no private view here")
def test_what_is_mounted_below_is_seen_by_the_checker(tmp_path: Path) -> None:
    """In containers files below /etc are mounts; the overlay on /etc must not hide them."""
    server = Server(tmp_path, True)
    (tmp_path / "mounted").write_text("mounted\n")
    (server.root / "resolv.conf").touch()
    subprocess.run(["mount", "--bind", str(tmp_path / "mounted"), str(server.root / "resolv.conf")], check=True)
    try:
        result = server.run([server.item("a.conf")], checks=[shell(f"grep mounted {server.root}/resolv.conf")])
        assert result["checked"] == "preview"
        assert result["changed"]
    finally:
        subprocess.run(["umount", str(server.root / "resolv.conf")], check=True)


@pytest.mark.skipif(not can_preview(), reason="no private view here")
def test_a_private_view_leaves_no_trace(tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    (tmp_path / "x").mkdir()

    def work() -> dict[str, Any]:
        (tmp_path / "x" / "file").write_text("seen only here")
        return {"text": (tmp_path / "x" / "file").read_text()}

    assert private_view.run([str(tmp_path / "x" / "file")], work) == {"text": "seen only here"}
    assert not (tmp_path / "x" / "file").exists()
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_a_private_view_that_fails_says_why(tmp_path: Path) -> None:
    def work() -> dict[str, Any]:
        raise RuntimeError("broken")

    with pytest.raises(private_view.Unavailable, match=r"broken|only root|unshare|mount"):
        private_view.run([str(tmp_path / "x")], work)
    with pytest.raises(private_view.Unavailable, match="root"):
        private_view.run(["/x"], work)
