# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A server that looks at itself: what is refused before a server is touched, and the program that runs there."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.webstack.django.plugins.module_utils import turns

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {"repository": "git@example.com:you/ops.git", "inventory": "inventories/production"}
RIGHT: list[dict[str, Any]] = [
    {},
    GIVEN,
    {**GIVEN, "repository": "https://example.com/you/ops.git", "version": "v1.2/x", "playbook": "site.yml"},
    {**GIVEN, "repository": "/srv/ops.git", "playbook": "mine.ops.whole_site", "ansible_core": "2.20.1"},
    *(
        {**GIVEN, "calendar": words}
        for words in ("hourly", "*:0/30", "Mon..Fri 05:30", "*-*-* 00,12:00:00", "Sat,Sun *-*-* 3:00")
    ),
    *(
        {**GIVEN, "calendar": words}
        for words in ("05:30 Europe/Berlin", "2027-01-01 00:00", "weekly", "Mon *-*-1..7 04:05:06 UTC")
    ),
    *({**GIVEN, "jitter": words} for words in ("0", "90", "15min", "1h 30min", "2 hours")),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mode": "check"}, "os_pull: repository: is missing; give the URL of the git repository with the inventory"),
    (
        {"repository": "/srv/ops.git"},
        "os_pull: inventory: is missing; give its path in the repository, like inventories/production",
    ),
    ({**GIVEN, "repository": "https://ada:hunter2@example.com/ops"}, "os_pull: repository: has a password in it"),
    ({**GIVEN, "repository": "--upload-pack=x"}, "os_pull: repository: --upload-pack=x is no URL of a git repository"),
    ({**GIVEN, "inventory": "/etc/hosts.yml"}, "os_pull: inventory: /etc/hosts.yml is no path in the repository"),
    ({**GIVEN, "inventory": "../hosts.yml"}, "os_pull: inventory: ../hosts.yml is no path in the repository"),
    ({**GIVEN, "playbook": "site"}, "os_pull: playbook: site is neither a playbook of a collection"),
    ({**GIVEN, "version": "-x"}, "os_pull: version: -x is no branch, tag or commit"),
    *(
        ({**GIVEN, "calendar": words}, f"os_pull: calendar: {words} is no time of systemd")
        for words in ("", "ourly", "every hour", "25 past", "5 4 * * *", "Mo 05:00")
    ),
    ({**GIVEN, "jitter": "a while"}, "os_pull: jitter: a while is no span of time"),
    ({**GIVEN, "timeout": ""}, "os_pull: timeout:  is no span of time"),
    ({**GIVEN, "deploy_key": "ssh-ed25519 AAAA you"}, "os_pull: deploy_key: is no private key"),
    ({**GIVEN, "environment": {"a b": "1"}}, "os_pull: environment: a b is no name of a variable"),
    ({**GIVEN, "ansible_core": "newest"}, "os_pull: ansible_core: newest is no version"),
    ({**GIVEN, "ansible_core": "2.14.18"}, "os_pull: ansible_core: 2.14.18 is too old"),
]
SPEC_ERRORS = [
    ({**GIVEN, "branch": "main"}, "branch"),
    ({**GIVEN, "mode": "repair"}, "value of mode must be one of: check, converge, got: repair"),
    ({**GIVEN, "packages": "netaddr, x", "variables": "x"}, "variables"),
]


