# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The local half of a deployment as the playbook takes it: the steps of the working copy, then the plan."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webstack.django.plugins.plugin_utils.deliver import STEPS
from test_plan_look import PROJECT
from working_copies import Work, alone, commit, git, work

__all__ = ["alone", "work"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(work: Work) -> dict[str, Any]:
    """A site whose tests count how often they run."""
    commit(work.here, PROJECT)
    git(work.here, "push", "-q")
    own = {"path": str(work.here), "tests": [f"echo x >> '{work.base}/ran'"]}
    return {"name": "blog", "domains": ["blog.example.com"], "repo": str(work.central), "checkout": own}


def play(work: Work, sites: list[dict[str, Any]], *words: str) -> tuple[int, str]:
    """Status and output of it for a server that does not exist."""
    names = {"site": "{{ site | default([]) }}", "version": "{{ version | default('') }}"}
    task = {**names, "message": "{{ commit_message | default('') }}"}
    steps = "{{ %s | difference(ansible_skip_tags) }}" % STEPS
    tasks = [
        {"webstack.django.plan": {"phase": "deploy", "steps": steps, **task}, "run_once": True},
        {"ansible.builtin.debug": {"msg": "at once: {{ webstack_plan.at_once }}"}},
    ]
    away = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = {"all": {"hosts": {"web1": away}, "vars": {"django_sites": sites}}}
    (work.base / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (work.base / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(work.base / "tmp"),
        "COLUMNS": "1000",
        "WEBSTACK_MASTER_KEY": "0123456789abcdef" * 4,
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-i", work.base / "hosts.yml", work.base / "play.yml", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_whole_way(work: Work, site: dict[str, Any]) -> None:
    (work.here / "a file").write_text("")
    status, output = play(work, [site])
    assert status != 0
    assert "nothing was pushed, no server was touched:\n  - site blog: checkout: a file: not committed in" in output
    before = work.there()
    message = ("-e", "commit_message='All of it'")
    status, output = play(work, [site], *message, "--check")
    assert (status, work.there(), (work.base / "ran").exists()) == (0, before, False), output
    assert "changed=1" in output  # nothing is committed yet that could be pushed
    twice = [site, {**site, "name": "stage", "domains": ["stage.example.com"]}]
    status, output = play(work, twice, *message)
    assert (status, work.there()) == (0, git(work.here, "rev-parse", "HEAD")), output
    assert re.search(r"web1 .* changed=1 .* unreachable=0", output)
    assert git(work.here, "log", "-1", "--format=%s") == "All of it"
    assert (work.base / "ran").read_text() == "x\n"
    status, output = play(work, [site], "--skip-tags", "tests")
    assert (status, "changed=0" in output, "at once: True" in output) == (0, True, True), output
    assert (work.base / "ran").read_text() == "x\n"


def test_everything_that_is_in_the_way_is_said_at_once(work: Work, site: dict[str, Any]) -> None:
    (work.here / "x").write_text("")
    second = {**site, "name": "shop", "domains": ["shop.example.com"], "checkout": {"path": "/nowhere"}}
    status, output = play(work, [site, second])
    assert status != 0
    assert "  - site blog: checkout: x: not committed" in output
    assert "  - site shop: checkout.path: '/nowhere' is no directory on this machine" in output
    git(work.here, "push", "-q", "origin", "main:other")
    commit(work.here, {"y": ""})
    status, output = play(work, [site, second], "-e", "site=blog", "-e", "version=other")
    said = "[WARNING]: site blog: version other is deployed, and main is checked out"
    assert (status, output.count(said)) == (0, 1), output
    status, output = play(work, [site, second], "-e", "site=blgo")
    assert "-e site: there is no site 'blgo'; did you mean 'blog'?" in output


def test_a_test_that_fails_stops_everything(work: Work, site: dict[str, Any]) -> None:
    site["checkout"]["tests"] = ["echo one is wrong; false"]
    commit(work.here, {"a": "1"})
    before = work.there()
    status, output = play(work, [site])
    assert (status != 0, work.there()) == (True, before)
    assert (
        "nothing was pushed, no server was touched:\n  - site blog: checkout.tests: `echo one is wrong; false`"
        in output
    )
    assert re.search(r"Its last lines:\n\s*one is wrong\n", output)


def test_a_site_without_a_working_copy(work: Work, site: dict[str, Any]) -> None:
    del site["checkout"]
    status, output = play(work, [site])
    assert (status, "changed=0" in output) == (0, True)
