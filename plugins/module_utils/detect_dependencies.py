# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a checkout says about its dependencies and its Python. Nothing of it is imported or run."""

from __future__ import annotations

import os
import re


def read(*parts: str) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _above(directory: str) -> list[str]:
    """A directory of the checkout and the ones above it, up to its root."""
    found = [directory]
    while directory:
        directory = os.path.dirname(directory)
        found.append(directory)
    return found


def nearest(root: str, directory: str, name: str) -> str | None:
    """A file in a directory or the ones above it, up to the root of the checkout."""
    paths = (os.path.join(one, name) for one in _above(directory))
    return next((path for path in paths if os.path.isfile(os.path.join(root, path))), None)


REQUIREMENTS = (
    "requirements.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements/base.txt",
    "requirements/requirements.txt",
    "requirements-prod.txt",
    "requirements_prod.txt",
)


def dependencies(root: str, directory: str) -> tuple[str, str | None]:
    """The tool that installs the dependencies, and its file."""
    for tool, name in (("uv", "uv.lock"), ("poetry", "poetry.lock"), ("pipenv", "Pipfile.lock")):
        path = nearest(root, directory, name)
        if path:
            return tool, path
    for name in REQUIREMENTS:
        path = nearest(root, directory, name)
        if path:
            return "requirements", path
    for base in _above(directory):
        path = os.path.join(base, "pyproject.toml")
        if re.search(r"^\[(project|tool\.poetry)\]", read(root, path), re.M):
            return "project", path
    path = nearest(root, directory, "setup.py")
    return ("project", path) if path else ("none", None)


_PG = (["gcc", "libpq-dev", "python3-dev"], ["libpq5"])
_CAIRO = ["libcairo2"]
# Packages without wheels, or that load a library: what of Debian they are built with, and what they run with.
_SYSTEM = {
    "psycopg2": _PG,
    "psycopg-c": _PG,
    r"psycopg\[[^\]]*\bc\b[^\]]*\]": _PG,
    "mysqlclient": (["gcc", "libmariadb-dev", "pkg-config", "python3-dev"], ["libmariadb3"]),
    "uwsgi": (["gcc", "python3-dev"], []),
    "pycairo": (["gcc", "libcairo2-dev", "pkg-config", "python3-dev"], _CAIRO),
    "cairosvg": ([], _CAIRO),
    "cairocffi": ([], _CAIRO),
    "weasyprint": ([], ["libpango-1.0-0", "libpangoft2-1.0-0"]),
    "python-ldap": (["gcc", "libldap-dev", "libsasl2-dev", "python3-dev"], []),
}


def _named(root: str, file: str, seen: set[str]) -> str:
    """The text of a file of requirements, with those that it includes."""
    if file in seen:
        return ""
    seen.add(file)
    text = read(root, file)
    if file.endswith((".txt", ".in")):
        for name in re.findall(r"(?m)^\s*(?:-r|--requirement)[ =]?\s*(\S+)", text):
            text += "\n" + _named(root, os.path.normpath(os.path.join(os.path.dirname(file), name)), seen)
    return text


def system_packages(root: str, file: str | None) -> dict[str, list[str]]:
    """Packages of the distribution that the dependencies ask for by being there."""
    build: set[str] = set()
    run: set[str] = set()
    text = _named(root, file, set()) if file else ""
    for name, (to_build, to_run) in _SYSTEM.items():
        # A line of requirements, an entry of a lock file (TOML or JSON), or of a list or table in pyproject.toml.
        if re.search(
            rf"""(?mi)^\s*(?:[\w-]+\s*=\s*\[\s*|name\s*=\s*)?["']?{name}(?:\[[^\]]*\])?\s*["']?\s*(?:[<>=~!;:,@\]]|$)""",
            text,
        ):
            build.update(to_build)
            run.update(to_run)
    return {"build": sorted(build), "run": sorted(run)}


def requires_python(root: str, directory: str) -> str | None:
    """The versions of Python that the project takes, as in ``>=3.12``."""
    for base in _above(directory):
        text = read(root, base, "pyproject.toml")
        found = re.search(r"^requires-python\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        if found:
            return found.group(1)
        table = r"^\[tool\.poetry\.dependencies\]\n(?:(?!\[).*\n)*?python\s*=\s*['\"]([^'\"]+)['\"]"
        found = re.search(table, text, re.MULTILINE)
        if found:
            return _caret(found.group(1))
        text = read(root, base, "setup.cfg") + "\n" + read(root, base, "setup.py")
        found = re.search(r"^\s*python_requires\s*=\s*(?:['\"]([^'\"]+)['\"]|([^'\"\s#(][^#\n]*))", text, re.MULTILINE)
        if found:
            value = (found.group(1) or found.group(2)).strip()
            # In setup.py it may be the name of a constant: nothing can be said then.
            return value if re.match(r"[<>=!~\d]", value) else None
    return None


def _caret(text: str) -> str | None:
    """Poetry's ``^3.11``, ``~3.11`` and ``3.11.*`` in the words of PEP 440; None where any version does."""
    parts = []
    for one in text.split(","):
        one = one.strip()
        match = re.fullmatch(r"([\^~])(\d+)(?:\.(\d+))?(\.\d+)?", one)
        if match:
            major, minor, patch = match.group(2), match.group(3), match.group(4) or ""
            if match.group(1) == "^" or minor is None:
                parts.append(">=%s.%s%s,<%d" % (major, minor or "0", patch, int(major) + 1))
            else:
                parts.append(">=%s.%s%s,<%s.%d" % (major, minor, patch, major, int(minor) + 1))
        elif one[:1].isdigit():
            parts.append("==" + one)
        elif one != "*":
            parts.append(one)
    return ",".join(parts) or None