def play(directory: Path, tasks: list[dict[str, Any]], distribution: str = "13") -> str:
    """The output of a playbook on this machine, with the role's internal variables."""
    facts = {"distribution": "Debian", "distribution_major_version": distribution}
    files = [str(path) for path in sorted((ROOT / "roles/os/vars/main").glob("*.yml"))]
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_facts": facts}
    plays = [{"hosts": "all", "gather_facts": False, "vars": variables, "vars_files": files, "tasks": tasks}]
    (directory / "play.yml").write_text(yaml.safe_dump(plays))
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "ANSIBLE_NOCOLOR": "1"}
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "web1,", "play.yml"]
    done = subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mistakes_are_found_before_a_server_is_touched(tmp_path: Path) -> None:
    cases = [*RIGHT, *(given for given, _words in WRONG)]
    note = {"found": "{{ (found | default([])) + [__os_pull_problems] }}"}
    tasks: list[dict[str, Any]] = [{"ansible.builtin.set_fact": note, "vars": {"os_pull": given}} for given in cases]
    tasks.append({"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(tmp_path / "found")}})
    play(tmp_path, tasks)
    found = json.loads((tmp_path / "found").read_text())
    assert [problems for problems in found[: len(RIGHT)] if problems] == []
    for (given, words), problems in zip(WRONG, found[len(RIGHT) :]):
        assert problems and problems[0].startswith(words), (given, problems)
        assert "hunter2" not in str(problems)


def test_the_master_key_can_be_handed_on(tmp_path: Path) -> None:
    key = {"webstack_master_key": "{{ 'k' * 40 }}"}
    words = "{{ lookup('webstack.django.master_key') }}"
    play(tmp_path, [{"ansible.builtin.copy": {"content": words, "dest": str(tmp_path / "key")}, "vars": key}])
    assert (tmp_path / "key").read_text() == "k" * 40


def test_the_specification_knows_its_keys(tmp_path: Path) -> None:
    spec = yaml.safe_load((ROOT / "roles/os/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    tasks = [
        {
            "block": [
                {
                    "ansible.builtin.validate_argument_spec": {
                        "argument_spec": {"os_pull": spec["os_pull"]},
                        "provided_arguments": {"os_pull": given},
                    },
                }
            ],
            "rescue": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ ansible_failed_result.msg }}",
                        "dest": str(tmp_path / str(number)),
                    }
                }
            ],
        }
        for number, given in enumerate([{}, GIVEN, *(given for given, _words in SPEC_ERRORS)])
    ]
    play(tmp_path, tasks)
    assert not (tmp_path / "0").exists() and not (tmp_path / "1").exists()
    for number, (_given, words) in enumerate(SPEC_ERRORS, 2):
        assert words in (tmp_path / str(number)).read_text()


def test_the_defaults_in_the_specification_are_those_of_the_role() -> None:
    spec = yaml.safe_load((ROOT / "roles/os/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    blank = yaml.safe_load((ROOT / "roles/os/vars/main/pull.yml").read_text())["__os_pull_blank"]
    options = spec["os_pull"]["options"]
    assert {name: option.get("default", "") for name, option in options.items()} == blank


# The program -------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program in a directory of its own, with a git repository and what stands for Ansible."""
    if os.geteuid() != 0:
        pytest.skip("gives files away")
    monkeypatch.syspath_prepend(str(Path(turns.__file__).parent))
    loader = importlib.machinery.SourceFileLoader("webstack_pull", str(ROOT / "roles/os/files/pull"))
    spec = importlib.util.spec_from_loader("webstack_pull", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    for name in ("SETTINGS", "STATE", "REPORTS", "ANSIBLE"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(module, name, str(tmp_path / name))
    monkeypatch.setattr(module, "GROUP", "root")
    monkeypatch.setattr(module.turns, "DIRECTORY", str(tmp_path))
    return module


REPORT: dict[str, Any] = {"check": True, "hosts": {"web1": {"state": "drift", "drift": [{}, {}], "errors": []}}}


def settle(module: ModuleType, tmp_path: Path, report: dict[str, Any] | None, code: int = 0, **more: Any) -> None:
    """A repository with an inventory, the settings, and an ansible-pull that leaves this report."""
    origin = tmp_path / "origin"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(origin)]
    if not origin.exists():
        play = origin / "collections/ansible_collections/webstack/django/playbooks/drift.yml"
        play.parent.mkdir(parents=True)
        play.write_text("[]\n")
        (origin / "site.yml").write_text("[]\n")
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run([*git, *words], check=True)
    settings = {
        "host": "web1", "repository": f"file://{origin}", "version": "HEAD", "inventory": "hosts.yml", "mode": "check",
        "playbook": "webstack.django.site", "metrics": str(tmp_path / "REPORTS"), **more,
    }  # fmt: skip
    (tmp_path / "SETTINGS/settings.json").write_text(json.dumps(settings))
    fake = tmp_path / "ANSIBLE/ansible-pull"
    fake.write_text(
        f'#!/bin/sh\necho "$*" >{tmp_path}/argv\nenv >{tmp_path}/environment\n'
        + (f"cat >{tmp_path}/STATE/drift.json <<'END'\n{json.dumps(report)}\nEND\n" if report else "")
        + f"exit {code}\n"
    )
    fake.chmod(0o755)


def status(tmp_path: Path) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "REPORTS/pull.json").read_text()))


