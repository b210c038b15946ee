# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The action plugin in a real play on the controller itself, in check mode: what it renders is in the diff."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from trees import best_ratio, cpu

TEMPLATE = """\
{{ ansible_managed | comment }}
# {{ template_path }} {{ template_fullpath }} {{ template_destpath }} {{ template_uid }} {{ template_mtime }}
{% for name in names %}
  {{ name }}: {{ more | default('none') }}
{% endfor %}
{% include 'part.j2' %}
a \\n backslash {{ '\\n' }}
"""


class Play:
    """A directory with a role, and ansible-playbook run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name, text in {
            "roles/r/templates/t.conf.j2": TEMPLATE,
            "roles/r/templates/part.j2": "part {{ names | length }}\n",
            "roles/r/templates/broken.j2": "{{ nothing_of_this_name }}",
            "roles/r/files/plain": "plain {{ not_rendered }}\n",
            "play.yml": "- {hosts: all, gather_facts: false, roles: [r]}\n",
            "vault.pass": "password\n",
        }.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
        (path / "roles/r/files/directory").mkdir()
        (path / "roles/r/files/binary").write_bytes(bytes(range(256)))

    def run(
        self, tasks: list[dict[str, Any]], *words: str, managed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        (self.path / "roles/r/tasks").mkdir(exist_ok=True)
        (self.path / "roles/r/tasks/main.yml").write_text(yaml.safe_dump(tasks))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.path / "vault.pass"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_LOCAL_TEMP": str(self.path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        setting = f"ansible_managed = {managed}\n" if managed else ""
        (self.path / "ansible.cfg").write_text(f"[defaults]\n{setting}")
        return subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", "--check", *words, "play.yml"],
            cwd=self.path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    def results(self, *tasks: dict[str, Any], managed: str | None = None) -> list[dict[str, Any]]:
        """The result of each task, errors included."""
        listed = []
        for number, task in enumerate(tasks):
            listed.append({**task, "register": f"result_{number}", "ignore_errors": True, "diff": True})
        all_results = "[" + ", ".join(f"result_{number}" for number in range(len(tasks))) + "]"
        listed.append(
            {
                "ansible.builtin.copy": {
                    "dest": str(self.path / "out"),
                    "content": f"{{{{ {all_results} | to_json }}}}",
                },
                "check_mode": False,
            }
        )
        done = self.run(listed, managed=managed)
        assert (self.path / "out").exists(), done.stdout + done.stderr
        return list(json.loads((self.path / "out").read_text()))


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


def files(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"webstack.django.config_files": {"files": list(items), **more}}


def after(result: dict[str, Any], number: int = 0) -> str:
    assert not result.get("failed"), result
    return str(result["diff"][number]["after"])


@pytest.mark.parametrize("managed", [None, "by {host} from {file} at %Y-%m-%d"])
def test_templates_are_rendered_as_by_the_template_module(play: Play, managed: str | None) -> None:
    dest = str(play.path / "out.conf")
    variables = {"vars": {"names": ["x", "y"], "ansible_date": 1}}
    ours, theirs = play.results(
        {**files({"path": dest, "template": "t.conf.j2"}), **variables},
        {"ansible.builtin.template": {"src": "t.conf.j2", "dest": dest}, **variables},
        managed=managed,
    )
    assert "part 2" in after(ours)
    assert after(ours) == theirs["diff"][0]["after"]


def test_a_user_may_set_ansible_managed(play: Play) -> None:
    item = {"path": "/no/x", "template": "t.conf.j2"}
    (result,) = play.results({**files(item), "vars": {"names": [], "ansible_managed": "ours"}})
    assert after(result).startswith("#\n# ours\n#\n")


def test_each_item_has_its_own_variables(play: Play) -> None:
    items = [{"path": f"/no/{more}", "template": "t.conf.j2", "vars": {"more": more}} for more in ("one", "two")]
    (result,) = play.results({**files(*items), "vars": {"names": ["n"]}})
    assert "n: one" in after(result)
    assert "n: two" in after(result, 1)


def test_content_and_src(play: Play) -> None:
    vaulted = play.path / "roles/r/files/vaulted"
    vaulted.write_text("from the vault\n")
    subprocess.run(
        ["ansible-vault", "encrypt", "--vault-password-file", str(play.path / "vault.pass"), str(vaulted)],
        check=True,
        capture_output=True,
    )
    (result,) = play.results(
        files(
            {"path": "/no/a", "content": "text {{ 1 + 1 }}\n"},
            {"path": "/no/b", "content": ""},
            {"path": "/no/c", "content": "{{ 42 }}"},
            {"path": "/no/d", "src": "plain"},
            {"path": "/no/e", "src": "binary"},
            {"path": "/no/f", "src": "vaulted"},
            {"path": "/no/g", "state": "link", "target": "a"},
        )
    )
    assert [after(result, number) for number in range(7)] == [
        "text 2\n",
        "",
        "42",
        "plain {{ not_rendered }}\n",
        "content is binary\n",
        "from the vault\n",
        "created\n",
    ]


def test_mistakes_are_explained(play: Play) -> None:
    wrong = [
        ({"path": "etc/x", "content": ""}, "give an absolute path"),
        ({"path": "/", "state": "absent"}, "give an absolute path"),
        ({"path": "/x"}, "exactly one of template, content and src"),
        ({"path": "/x", "content": "", "src": "plain"}, "found content, src with state file"),
        ({"path": "/x", "content": "", "state": "absent"}, "any other state none of them"),
        ({"path": "/x", "state": "link"}, "a link needs a target"),
        ({"path": "/x", "content": "", "target": "y"}, "only a link has one"),
        ({"path": "/x", "content": "", "mode": 420}, "three or four octal digits in quotes"),
        ({"path": "/x", "content": "", "mode": "u=rw"}, "three or four octal digits in quotes"),
        ({"path": "/x", "content": {"a": 1}}, "content must be text"),
        ({"path": "/x", "src": "directory"}, "is a directory"),
        ({"path": "/x", "src": "nowhere"}, "nowhere"),
        ({"path": "/x", "template": "broken.j2"}, "broken.j2 cannot be rendered"),
        ({"path": "/x", "content": "", "onwer": "root"}, "onwer"),
    ]
    results = play.results(*[files(item) for item, _words in wrong], files(checks=[{"argv": []}]))
    for result, (item, words) in zip(results, [*wrong, ({}, "empty argv")]):
        assert result["failed"], item
        assert words in json.dumps(result), item


@pytest.mark.parametrize("words", [[], ["-vvvv", "--diff"]])
def test_no_secret_is_printed(play: Play, words: list[str]) -> None:
    item = {"path": str(play.path / "secret"), "template": "secret.j2"}
    (play.path / "roles/r/templates/secret.j2").write_text("password={{ password }}\n")
    (play.path / "secret").write_text("password=oldhunter1\n")
    variables = {"vars": {"password": "newhunter2"}}
    tell = [{"argv": ["sh", "-c", f"cat {play.path}/secret; exit 1"]}]
    done = play.run(
        [
            {**files({**item, "diff": False}), **variables},
            {**files(item), **variables, "no_log": True},
            {**files({**item, "diff": False}, checks=tell), **variables, "ignore_errors": True},
            {**files(item, checks=tell), **variables, "no_log": True, "ignore_errors": True},
        ],
        *words,
    )
    assert "changed=" in done.stdout, done.stdout + done.stderr
    assert "hunter" not in done.stdout + done.stderr


def test_200_files_take_about_as_long_as_one(play: Play) -> None:
    """Both are one round trip, so the same commands; with a task for each file it would be 200."""
    round_trips = set()

    def seconds(count: int) -> float:
        items = [{"path": f"/no/{n}", "template": "t.conf.j2", "vars": {"names": [n]}} for n in range(count)]
        began = cpu()
        done = play.run([files(*items)], "-vvv")
        taken = cpu() - began
        assert "changed=1" in done.stdout, done.stdout + done.stderr
        round_trips.add((done.stdout.count("> EXEC "), done.stdout.count("> PUT ")))
        return taken

    assert best_ratio(seconds, 2) < 2
    assert len(round_trips) == 1, round_trips
    assert 1 <= round_trips.pop()[0] < 10
