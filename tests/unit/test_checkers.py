# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils import checkers


def shell(script: str, **more: object) -> checkers.Refusal | None:
    return checkers.run({"argv": ["sh", "-c", script], **more})


def test_a_content_checker_says_nothing() -> None:
    assert shell("echo fine; exit 0") is None


def test_a_refusal_has_the_words_of_both_streams() -> None:
    refusal = shell("echo out; echo err >&2; exit 3")
    assert refusal is not None
    assert (refusal.code, refusal.words) == (3, "out\nerr")
    assert refusal.reason == "refused it (exit status 3)"


def test_a_checker_killed_by_a_signal_is_a_refusal() -> None:
    refusal = shell("kill -SEGV $$")
    assert refusal is not None
    assert refusal.code == -11


def dies(path: Path) -> bool:
    """Whether the process with the number in this file is gone; a kill takes effect when the kernel comes to it."""
    pid = path.read_text().strip()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid], check=False, capture_output=True, text=True).stdout
        if state.strip()[:1] in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    "script",
    [
        "echo $$ > {pid}; echo began; exec sleep 600",
        "sleep 600 & echo $! > {pid}; echo began; wait",
        "trap '' TERM INT HUP; sleep 600 & echo $! > {pid}; echo began; while true; do wait; done",
        "echo $$ > {pid}; echo began; exec yes > /dev/null",
        "echo $$ > {pid}; echo began; exec sleep 600 > /dev/null 2>&1",
    ],
)
def test_a_checker_that_hangs_is_stopped_with_all_its_children(tmp_path: Path, script: str) -> None:
    began = time.monotonic()
    refusal = shell(script.format(pid=tmp_path / "pid"), timeout=2)
    assert time.monotonic() - began < 60
    assert refusal is not None
    assert refusal.reason == "did not end within 2 seconds and was stopped"
    assert refusal.words == "began"
    assert dies(tmp_path / "pid")


def test_what_a_checker_leaves_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    refusal = shell(f"sleep 600 & echo $! > {tmp_path}/pid; echo bad; exit 1", timeout=300)
    assert time.monotonic() - began < 60
    assert refusal is not None
    assert (refusal.code, refusal.words) == (1, "bad")
    assert dies(tmp_path / "pid")


def test_what_a_checker_leaves_talking_in_the_background_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    refusal = shell(f"yes & echo $! > {tmp_path}/pid; exit 1", timeout=300)
    assert time.monotonic() - began < 60
    assert refusal is not None
    assert refusal.code == 1
    assert dies(tmp_path / "pid")


def test_the_words_of_a_checker_that_ends_at_once_are_complete() -> None:
    refusal = shell("seq 10000; exit 1")
    assert refusal is not None
    assert refusal.words == "\n".join(str(number) for number in range(1, 10001))


def test_endless_words_do_not_fill_the_memory() -> None:
    refusal = shell("yes", timeout=1)
    assert refusal is not None
    assert len(refusal.words) <= 64 * 1024


def test_nothing_is_read_from_the_terminal() -> None:
    assert shell("! read line") is None


def test_a_missing_program_is_an_error_unless_it_may_be_missing() -> None:
    refusal = checkers.run({"argv": ["no-such-program", "-t"]})
    assert refusal is not None
    assert "not installed" in refusal.reason
    assert checkers.run({"argv": ["no-such-program"], "missing_ok": True}) is None
    assert not checkers.installed({"argv": ["no-such-program"]})


def test_programs_for_administrators_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "/usr/sbin" in checkers.path().split(os.pathsep)
    assert shell("case $PATH in */usr/sbin*) exit 0;; *) exit 1;; esac") is None


def test_checkers_run_in_order_until_one_refuses(tmp_path: Path) -> None:
    checks = [
        {"argv": ["sh", "-c", f"echo {n} >> {tmp_path}/ran; exit {code}"]} for n, code in ((1, 0), (2, 4), (3, 0))
    ]
    refusal = checkers.run_all(checks)
    assert refusal is not None
    assert refusal.code == 4
    assert (tmp_path / "ran").read_text() == "1\n2\n"


def test_a_checker_concerns_some_paths() -> None:
    always, nginx, many = (
        {"argv": ["a"]},
        {"argv": ["b"], "when_paths": ["/etc/nginx/"]},
        {"argv": ["c"], "when_paths": ["/x", "/y/"]},
    )
    assert checkers.wanted([always, nginx, many], ["/etc/nginx/nginx.conf"]) == [always, nginx]
    assert checkers.wanted([always, nginx, many], ["/etc/nginx2", "/xy"]) == [always, many]


@pytest.mark.parametrize(
    ("content", "words", "expected"),
    [
        ("password = hunter2", "bad value hunter2 here", "bad value ******** here"),
        ("requirepass s3cret", "line 1: requirepass s3cret", "line 1: requirepass ********"),
        ("DATABASE_URL=postgres://u:pa55word@h/d", "near pa55word", "near ********"),
        ("maxmemory-polcy lru2", "'maxmemory-polcy lru2' Bad directive", "'maxmemory-polcy ********' Bad directive"),
        ("-----BEGIN KEY-----\nMIIEabc/def\n", "got MIIEabc/def", "got ********"),
        ('{"key": "topsecretvalue"}', "in topsecretvalue", "in ********"),
        ("on = 1", "at 1", "at 1"),
    ],
)
def test_secrets_are_hidden_from_the_words(content: str, words: str, expected: str) -> None:
    assert checkers.hide(words, [content.encode()]) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('cannot load certificate "/etc/x.pem": No such file or directory', True),
        ('getpwnam("blog") failed', True),
        ('unknown directive "servr"', False),
    ],
)
def test_words_about_missing_things_are_told_from_mistakes(words: str, expected: bool) -> None:
    assert checkers.Refusal(["x"], "refused", 1, words).about_missing is expected