def test_a_check_leaves_its_report_and_is_no_failure(program: ModuleType, tmp_path: Path) -> None:
    settle(program, tmp_path, REPORT, code=2)
    (tmp_path / "SETTINGS/variables.json").write_text('{"webstack_master_key": "hunter2"}')
    (tmp_path / "SETTINGS/environment.json").write_text('{"https_proxy": "http://proxy:3128", "N": 1}')
    assert program.main() == 0
    found = status(tmp_path)
    assert (found["result"], found["reason"], found["mode"]) == ("ok", "2 things differ", "check")
    assert json.loads((tmp_path / "REPORTS/drift.json").read_text()) == REPORT
    assert (tmp_path / "REPORTS/drift.json").stat().st_mode & 0o777 == 0o640
    argv = (tmp_path / "argv").read_text().split()
    assert argv[-1] == "collections/ansible_collections/webstack/django/playbooks/drift.yml"
    assert argv[argv.index("--limit") + 1] == "web1"
    assert "--check" not in argv and "hunter2" not in str(argv)  # the playbook turns it on by itself
    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert environment["https_proxy"] == "http://proxy:3128" and environment["N"] == "1"
    assert environment["WEBSTACK_DRIFT_PROMETHEUS"] == f"{tmp_path}/REPORTS/webstack_drift.prom"
    assert "StrictHostKeyChecking=accept-new" in environment["GIT_SSH_COMMAND"]
    text = (tmp_path / "REPORTS/webstack_pull.prom").read_text()
    assert "\nwebstack_pull_last_run_success 1\n" in text
    assert f'webstack_pull_info{{mode="check",commit="{found["commit"]}"}} 1\n' in text
    assert (tmp_path / "REPORTS/webstack_pull.prom").stat().st_mode & 0o777 == 0o644


def test_a_playbook_of_the_repository_is_checked_in_check_mode(program: ModuleType, tmp_path: Path) -> None:
    settle(
        program,
        tmp_path,
        {**REPORT, "hosts": {"web1": {"state": "clean", "drift": [], "errors": []}}},
        playbook="site.yml",
    )
    assert program.main() == 0
    argv = (tmp_path / "argv").read_text().split()
    assert argv[-1] == "site.yml" and "--check" in argv
    assert status(tmp_path)["reason"] == "clean"


def test_a_converge_says_what_it_has_put_right(program: ModuleType, tmp_path: Path) -> None:
    settle(program, tmp_path, {**REPORT, "check": False}, playbook="site.yml", mode="converge")
    assert program.main() == 0
    assert "--check" not in (tmp_path / "argv").read_text().split()
    assert status(tmp_path)["reason"] == "2 things put right"


