"""Packages of the distribution that a project asks for with its dependencies."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.module_utils.detect_dependencies import system_packages

PSYCOPG2 = {"build": ["gcc", "libpq-dev", "python3-dev"], "run": ["libpq5"]}
NOTHING: dict[str, list[str]] = {"build": [], "run": []}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.txt", "Django\npsycopg2==2.9.10\n", PSYCOPG2),
        ("requirements.txt", "Psycopg2 ; python_version > '3.8'\n", PSYCOPG2),
        ("requirements.txt", "psycopg2-binary==2.9.10\n# psycopg2==1\n", NOTHING),
        ("uv.lock", '[[package]]\nname = "psycopg2"\nversion = "2.9"\n', PSYCOPG2),
        ("uv.lock", '[[package]]\nname = "psycopg2-binary"\n', NOTHING),
        ("Pipfile.lock", '{"default": {\n"psycopg2": {"version": "==2.9"}}}', PSYCOPG2),
        ("pyproject.toml", 'dependencies = [\n  "psycopg2>=2.9",\n]\n', PSYCOPG2),
        (
            "requirements.txt",
            "mysqlclient\n",
            {"build": ["gcc", "libmariadb-dev", "pkg-config", "python3-dev"], "run": ["libmariadb3"]},
        ),
        ("requirements.txt", "psycopg[c,pool]==3.3.4\n", PSYCOPG2),
        ("requirements.txt", "psycopg[binary]==3.3.4\n", NOTHING),
        ("requirements.txt", "psycopg[pool, binary]\npsycopg2_pool\n", NOTHING),
        ("uv.lock", '[[package]]\nname = "psycopg-c"\n', PSYCOPG2),
        ("pyproject.toml", 'dependencies = ["psycopg2>=2.9"]\n', PSYCOPG2),
        ("pyproject.toml", '[tool.poetry.dependencies]\npsycopg2 = "^2.9"\n', PSYCOPG2),
        ("poetry.lock", '[[package]]\nname = "psycopg2"\nversion = "2.9.10"\n', PSYCOPG2),
        (
            "requirements.txt",
            "psycopg2==2.9.10 \\\n    --hash=sha256:abc\nuwsgi==2.0.30 \\\n    --hash=sha256:def\n",
            PSYCOPG2,
        ),
        ("requirements.txt", "uWSGI>=2\n", {"build": ["gcc", "python3-dev"], "run": []}),
        ("requirements.txt", "CairoSVG\n", {"build": [], "run": ["libcairo2"]}),
    ],
)
def test_drivers_without_wheels(tmp_path: Path, name: str, text: str, expected: dict[str, list[str]]) -> None:
    (tmp_path / name).write_text(text)
    assert system_packages(str(tmp_path), name) == expected


def test_files_that_are_included(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements.txt").write_text("-r requirements/base.txt\n")
    (tmp_path / "requirements" / "base.txt").write_text("-r ../requirements.txt\npsycopg2>=2\n")
    assert system_packages(str(tmp_path), "requirements.txt") == PSYCOPG2


def test_no_file(tmp_path: Path) -> None:
    assert system_packages(str(tmp_path), None) == NOTHING
    assert system_packages(str(tmp_path), "requirements.txt") == NOTHING
