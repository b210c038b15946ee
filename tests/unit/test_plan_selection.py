# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sites that a run is about, and the version of one; as functions, and as playbooks use the action."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webstack.django.plugins.plugin_utils.plan import selection, validate
from plan_worlds import site

ROOT = Path(__file__).resolve().parents[2]
REPO = {"path": None, "repo": "https://git.example.com/you/blog.git"}
PACKAGE = {"path": None, "package": "wiki==1", "settings": "wiki.settings", "wsgi": "wiki.wsgi"}
SITES = [
    site("blog", **REPO),
    site("shop"),
    site("wiki", **PACKAGE),
    {"name": "old", "state": "absent"},
]


def given(*raw: dict[str, Any]) -> list[dict[str, Any]]:
    sites, errors = validate.sites(list(raw))
    assert errors == []
    return sites


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], ["blog", "shop", "wiki"]),
        ("blog", ["blog"]),
        ("shop, blog,", ["shop", "blog"]),
        (["blog", "blog"], ["blog"]),
    ],
)
def test_sites_that_are_named(wanted: Any, expected: list[str]) -> None:
    selected, errors = selection.select(given(*SITES), wanted)
    assert ([one["name"] for one in selected], errors) == (expected, [])


def test_a_site_that_is_absent_where_it_may_be_named() -> None:
    selected, errors = selection.select(given(*SITES), "old,blog", absent=True)
    assert ([one["name"] for one in selected], errors) == (["old", "blog"], [])
    selected, errors = selection.select(given(*SITES), [], absent=True)
    assert [one["name"] for one in selected] == ["blog", "shop", "wiki"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("blgo", "-e site: there is no site 'blgo'; did you mean 'blog'?"),
        ("Shop", "-e site: there is no site 'Shop'; did you mean 'shop'?"),
        (["qqq"], "-e site: there is no site 'qqq'; there is blog, old, shop, wiki"),
        ("", "-e site: is empty; name a site, or leave it out for all of them"),
        (" ,", "-e site: is empty; name a site, or leave it out for all of them"),
        (5, "-e site: must name sites, like blog,shop, not the number 5"),
        ("old", "site old: state: is absent here; the playbook site takes it off the servers (or remove, it alone)"),
    ],
)
def test_sites_that_cannot_be_selected(wanted: Any, expected: str) -> None:
    selected, errors = selection.select(given(*SITES), wanted)
    assert (selected, [str(error) for error in errors]) == ([], [expected])


@pytest.mark.parametrize(
    ("wanted", "version", "expected"),
    [
        ("blog", "v1.2", ""),
        ("blog", "", ""),
        ("blog", None, ""),
        ([], "v1.2", "-e version: belongs to one site, and this run is about blog, shop, wiki; name it with -e site=NAME"),
        ("blog", 1.1, "site blog: -e version: must be text, and YAML reads it as the number 1.1; put quotes around what you wrote"),
        ("blog", " ", "site blog: -e version: is empty; give it a value or remove the line"),
        ("shop", "v1", "site shop: -e version: belongs to a repo, and this site's code is a `path`, which is deployed as it is; leave it out"),
        ("wiki", "2", "site wiki: -e version: is a package's, and that is written in `package`, like 'name==1.2'; change it there"),
    ],
)  # fmt: skip
def test_a_version(wanted: Any, version: Any, expected: str) -> None:
    sites = given(*SITES)
    selected, _errors = selection.select(sites, wanted)
    assert [str(error) for error in selection.override(selected, version)] == ([expected] if expected else [])
    assert sites[0]["version"] == (None if expected else version or None)


def test_a_version_of_the_only_site() -> None:
    selected, _errors = selection.select(given(site("blog", **REPO), SITES[3]), [])
    assert selection.override(selected, "main") == []
    assert selected[0]["version"] == "main"


# As playbooks use it ---------------------------------------------------------------------------------

FACTS = "webstack_selected, webstack_tiers, webstack_sites, webstack_sites_given"