@pytest.mark.parametrize(
    ("report", "code", "more", "words"),
    [
        (None, 1, {}, "Ansible ended with status 1, and without a report"),
        (
            {"check": True, "hosts": {"web1": {"state": "failed", "drift": [], "errors": [{"message": "no\nway"}]}}},
            1,
            {},
            "Ansible did not get to the end (status 1): no",
        ),
        (REPORT, 2, {"playbook": "site.yml"}, "Ansible did not get to the end (status 2)"),
        (
            REPORT,
            0,
            {"host": "web9"},
            "the inventory hosts.yml has no server called web9, or the playbook has nothing for it",
        ),
        (REPORT, 0, {"version": "nothing"}, "cannot be fetched (nothing)"),
        (REPORT, 0, {"playbook": "mine.ops.site"}, "there is no playbook mine.ops.site; put its collection into"),
    ],
)
def test_what_goes_wrong_is_said(
    program: ModuleType, tmp_path: Path, report: dict[str, Any] | None, code: int, more: dict[str, Any], words: str
) -> None:
    settle(program, tmp_path, REPORT)
    assert program.main() == 0
    success = status(tmp_path)["success"]
    settle(program, tmp_path, report, code, **more)
    assert program.main() == 1
    assert status(tmp_path)["result"] == "failed"
    assert words in status(tmp_path)["reason"]
    assert status(tmp_path)["success"] == success
    assert "\nwebstack_pull_last_run_success 0\n" in (tmp_path / "REPORTS/webstack_pull.prom").read_text()


def test_a_run_of_a_controller_has_its_turn(program: ModuleType, tmp_path: Path) -> None:
    settle(program, tmp_path, REPORT)
    turns_of_controller = tmp_path / "webstack-converge.json"
    turns_of_controller.write_text(
        json.dumps({"pid": 0, "started": "", "since": int(program.time.time()), "who": "ada"})
    )
    assert program.main() == 0
    assert status(tmp_path)["result"] == "skipped"
    assert status(tmp_path)["reason"].startswith("a run by ada is at it since ")
    assert not (tmp_path / "argv").exists()
    text = (tmp_path / "REPORTS/webstack_pull.prom").read_text()
    assert "\nwebstack_pull_last_run_skipped 1\n" in text
    turns_of_controller.unlink()
    assert program.main() == 0
    assert "\nwebstack_pull_last_run_skipped 0\n" in (tmp_path / "REPORTS/webstack_pull.prom").read_text()


def test_a_controller_that_came_while_the_repository_was_fetched_has_its_turn(
    program: ModuleType, tmp_path: Path
) -> None:
    settle(program, tmp_path, {**REPORT, "check": False}, mode="converge", playbook="site.yml")
    note = {"pid": 0, "started": "", "since": int(program.time.time()), "who": "ada"}
    fetch = program.fetch

    def slow(*words: Any) -> Any:
        (tmp_path / "webstack-converge.json").write_text(json.dumps(note))
        assert program.turns.pulling() == ""  # nobody waits for a download
        return fetch(*words)

    program.fetch = slow
    assert program.main() == 0
    assert status(tmp_path)["result"] == "skipped" and not (tmp_path / "argv").exists()


def test_two_runs_of_the_server_itself_are_one_after_another(program: ModuleType, tmp_path: Path) -> None:
    settle(program, tmp_path, REPORT)
    with program.turns.own_turn():
        assert program.main() == 0
    assert status(tmp_path)["reason"] == "another run of this server itself is at it"


def test_what_is_required_is_installed_when_it_changes(program: ModuleType, tmp_path: Path) -> None:
    settle(program, tmp_path, REPORT)
    galaxy = tmp_path / "ANSIBLE/ansible-galaxy"
    galaxy.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/galaxy\n[ ! -e {tmp_path}/down ]\n')
    galaxy.chmod(0o755)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(tmp_path / "origin")]

    def require(text: str) -> None:
        (tmp_path / "origin/requirements.yml").write_text(text)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "more"], check=True)

    def installed() -> int:
        return len((tmp_path / "galaxy").read_text().splitlines())

    require("collections: [a.b]\n")
    assert program.main() == 0 and installed() == 1
    assert program.main() == 0 and installed() == 1
    require("collections: [a.c]\n")
    (tmp_path / "down").touch()
    assert program.main() == 1
    assert status(tmp_path)["reason"] == "ansible-galaxy (requirements.yml) failed (status 1)"
    (tmp_path / "down").unlink()
    assert program.main() == 0 and installed() == 3
