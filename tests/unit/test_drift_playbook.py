# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The callback in real runs: check mode that nobody can forget, exit status, and what is printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
# Nobody listens there.
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}


class Bed:
    """A directory with a playbook in the shape of playbooks/drift.yml, whose servers are this machine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "motd"
        self.file.write_text("hello\n")

    def play(self, tasks: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        """The plays of such a playbook; a role marks the place from which errors are ignored."""
        role = self.directory / "roles/motd/tasks/main.yml"
        role.parent.mkdir(parents=True, exist_ok=True)
        role.write_text(yaml.safe_dump(tasks))
        common = {"hosts": "all", "gather_facts": False}
        done = {"ansible.builtin.assert": {"that": "ansible_check_mode", "quiet": True}}
        return [
            {**common, "vars": {"webstack_drift": "begin"}, "tasks": [done]},
            {**common, "any_errors_fatal": True, "serial": 1, "roles": ["motd"], **more},
            {**common, "vars": {"webstack_drift": "end"}, "tasks": [done]},
        ]

    def motd(self, words: str, **more: Any) -> dict[str, Any]:
        """A task that writes the file."""
        return {"name": "Write it", "ansible.builtin.copy": {"content": words, "dest": str(self.file)}, **more}

    def run(
        self, playbook: list[dict[str, Any]] | Path, hosts: dict[str, Any], *words: str, **environment: str
    ) -> tuple[int, str]:
        """Exit status and output of ansible-playbook."""
        inventory, path = self.directory / "hosts.yml", self.directory / "play.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        if isinstance(playbook, list):
            path.write_text(yaml.safe_dump(playbook))
        else:
            path = playbook
        full = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "webstack.django.drift",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "tmp"),
            "WEBSTACK_DRIFT_JSON": str(self.directory / "out/drift.json"),
            **environment,
        }
        full = {name: value for name, value in full.items() if value}
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", inventory, *words, path]
        done = subprocess.run(command, cwd=self.directory, env=full, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    @property
    def report(self) -> dict[str, Any]:
        """The JSON of the last run."""
        return dict(json.loads((self.directory / "out/drift.json").read_text()))

    def states(self) -> dict[str, str]:
        """The states of the servers in it."""
        return {name: host["state"] for name, host in self.report["hosts"].items()}


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


QUIET = {"ANSIBLE_STDOUT_CALLBACK": "webstack.django.drift", "ANSIBLE_LOCALHOST_WARNING": "0"}


def test_a_clean_server_is_one_line_and_status_0(bed: Bed) -> None:
    done = bed.run(bed.play([bed.motd("hello\n")]), {"web1": HERE}, **QUIET)
    assert done == (0, "web1  clean\n1 server: 1 clean; nothing was changed\n")
    assert bed.states() == {"web1": "clean"}


def test_what_differs_is_named_and_left_as_it_is(bed: Bed) -> None:
    written = {f"WEBSTACK_DRIFT_{kind.upper()}": str(bed.directory / f"out.{kind}") for kind in ("html", "junit")}
    # Not even asked for with an option: check mode is the callback's.
    playbook = bed.play([bed.motd("good morning\n")])
    # One that is gone ends this for all others, in a converge.
    look = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": [{"ansible.builtin.ping": {}}]}
    status, output = bed.run([playbook[0], look, *playbook[1:]], {"web1": HERE, "gone": AWAY}, **written)
    assert status == 6, output
    assert output.rstrip().endswith(
        "gone  unreachable (" + bed.report["hosts"]["gone"]["errors"][0]["message"] + ")\n"
        "web1  1 thing differs\n"
        f"  motd  {bed.file}\n"
        "      expected  good morning\n"
        "      found     hello\n"
        "2 servers: 0 clean, 1 drifted, 1 unreachable; nothing was changed"
    )
    assert bed.file.read_text() == "hello\n"
    (one,) = bed.report["hosts"]["web1"]["drift"]
    assert (one["role"], one["thing"], one["expected"], one["found"]) == (
        "motd",
        str(bed.file),
        "good morning",
        "hello",
    )
    for kind in ("html", "junit"):
        assert "good morning" in (bed.directory / f"out.{kind}").read_text()


def test_a_task_that_fails_does_not_hide_the_rest_and_no_log_is_respected(bed: Bed) -> None:
    fails = {"name": "Ask", "ansible.builtin.fail": {"msg": "no answer"}}
    tasks = [fails, bed.motd("hunter-22\n", no_log=True)]
    status, output = bed.run(bed.play(tasks), {"a": HERE, "b": HERE}, **QUIET)
    assert status == 3, output
    assert "hunter" not in output + json.dumps(bed.report)
    for name in ("a", "b"):
        host = bed.report["hosts"][name]
        assert host["state"] == "failed"
        assert host["errors"] == [{"role": "motd", "task": "Ask", "message": "no answer"}]
        assert [(one["thing"], one["found"]) for one in host["drift"]] == [("Write it", "not shown (no_log)")]


def test_a_run_that_ends_early_calls_nobody_clean(bed: Bed) -> None:
    playbook = bed.play([bed.motd("hello\n")])
    playbook.insert(
        1, {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.fail": {}, "run_once": True}]}
    )
    status, _output = bed.run(playbook, {"a": HERE, "b": HERE}, **QUIET)
    assert status == 1
    assert bed.states() == {"a": "failed", "b": "failed"}


def test_each_item_of_a_loop_counts_for_the_server_that_it_is_delegated_to(bed: Bed) -> None:
    tasks = [
        {
            **bed.motd("{{ item }}\n"),
            "loop": ["hello", "b", "elsewhere"],
            "delegate_to": "{{ item }}",
            "run_once": True,
        },
    ]
    hosts = {"a": HERE, "b": HERE, "hello": HERE}
    status, output = bed.run(bed.play(tasks), {**hosts, "elsewhere": HERE}, "--limit", "!elsewhere", **QUIET)
    assert status == 2, output
    assert bed.states() == {"a": "drift", "b": "drift", "hello": "clean"}
    found = {name: [one["expected"] for one in host["drift"]] for name, host in bed.report["hosts"].items()}
    # Who is not looked at is not in the report; what was found there counts for who asked.
    assert found == {"a": ["elsewhere"], "b": ["b"], "hello": []}


def test_a_file_that_cannot_be_written_is_an_error(bed: Bed) -> None:
    (bed.directory / "out").write_text("not a directory")
    status, output = bed.run(bed.play([bed.motd("hello\n")]), {"web1": HERE}, **QUIET)
    assert status == 1
    assert "out/drift.json cannot be written" in output


def test_an_ordinary_run_has_a_report_where_it_is_asked_for(bed: Bed) -> None:
    play = [{"hosts": "all", "gather_facts": False, "tasks": [bed.motd("good morning\n")]}]
    status, output = bed.run(play, {"web1": HERE}, "--diff", WEBSTACK_DRIFT_REPORT="always")
    assert status == 0
    assert output.rstrip().endswith(
        "web1  1 thing differed\n"
        f"    {bed.file}\n"
        "      expected  good morning\n"
        "      found     hello\n"
        "1 server: 0 clean, 1 drifted"
    )
    assert bed.file.read_text() == "good morning\n"
    status, output = bed.run(play, {"web1": HERE})
    assert "clean" not in output
    assert bed.states() == {"web1": "clean"}


def test_without_the_callback_the_playbook_refuses_before_it_looks_at_anything(bed: Bed) -> None:
    for words in ([], ["--check"]):
        status, output = bed.run(ROOT / "playbooks/drift.yml", {"web1": AWAY}, *words, ANSIBLE_CALLBACKS_ENABLED="")
        assert status == 2
        assert "callbacks_enabled = webstack.django.drift" in " ".join(output.split())
        assert "PLAY [Plan" not in output
        assert not (bed.directory / "out").exists()
