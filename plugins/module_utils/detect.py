# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a checked-out Django project says about itself. Nothing of it is imported or run."""

from __future__ import annotations

import ast
import os
import re
from typing import Any

_SKIP = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", "site-packages", ".tox", "docs"})
_DEPTH = 4  # directories below the root that are searched
_DEVELOPMENT = frozenset({"dev", "local", "development", "debug", "base", "common", "defaults", "test", "testing"})
_PRODUCTION = ("production", "prod", "deploy", "live")
_FROM_ENVIRONMENT = re.compile(
    r"DATABASE_URL|dj_database_url|\benv\.(?:dj_)?db(?:_url)?\b|\benv\.db\(|JDBC_URL|"
    r"os\.(?:environ|getenv)[^\n]{0,40}(?:DB_|DATABASE|POSTGRES|PG)|"
    r"\b(?:config|env(?:\.str)?)\(\s*['\"][A-Z0-9_]*(?:DB|DATABASE|POSTGRES)[A-Z0-9_]*['\"]"
)


class DetectError(Exception):
    """Something cannot be detected; ``key`` is the site's key to set."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def _walk(root: str) -> list[str]:
    """Files of a tree, relative to it, the shallow ones first."""
    found = []
    for base, directories, files in os.walk(root):
        depth = os.path.relpath(base, root).count(os.sep) + (base != root)
        directories[:] = sorted(name for name in directories if name not in _SKIP) if depth < _DEPTH else []
        found += [os.path.relpath(os.path.join(base, name), root) for name in sorted(files)]
    return sorted(found, key=lambda path: (path.count(os.sep), path))


def _read(*parts: str) -> str:
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _is_manage(root: str, path: str) -> bool:
    return os.path.basename(path) == "manage.py" and "django" in _read(root, path).lower()


def manage(root: str, files: list[str], project_dir: str | None) -> str | None:
    """The path of manage.py; None where there is none. Several on one level: the user must say which."""
    found = [path for path in files if _is_manage(root, path)]
    if project_dir is not None:
        wanted = os.path.join(project_dir, "manage.py") if project_dir else "manage.py"
        return wanted if os.path.isfile(os.path.join(root, wanted)) else None
    if not found:
        return None
    shallow = [path for path in found if path.count(os.sep) == found[0].count(os.sep)]
    if len(shallow) > 1:
        names = ", ".join(os.path.dirname(path) for path in shallow)
        raise DetectError("project_dir", f"there are several Django projects; set it to one of {names}")
    return found[0]


def _default_settings(text: str) -> str | None:
    found = re.search(r"DJANGO_SETTINGS_MODULE['\"]\s*,\s*['\"]([\w.]+)['\"]", text) or re.search(
        r"DJANGO_SETTINGS_MODULE['\"]\]\s*=\s*['\"]([\w.]+)['\"]", text
    )
    return found.group(1) if found else None


def _module_file(root: str, module: str) -> str | None:
    """The file of a module below a directory of the import path, relative to it."""
    path = module.replace(".", os.sep)
    for candidate in (path + ".py", os.path.join(path, "__init__.py")):
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def settings(project: str, defaults: list[str | None]) -> str | None:
    """The settings module to run with: what the entry points default to, or its production sibling."""
    for default in defaults:
        if not default:
            continue
        package, _dot, last = default.rpartition(".")
        if last not in _DEVELOPMENT:
            return default
        for name in _PRODUCTION:
            sibling = f"{package}.{name}" if package else name
            if _module_file(project, sibling):
                return sibling
        return default
    return None


def _settings_text(project: str, module: str) -> str:
    """The source of a settings module and of the modules of its package that it imports from."""
    seen: list[str] = []
    texts = []
    queue = [module]
    while queue and len(seen) < 12:
        current = queue.pop(0)
        path = _module_file(project, current)
        if path is None or path in seen:
            continue
        seen.append(path)
        text = _read(project, path)
        texts.append(text)
        package = current if path.endswith("__init__.py") else current.rpartition(".")[0]
        for dots, name in re.findall(r"^\s*from\s+(\.*)([\w.]*)\s+import", text, re.MULTILINE):
            if dots:
                base = package.split(".")[: len(package.split(".")) - len(dots) + 1] if package else []
                queue.append(".".join([*base, *([name] if name else [])]))
            else:
                queue.append(name)
    return "\n".join(texts)


def _constants(text: str) -> dict[str, str]:
    """Upper-case names that are assigned a plain string; the first assignment found wins (the outermost module)."""
    found: dict[str, str] = {}
    for match in re.finditer(r"^([A-Z][A-Z_]+)\s*=\s*(r?['\"][^'\"\n]*['\"])\s*(?:#.*)?$", text, re.MULTILINE):
        try:
            found.setdefault(match.group(1), str(ast.literal_eval(match.group(2))))
        except (ValueError, SyntaxError):
            continue
    return found


def url_path(value: str | None) -> str | None:
    """``static/`` or ``/static/`` as the path that a web server sees; None for another host's URL."""
    if value is None or "//" in value or not value.strip("/"):
        return None
    path = "/" + value.strip("/") + "/"
    return path if re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path) else None


