# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code of a site as the plan looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plan_worlds as worlds
import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import archive
from ansible_collections.webstack.django.plugins.plugin_utils.plan import context, inspect, validate
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

PROJECT = {
    "manage.py": 'import django\nx.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")\n',
    "shop/settings.py": "",
    "shop/wsgi.py": "",
    "requirements.txt": "Django\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "shop"
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def looked(root: Path, **more: Any) -> tuple[context.Site, list[str]]:
    (site,), errors = validate.sites([worlds.site(**{"path": str(root), **more})])
    assert errors == []
    found, problems = inspect.look(site)
    return found, [str(error) for error in problems]


def test_a_project_is_looked_at(project: Path) -> None:
    found, problems = looked(project)
    assert problems == []
    assert (found.kind, len(found.commit)) == ("path", 40)
    assert found.detected is not None
    assert found.detected["wsgi"] == "shop.wsgi:application"
    assert found.archive is not None and archive.whole(Path(found.archive)).is_file()


@pytest.mark.parametrize(
    ("remove", "more", "expected"),
    [
        ("manage.py", {}, "site blog: path: there is no manage.py of Django; set project_dir to its directory"),
        ("shop/wsgi.py", {}, "site blog: wsgi: there is no wsgi.py"),
        ("requirements.txt", {}, "site blog: dependencies.file: nothing says what the project needs"),
        ("", {"dependencies": {"file": "reqs.txt"}}, "site blog: dependencies.file: there is no 'reqs.txt' in the checkout"),
        ("", {"project_dir": "src"}, "site blog: project_dir: there is no directory 'src' in the checkout"),
        ("", {"settings": "shop.prod"}, "site blog: settings: there is no module 'shop.prod' in the checkout; there is shop.settings"),
        ("", {"path": "/nowhere/at/all"}, "site blog: path: '/nowhere/at/all' is no directory on this machine"),
        ("", {"path": None, "repo": "/nowhere/at/all"}, "site blog: repo: '/nowhere/at/all' cannot be read: there is no such repository"),
        ("", {"maintenance": {"page": "503.html"}}, "site blog: maintenance.page: there is no file '503.html' in the checkout"),
        ("", {"maintenance": {"page": "/nowhere/x"}}, "site blog: maintenance.page: there is no file '/nowhere/x' on this machine"),
        ("", {"files": [{"path": "x", "src": "/nowhere/x"}]}, "site blog: files[0].src: there is no file '/nowhere/x' on this machine"),
        ("", {"files": [{"path": "x", "src": "/bin/ls"}]}, "site blog: files[0].src: '/bin/ls' is no text in UTF-8"),
        ("", {"files": [{"path": "x", "src": "/tmp"}]}, "site blog: files[0].src: '/tmp' cannot be read: Is a directory"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_code(project: Path, remove: str, more: dict[str, Any], expected: str) -> None:
    if remove:
        (project / remove).unlink()
    _found, problems = looked(project, **more)
    assert [problem[: len(expected)] for problem in problems] == [expected]


def test_a_project_without_a_file_of_dependencies(project: Path) -> None:
    (project / "requirements.txt").unlink()
    assert looked(project, dependencies={"add": ["Django>=5"]})[1] == []
    assert looked(project, dependencies={"tool": "none"})[1] == []


def test_placeholders_in_a_file_of_this_machine(project: Path) -> None:
    source = project.parent / "local.py"
    source.write_text("HOST = '${databxse.host}'\n")
    (problem,) = looked(project, files=[{"path": "x", "src": str(source)}])[1]
    assert problem.startswith(
        f"site blog: files[0].src: {str(source)!r}: ${{databxse.host}} is no value of the plan; did you mean 'database.host'?"
    )


def test_versions_of_python(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.13"\n')
    assert looked(project, python="3.12")[1] == [
        "site blog: python: the project takes Python >=3.13, which 3.12 is not"
    ]
    assert looked(project, python="3.13")[1] == []
    found, problems = looked(project)
    assert problems == []
    world = worlds.servers().world([found], "h1")
    (error,) = inspect.python_versions(world, Host("web1", "10.0.0.1", 1024, 1, "3.11", "Debian 12"))
    assert str(error) == (
        "site blog: python: the project takes Python >=3.13 and web1 (Debian 12) would give it 3.11; set `python` to a version "
        "that fits, which uv then downloads, or use a newer distribution"
    )
    assert inspect.python_versions(world, Host("web1", "10.0.0.1", 1024, 1, "3.13", "Debian 13")) == []
