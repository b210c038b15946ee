# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation says is there, and is all that is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.webstack.django.plugins.module_utils import detect_dependencies
from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders, schema, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, environment
from test_collection import ROLES, ROOT, files, load, options, relative

PAGES = [path for path in files() if path.suffix == ".md"]
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def slug(title: str) -> str:
    """The anchor that a heading gets on the usual forges."""
    title = re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", title)
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    text = CODE.sub("", path.read_text())
    return {slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = CODE.sub("", path.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _hash, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_role_table_is_the_list_of_roles() -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\(roles/(\w+)/README\.md\) \| (.+) \|$", text, re.MULTILINE)
    assert sorted(name for name, _path, _what in rows) == ROLES
    for name, path, what in rows:
        assert path == name
        specs = load(ROOT / "roles" / name / "meta/argument_specs.yml")["argument_specs"]
        assert what == specs["main"]["short_description"]


def test_targets_and_programs_of_the_guides_are_there() -> None:
    targets = set(re.findall(r"^([a-z%-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in [*GUIDES, ROOT / "molecule/README.md"]:
        text = path.read_text()
        for target in re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets or target.startswith("scenario-"), f"{relative(path)}: make {target}"
        for name in re.findall(r"\bscenario-(\w+)", text):
            assert name == "name" or (ROOT / "molecule" / name).is_dir(), f"{relative(path)}: scenario {name}"
        for name in re.findall(r"(?<![\w/.])((?:scripts|tools|playbooks)/[a-z_.-]+\w)", text):
            assert (ROOT / name).is_file(), f"{relative(path)}: {name}"
        for name in re.findall(r"ansible-playbook webstack\.django\.(\w+)", text):
            assert (ROOT / "playbooks" / f"{name}.yml").is_file(), f"{relative(path)}: {name}"
        for name in re.findall(r"(?<![\w/])-i (inventories/\w+)", text):
            assert name == "inventories/production" or (ROOT / name).is_dir(), f"{relative(path)}: {name}"


OF_DAY_PLAYBOOKS = {"process", "lines", "since", "command", "all", "format", "purge"}


def test_options_that_the_guides_name_are_there() -> None:
    known = {name for role in ROLES for name in options(role)} | {"postgresql_roles", "django_sites"}
    known |= {"site", "version", "commit_message", "serial", "drain", "release", "state"}  # of playbooks
    for path in GUIDES:
        if path.name in ("architecture.md", "sites.md"):
            continue
        prefixes = "|".join(role for role in ROLES if role not in ("python",))
        for name in re.findall(rf"`((?:{prefixes})_\w+)`", path.read_text()):
            assert name in known, f"{relative(path)}: {name}"
        for name in re.findall(r"-e (\w+)=", path.read_text()):
            assert name in known | OF_DAY_PLAYBOOKS, f"{relative(path)}: {name}"


# The YAML of the guides ------------------------------------------------------------------------------


def examples() -> list[Any]:
    """Sites, or parts of one, as the guides write them (and not the variables of a role)."""
    found = []
    for path in (ROOT / "docs/deploying.md", ROOT / "docs/operating.md"):
        for number, (_indent, language, text) in enumerate(CODE.findall(path.read_text())):
            if language == "yaml" and not text.startswith("firewall_"):
                found.append(pytest.param(yaml.safe_load(text), id=f"{relative(path)} {number + 1}"))
    return found


@pytest.mark.parametrize("example", examples())
def test_an_example_of_a_site_is_valid(example: Any) -> None:
    base = {"name": "blog", "domains": ["blog.example.com"], "path": "/nowhere"}
    given = example if isinstance(example, list) else [{**base, **example}]
    _sites, errors = validate.sites(given)
    assert [str(error) for error in errors] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(ROOT.glob("inventories/*/hosts.yml"))], ids=relative)
def test_an_inventory_is_valid(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".md":
        (text,) = (code for _indent, language, code in CODE.findall(text) if "django_sites:" in code)
    inventory = yaml.safe_load(text)
    sites, errors = validate.sites(inventory["all"]["vars"]["django_sites"])
    assert sites
    assert [str(error) for error in errors] == []


# Lists that repeat what the code has -----------------------------------------------------------------


def section(title: str) -> str:
    text = (ROOT / "docs/deploying.md").read_text()
    return re.split(r"^#{2,3} ", text.partition(f"### {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_placeholder_is_listed() -> None:
    rows = [line for line in section("Environment and files").splitlines() if line.startswith("| `${")]
    listed = {name for row in rows for name in re.findall(r"\$\{([\w.]+)\}", row)}
    assert listed == set(placeholders.NAMES)


def test_every_variable_of_the_environment_is_listed() -> None:
    values = dict.fromkeys(placeholders.NAMES, "x") | {"database.host": "/run/postgresql"}
    (given,), _errors = validate.sites([{"name": "blog", "domains": ["blog.example.com"], "path": "/nowhere"}])
    made = set(environment(Site(given), values)) - {"PYTHONUNBUFFERED", "LC_ALL"}
    rows = [line for line in section("Environment and files").splitlines() if re.match(r"\| `[A-Z]", line)]
    listed = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])}
    assert listed == made | {"DJANGO_SETTINGS_MODULE"}


def test_dependency_files_are_listed_in_their_order() -> None:
    first = section("Dependencies").split(".\n")[0]
    names = ["uv.lock", "poetry.lock", "Pipfile.lock", *detect_dependencies.REQUIREMENTS, "pyproject.toml", "setup.py"]
    assert re.findall(r"`([\w./-]+)`", first) == names


def test_every_key_of_a_site_has_words() -> None:
    assert [name for name, option in schema.SITE.items() if not option.help.strip()] == []


def test_the_page_of_the_keys_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/sites.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