def run(tmp_path: Path, variables: dict[str, Any], *words: str, **options: Any) -> tuple[dict[str, Any], str]:
    """The facts of app1 after the action, and the output."""
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", **variables},
            "children": {name: {"hosts": {f"{name}1": {}}} for name in ("database", "app", "web", "cache")},
        }
    }
    facts = {name: f"{{{{ {name} | default(none) }}}}" for name in FACTS.split(", ")}
    play = {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"webstack.django.plan": options, "run_once": options["phase"] == "validate"},
            {
                "ansible.builtin.copy": {"content": "{{ facts | to_json }}", "dest": f"{tmp_path}/facts.json"},
                "vars": {"facts": facts},
                "when": "inventory_hostname == 'app1'",
            },
        ],
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "WEBSTACK_MASTER_KEY": "k" * 40,
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [program, "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    found = json.loads((tmp_path / "facts.json").read_text()) if done.returncode == 0 else {}
    return found, output


def repository(path: Path) -> dict[str, str]:
    """A project with two versions; their commits."""
    (path / "shop").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=path, check=True)
    who = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    found = {}
    for version in ("1.0", "1.10"):
        (path / "manage.py").write_text(
            f'import django\nx.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")  # {version}\n'
        )
        for name in ("shop/settings.py", "shop/wsgi.py"):
            (path / name).write_text("")
        (path / "requirements.txt").write_text("Django\n")
        subprocess.run(["git", "add", "."], cwd=path, check=True)
        subprocess.run(["git", *who, "commit", "-q", "-m", version], cwd=path, check=True)
        subprocess.run(["git", "tag", version], cwd=path, check=True)
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=path, check=True, capture_output=True, text=True)
        found[version] = done.stdout.strip()
    return found


def test_sites_of_one_repository_are_looked_at_side_by_side(tmp_path: Path) -> None:
    commits = repository(tmp_path / "repo")
    names = ("blog", "shop", "docs", "wiki")
    versions = dict(zip(names, ("1.0", "1.10", "1.0", "main"), strict=True))
    sites = [
        {"name": name, "domains": [f"{name}.example.com"], "repo": str(tmp_path / "repo"), "version": version}
        for name, version in versions.items()
    ]
    options = {"phase": "validate", "site": "{{ site | default([]) }}", "version": "{{ version | default('') }}"}
    facts, output = run(tmp_path, {"django_sites": sites}, "-e", "site=docs", "-e", "version=1.10", **options)
    assert facts, output
    assert facts["webstack_selected"] == ["docs"]
    found = {one["given"]["name"]: one["commit"] for one in facts["webstack_sites"]}
    assert found == {
        "blog": commits["1.0"],
        "shop": commits["1.10"],
        "docs": commits["1.10"],
        "wiki": commits["1.10"],
    }
    for site_, version in (("docs", {"version": 1.1}), ("dcs", {"version": "x"})):
        words = ["-e", f"site={site_}", "-e", json.dumps(version)]
        _facts, output = run(tmp_path, {"django_sites": sites}, *words, **options)
        assert "1 mistake in the inventory; no server was touched" in output
        assert "YAML reads it as the number 1.1" in output or "did you mean 'docs'?" in output


def test_the_inventory_alone(tmp_path: Path) -> None:
    sites = [
        {
            "name": "blog",
            "domains": ["blog.example.com"],
            "repo": "https://127.0.0.1:1/no.git",
            "env": {"A": "hunter2"},
        },
        {"name": "old", "state": "absent"},
    ]
    options = {"phase": "inventory", "site": "{{ site | default([]) }}"}
    facts, output = run(tmp_path, {"django_sites": sites}, "-vvv", **options)
    assert facts, output
    assert (facts["webstack_selected"], facts["webstack_tiers"]) == (["blog"], ["app"])
    assert [(one["name"], one["keep_releases"]) for one in facts["webstack_sites_given"]] == [("blog", 5), ("old", 5)]
    assert "hunter2" not in output.split("ansible.builtin.copy")[0]
    facts, output = run(tmp_path, {"django_sites": sites}, "-e", "site=old", **options)
    assert facts["webstack_selected"] == ["old"], output
    sites[0]["domain"] = "x"
    _facts, output = run(tmp_path, {"django_sites": sites}, **options)
    assert "site blog: domain: unknown key; did you mean 'domains'?" in output
