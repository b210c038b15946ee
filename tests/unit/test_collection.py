# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shape of the collection: what every role, plugin and file has to have, and must not have."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
MAX_LINES = 400
TASK_KEYS = {"block", "rescue", "always"}
# Registries of packages, put together so that their names are not in this file either; uv.lock may name its own.
REGISTRIES = [
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("galaxy", "ansible", "com"),
        ("docker", "com"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
]


def files() -> list[Path]:
    """Every file of the project, also a new one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [ROOT / name for name in sorted(set(listed.split("\0"))) if name]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: str) -> dict[str, Any]:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec["options"].items()}


# Roles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "path",
    [
        "roles/{0}/README.md",
        "roles/{0}/meta/argument_specs.yml",
        "roles/{0}/meta/main.yml",
        "roles/{0}/defaults/main.yml",
        "roles/{0}/tasks/main.yml",
        "molecule/{0}/molecule.yml",
        "molecule/{0}/tests/test_{0}.py",
    ],
)
def test_a_role_is_complete(role: str, path: str) -> None:
    assert (ROOT / path.format(role)).is_file()


@pytest.mark.parametrize("role", ROLES)
def test_the_tests_of_a_role_try_something_wrong(role: str) -> None:
    """A scenario runs its play again with other variables, and expects that to fail."""
    text = (ROOT / f"molecule/{role}/tests/test_{role}.py").read_text()
    assert re.search(r"\.rc != 0|\.rc == 2|not \w+\.rc == 0", text)


@pytest.mark.parametrize("role", ROLES)
def test_the_main_task_file_is_a_table_of_contents(role: str) -> None:
    path = ROOT / "roles" / role / "tasks/main.yml"
    assert len(path.read_text().splitlines()) <= 40
    for task in load(path):
        assert {"ansible.builtin.import_tasks", "ansible.builtin.include_tasks"} & set(task), task["name"]


@pytest.mark.parametrize("role", ROLES)
def test_task_files_are_short_and_there_are_no_handlers(role: str) -> None:
    for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
        assert len(path.read_text().splitlines()) <= 150, relative(path)
    assert not (ROOT / "roles" / role / "handlers").exists()


@pytest.mark.parametrize("role", ROLES)
def test_options_carry_the_name_of_their_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_knows_of_no_other_role(role: str) -> None:
    others = [one for one in ROLES if one != role]
    foreign = {name for other in others for name in options(other)}
    foreign -= {"uwsgi_buffer_size"}  # a directive of nginx as well
    internal = re.compile(r"\b__(%s)_\w+" % "|".join(others))
    for path in (ROOT / "roles" / role).rglob("*"):
        if path.suffix not in (".yml", ".j2"):
            continue
        text = path.read_text()
        assert internal.search(text) is None, relative(path)
        assert re.search(r"\bhostvars\b|\bgroups\[|\bgroup_names\b", text) is None, relative(path)
        if path.name != "argument_specs.yml":  # prose, which may point to what a playbook hands over
            assert foreign & set(re.findall(r"\b[a-z]\w*", text)) == set(), relative(path)
            assert re.search(r"\bgroups\.", text) is None, relative(path)
        assert re.search(r"\b(include|import)_role\b", text) is None, relative(path)
    assert load(ROOT / "roles" / role / "meta/main.yml")["dependencies"] == []


# Plays -------------------------------------------------------------------------------------------


def tasks(found: Any) -> Iterator[dict[str, Any]]:
    """Every task below a list of plays or tasks, blocks opened."""
    for one in found or []:
        inside = [key for key in ("tasks", "pre_tasks", "post_tasks", *TASK_KEYS) if key in one]
        if not inside or TASK_KEYS & set(one):
            yield one
        for key in inside:
            yield from tasks(one[key])


def plays() -> list[Path]:
    found = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml"), ROOT / "site.yml"]
    return sorted([*found, *ROOT.glob("molecule/*/prepare.yml"), *ROOT.glob("molecule/shared/*.yml")])


@pytest.mark.parametrize("path", plays(), ids=relative)
def test_every_play_and_task_has_a_name(path: Path) -> None:
    content = load(path)
    for one in [*content, *tasks(content)]:
        assert one.get("name") or TASK_KEYS & set(one), one
        assert str(one.get("name", "X"))[0].isupper(), one["name"]


def test_the_playbook_uses_every_role_and_hands_over_nothing_unknown() -> None:
    used: dict[str, set[str]] = {}
    retired: dict[str, set[str]] = {}
    for play in load(ROOT / "playbooks/site.yml"):
        assert "roles" not in play  # the plan has checked their options by then
        for task in [one for outer in play.get("tasks", []) for one in outer.get("block", [outer])]:
            if role := task.get("ansible.builtin.import_role"):
                name, kind = role["name"].rpartition(".")[2], role["tasks_from"]
                assert kind in ("apply", "retire") or name == "django_app"
                given = retired if kind == "retire" else used
                given.setdefault(name, set()).update(task.get("vars", {}))
    assert sorted(used) == ROLES
    for role, names in used.items():
        assert names <= set(options(role)), role
    for role, names in retired.items():
        assert names <= set(options(role)), role


# Files -------------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    code = [path for path in files() if path.suffix in (".py", ".yml", ".yaml", ".j2")]
    long = {relative(path): len(path.read_text().splitlines()) for path in code}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_no_download_was_added_by_accident() -> None:
    big = {relative(path): path.stat().st_size for path in files() if path.name != "uv.lock"}
    assert {name: size for name, size in big.items() if size > 100_000} == {}


def test_no_registry_is_named_but_in_the_lock_file() -> None:
    wrong = []
    for path in files():
        if path.name == "uv.lock":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        wrong += [f"{relative(path)}: {name}" for name in REGISTRIES if re.search(rf"\b{re.escape(name)}\b", text)]
    assert wrong == []


def test_templates_say_where_they_come_from() -> None:
    for path in sorted(ROOT.glob("roles/*/templates/*.j2")):
        text = path.read_text()
        if path.name in ("users.acl.j2", "pam-first.j2", "pam-last.j2"):
            continue  # Redis and pam-auth-update take no comments there
        assert "{{ ansible_managed | comment" in "\n".join(text.splitlines()[:3]), relative(path)
        assert f"webstack.django.{path.parts[-3]}" in text, relative(path)


# Plugins -----------------------------------------------------------------------------------------


def plugins() -> list[Path]:
    kinds = ("modules", "lookup", "filter", "callback")
    return [path for kind in kinds for path in sorted((ROOT / "plugins" / kind).glob("*.py"))]


@pytest.mark.parametrize("path", plugins(), ids=relative)
def test_a_plugin_is_documented(path: Path) -> None:
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text()).body:
        name = getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else ""
        if isinstance(node, ast.Assign) and name in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
            found[name] = yaml.safe_load(ast.literal_eval(node.value))
    returns = [] if path.parent.name == "callback" else ["RETURN"]
    assert sorted(found) == ["DOCUMENTATION", "EXAMPLES", *returns]
    documentation = found["DOCUMENTATION"]
    assert documentation.get("module", documentation.get("name")) == path.stem
    assert documentation["short_description"]
    assert documentation["version_added"]
    for example in found["EXAMPLES"]:
        assert example["name"]


@pytest.mark.parametrize("path", sorted((ROOT / "plugins/action").glob("*.py")), ids=relative)
def test_an_action_has_the_documentation_of_its_module(path: Path) -> None:
    assert (ROOT / "plugins/modules" / path.name).is_file()


def test_code_for_servers_needs_the_standard_library_only() -> None:
    allowed = re.compile(r"(ansible\.module_utils|ansible_collections\.webstack\.django\.plugins\.module_utils)(\.|$)")
    third_party = re.compile(r"(ansible|ansible_collections|yaml|jinja2|cryptography|packaging|requests|django)(\.|$)")
    for path in [*(ROOT / "plugins/module_utils").rglob("*.py"), *(ROOT / "plugins/modules").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert allowed.match(name) or not third_party.match(name), f"{relative(path)} imports {name}"


# Release -----------------------------------------------------------------------------------------


def version_tuple(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_the_version_is_the_same_everywhere() -> None:
    version = load(ROOT / "galaxy.yml")["version"]
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{version}"\n' in pyproject
    for path in plugins():
        for added in re.findall(r"^version_added: (\S+)$", path.read_text(), re.MULTILINE):
            assert version_tuple(added) <= version_tuple(version), relative(path)


def test_the_changelog_ends_with_this_version_or_the_one_before() -> None:
    version = load(ROOT / "galaxy.yml")["version"]
    path = ROOT / "changelogs/changelog.yaml"
    released = list(load(path)["releases"]) if path.exists() else []
    if version in released:
        assert max(released, key=version_tuple) == version
        assert f"## v{version}" in (ROOT / "CHANGELOG.md").read_text()
    else:  # it is in the making
        assert all(version_tuple(one) < version_tuple(version) for one in released)
        assert fragments(), "a version in the making has fragments"


def fragments() -> list[Path]:
    return sorted((ROOT / "changelogs/fragments").glob("*"))


@pytest.mark.parametrize("path", fragments(), ids=relative)
def test_a_changelog_fragment_is_valid(path: Path) -> None:
    config = load(ROOT / "changelogs/config.yaml")
    sections = {name for name, _title in config["sections"]} | {config["trivial_section_name"]}
    assert path.suffix == ".yml"
    content = load(path)
    assert isinstance(content, dict)
    assert set(content) <= sections
    for lines in content.values():
        assert lines
        assert all(isinstance(line, str) and line.strip() for line in lines)