def wsgi(project: str, module: str | None, constants: dict[str, str]) -> str | None:
    """``package.wsgi:application``: what the settings name, else a wsgi.py beside them."""
    named = constants.get("WSGI_APPLICATION")
    if named and _module_file(project, named.rpartition(".")[0]):
        return "{}:{}".format(named.rpartition(".")[0], named.rpartition(".")[2])
    candidates = []
    package = module.rpartition(".")[0] if module else ""
    while package:
        candidates.append(package + ".wsgi")
        package = package.rpartition(".")[0]
    candidates.append("wsgi")
    for candidate in candidates:
        if _module_file(project, candidate):
            return candidate + ":application"
    found = [path for path in _walk(project) if os.path.basename(path) == "wsgi.py"]
    if len(found) == 1:
        return found[0][:-3].replace(os.sep, ".") + ":application"
    return None


def _nearest(root: str, directory: str, name: str) -> str | None:
    """A file in a directory or the ones above it, up to the root of the checkout."""
    while True:
        path = os.path.join(directory, name) if directory else name
        if os.path.isfile(os.path.join(root, path)):
            return path
        if not directory:
            return None
        directory = os.path.dirname(directory)


_REQUIREMENTS = (
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
        path = _nearest(root, directory, name)
        if path:
            return tool, path
    for name in _REQUIREMENTS:
        path = _nearest(root, directory, name)
        if path:
            return "requirements", path
    for name in ("pyproject.toml", "setup.py"):
        path = _nearest(root, directory, name)
        if path and (name != "pyproject.toml" or re.search(r"^\[(project|tool\.poetry)\]", _read(root, path), re.M)):
            return "project", path
    return "none", None


# Drivers without wheels: what of Debian they are built with, and what they run with.
_BUILT = {
    "psycopg2": (["gcc", "libpq-dev", "python3-dev"], ["libpq5"]),
    "mysqlclient": (["gcc", "libmariadb-dev", "pkg-config", "python3-dev"], ["libmariadb3"]),
}


def _named(root: str, file: str, seen: set[str]) -> str:
    """The text of a file of requirements, with those that it includes."""
    if file in seen:
        return ""
    seen.add(file)
    text = _read(root, file)
    if file.endswith((".txt", ".in")):
        for name in re.findall(r"(?m)^\s*(?:-r|--requirement)[ =]?\s*(\S+)", text):
            text += "\n" + _named(root, os.path.normpath(os.path.join(os.path.dirname(file), name)), seen)
    return text


def system_packages(root: str, file: str | None) -> dict[str, list[str]]:
    """Packages of the distribution that the dependencies ask for by being there."""
    build: set[str] = set()
    run: set[str] = set()
    text = _named(root, file, set()) if file else ""
    for name, (to_build, to_run) in _BUILT.items():
        # A line of requirements, an entry of a lock file (TOML or JSON), or of a list in pyproject.toml.
        if re.search(rf"""(?mi)^\s*(?:name\s*=\s*)?["']?{name}(?:\[[^\]]*\])?["']?\s*(?:[<>=~!;:,@]|$)""", text):
            build.update(to_build)
            run.update(to_run)
    return {"build": sorted(build), "run": sorted(run)}


def requires_python(root: str, directory: str) -> str | None:
    """The versions of Python that the project takes, as in ``>=3.12``."""
    path = _nearest(root, directory, "pyproject.toml")
    text = _read(root, path) if path else ""
    found = re.search(r"^requires-python\s*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    if found:
        return found.group(1)
    found = re.search(r"^\[tool\.poetry\.dependencies\](?:\n(?!\[).*)*?\npython\s*=\s*['\"]([^'\"]+)['\"]", text, re.M)
    if found:
        return _caret(found.group(1))
    return None


def _caret(text: str) -> str:
    """Poetry's ``^3.11`` and ``~3.11`` in the words of PEP 440."""
    parts = []
    for one in text.split(","):
        one = one.strip()
        match = re.fullmatch(r"([\^~])(\d+)\.(\d+)(?:\.\d+)?", one)
        if match and match.group(1) == "^":
            parts.append(">=%s.%s,<%d" % (match.group(2), match.group(3), int(match.group(2)) + 1))
        elif match:
            parts.append(">=%s.%s,<%s.%d" % (match.group(2), match.group(3), match.group(2), int(match.group(3)) + 1))
        else:
            parts.append(one)
    return ",".join(parts)


def procfile(root: str, directory: str) -> dict[str, str]:
    """The processes of a Procfile."""
    path = _nearest(root, directory, "Procfile")
    lines = _read(root, path).splitlines() if path else []
    found = (re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+)", line.strip()) for line in lines)
    return {match.group(1): match.group(2) for match in found if match}


def detect(root: str, given: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be seen in a checkout.

    Args:
        root: the checkout.
        given: what the user said (``project_dir``, ``manage``, ``settings``, ``wsgi``, ``file``), which wins.

    Raises:
        DetectError: something that is needed is not there, or ambiguous.
    """
    files = _walk(root)
    project_dir = given.get("project_dir")
    path = given.get("manage") or manage(root, files, project_dir)
    if path is None and not (given.get("settings") and given.get("wsgi")):
        where = f" in {project_dir}" if project_dir else ""
        key = "project_dir" if project_dir else "repo"
        raise DetectError(
            key,
            f"there is no manage.py of Django{where}; set project_dir to its directory, or settings and wsgi where the "
            "project has none",
        )
    if path is not None and not os.path.isfile(os.path.join(root, path)):
        raise DetectError("manage", f"there is no {path} in the checkout")
    directory = project_dir if project_dir is not None else os.path.dirname(path or "")
    project = os.path.join(root, directory)
    entry_points = [_read(root, path)] if path else []
    entry_points += [
        _read(project, name) for name in _walk(project) if os.path.basename(name) in ("wsgi.py", "asgi.py")
    ]
    module = given.get("settings") or settings(project, [_default_settings(text) for text in entry_points])
    if module is None:
        raise DetectError("settings", "cannot be detected; set it to the settings module, like 'config.settings'")
    text = _settings_text(project, module)
    constants = _constants(text)
    application = given.get("wsgi") or wsgi(project, module, constants)
    if application is None:
        raise DetectError("wsgi", "there is no wsgi.py; set it to the WSGI application, like 'config.wsgi:application'")
    tool, file = dependencies(root, directory)
    return {
        "project_dir": directory,
        "manage": path,
        "settings": module,
        "wsgi": application if ":" in application else application + ":application",
        "tool": tool,
        "file": file,
        "packages": system_packages(root, given.get("file") or file),
        "requires_python": requires_python(root, directory),
        "static_url": url_path(constants.get("STATIC_URL")),
        "media_url": url_path(constants.get("MEDIA_URL")),
        "database_from_environment": bool(_FROM_ENVIRONMENT.search(text)),
        "processes": procfile(root, directory),
    }
