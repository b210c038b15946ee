# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""States and the commands that bring them about, with real commands."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.action.ensure import question
from ansible_collections.webstack.django.plugins.module_utils import ensure


def step(path: Path, *scripts: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{path.name} is there",
        "unless": ["test", "-e", str(path)],
        "run": [["sh", "-c", script] for script in scripts],
        **more,
    }


def said(*steps: dict[str, Any]) -> str:
    with pytest.raises(ensure.EnsureError) as error:
        ensure.converge(list(steps), False)
    return str(error.value)


def test_only_what_does_not_hold_is_brought_about_and_only_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    steps = [
        step(tmp_path / "a", f"echo never > {tmp_path}/a"),
        step(tmp_path / "b", f"echo 1 >> {tmp_path}/log", f"echo 2 >> {tmp_path}/log; touch {tmp_path}/b"),
        step(tmp_path / "c", f"touch {tmp_path}/c"),
    ]
    assert ensure.converge(steps, True) == ["b is there", "c is there"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert ensure.converge(steps, False) == ["b is there", "c is there"]
    assert ensure.converge(steps, False) == []
    assert (tmp_path / "log").read_text() == "1\n2\n"
    assert (tmp_path / "a").read_text() == ""


def test_a_command_that_fails_is_named_with_its_words_and_the_hint(tmp_path: Path) -> None:
    broken = step(tmp_path / "a", "echo no such host >&2; exit 4", f"touch {tmp_path}/late", hint="Is the mirror up?")
    assert said(broken) == (
        "a is there: `sh -c echo no such host >&2; exit 4` failed (exit status 4)\nno such host\nIs the mirror up?"
    )
    assert not (tmp_path / "late").exists()


def test_commands_that_change_nothing_are_an_error(tmp_path: Path) -> None:
    assert said(step(tmp_path / "a", "true", hint="Look at its log.")) == (
        "a is there: its commands ran without an error, but it does not hold afterwards\nLook at its log."
    )


def test_a_requirement_has_no_commands(tmp_path: Path) -> None:
    required = {"name": "sudo works", "unless": ["sh", "-c", "echo a password is required; exit 1"], "run": []}
    words = "sudo works: this does not hold\na password is required\nGive the user sudo without a password."
    assert said({**required, "hint": "Give the user sudo without a password."}) == words
    with pytest.raises(ensure.EnsureError):
        ensure.converge([required], True)  # in check mode as well


def test_a_later_step_is_not_begun_after_a_failure(tmp_path: Path) -> None:
    said(step(tmp_path / "a", "exit 1"), step(tmp_path / "b", f"touch {tmp_path}/b"))
    assert not (tmp_path / "b").exists()


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    assert ensure.run(["no-such-program"]) == (127, "no-such-program: No such file or directory")
    assert "no-such-program" in said({**step(tmp_path / "a"), "run": [["no-such-program"]]})


def test_a_command_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    assert ensure.run(["sh", "-c", "sleep 600 & sleep 600"], timeout=1) == (
        124,
        "it did not end within 1 seconds and was stopped",
    )
    assert time.monotonic() - began < 60


def test_the_environment_and_the_last_lines(tmp_path: Path) -> None:
    assert ensure.run(["sh", "-c", "echo $NUMBER $LC_ALL"], {"NUMBER": 5}) == (0, "5 C.UTF-8")
    words = said(step(tmp_path / "a", "seq 100; exit 1"))
    assert words.splitlines()[1:] == [str(number) for number in range(81, 101)]


@pytest.mark.parametrize(
    ("unless", "more", "holds"),
    [
        (["true"], {}, True),
        (["false"], {}, False),
        (["no-such-program"], {}, False),
        (["sh", "-c", 'test "$(pwd) $1 $LC_ALL" = "/ it\'s $(x) C.UTF-8"', "sh", "it's $(x)"], {}, False),
        (["sh", "-c", 'test "$(pwd) $1 $LC_ALL" = "/ it\'s \\$(x) C.UTF-8"', "sh", "it's $(x)"], {}, True),
        (["sh", "-c", 'test "$A" = "5 6"'], {"environment": {"A": "5 6"}}, True),
        (["sleep", "60"], {"timeout": 1}, False),
        (["sh", "-c", "cat >&2"], {}, True),  # it does not eat the questions that follow
    ],
)
def test_a_shell_asks_the_same(tmp_path: Path, unless: list[str], more: dict[str, Any], holds: bool) -> None:
    asked: dict[str, Any] = {"name": "x", "unless": unless, "environment": {}, "timeout": 600, **more}
    assert ensure.holds(asked)[0] is holds
    for steps in ([asked], [asked, asked], [asked, {**asked, "unless": ["true"]}]):
        done = subprocess.run(["sh"], input=question(steps), text=True, capture_output=True, cwd=tmp_path, check=False)
        assert (done.returncode == 0, done.stdout, done.stderr) == (holds, "", "")
    last = subprocess.run(["sh"], input=question([asked, {**asked, "unless": ["false"]}]), text=True, check=False)
    assert last.returncode == 1
