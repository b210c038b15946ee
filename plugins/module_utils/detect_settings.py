# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the source of settings says: constants, and the variables that the database comes from. Nothing is run."""

from __future__ import annotations

import ast
import glob
import os
import re

from ansible_collections.webstack.django.plugins.module_utils.detect_dependencies import read

_MODULES = 20  # of the settings that are looked at, at most
_DATABASE_NAME = re.compile(r"(?:^|_)(?:DB|DATABASES?|POSTGRES(?:QL)?|PG|MYSQL|SQL|RDS|JDBC)(?:_|$)|^PG[A-Z]+$")
# Functions that give a whole database; without a name they read DATABASE_URL.
_WHOLE = r"(?:dj_database_url\.config|dj_db_url|env\.(?:dj_)?db(?:_url)?)"


def module_file(project: str, module: str) -> str | None:
    """The file of a module of the project, relative to it; also below ``src``, where installed projects keep it."""
    path = module.replace(".", os.sep)
    for base in ("", "src"):
        for candidate in (path + ".py", os.path.join(path, "__init__.py")):
            if os.path.isfile(os.path.join(project, base, candidate)):
                return os.path.join(base, candidate)
    return None


def _imported(project: str, path: str, module: str, text: str) -> list[str]:
    """Files that a settings module takes its names from: by ``from x import`` or by django-split-settings."""
    found = []
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    pattern = r"^\s*from\s+(\.*)([\w.]*)\s+import\s+(\([^)]*\)|[^\n#]*)"
    for dots, name, names in re.findall(pattern, text, re.MULTILINE):
        base = ""
        if dots:
            words = package.split(".") if package else []
            base = ".".join(words[: len(words) - len(dots) + 1])
        whole = ".".join(one for one in (base, name) if one)
        found.append(whole)
        found += [f"{whole}.{one}" if whole else one for one in re.findall(r"\w+", names)]
    files = [(module_file(project, one), one) for one in found if one]
    result = [f"{file}\0{one}" for file, one in files if file]
    if "split_settings" in text:
        for name in re.findall(r"['\"]([\w./*-]+\.py)['\"]", text):
            for file in sorted(glob.glob(os.path.join(project, os.path.dirname(path), name))):
                result.append(f"{os.path.relpath(file, project)}\0{package}")
    return result


def settings_text(project: str, module: str) -> str:
    """The source of a settings module and of what it imports from the project, without comments, the outermost first."""
    seen: list[str] = []
    texts = []
    first = module_file(project, module)
    queue = [f"{first}\0{module}"] if first else []
    while queue and len(seen) < _MODULES:
        path, _nul, current = queue.pop(0).partition("\0")
        if path in seen:
            continue
        seen.append(path)
        text = re.sub(r"(?m)^\s*#.*$|\s#[^'\"\n]*$", "", read(project, path))
        texts.append(text)
        queue += _imported(project, path, current, text)
    return "\n".join(texts)


def constants(text: str) -> dict[str, str]:
    """Upper-case names that are assigned a plain string, or one by default; the first one found wins (the outermost)."""
    found: dict[str, str] = {}
    literal = r"(r?'[^'\n]*'|r?\"[^\"\n]*\")"
    # NAME = "x", NAME: str = "x", NAME = os.environ.get("OTHER", "x"), NAME = config("OTHER", default="x")
    pattern = rf"^([A-Z][A-Z_]+)\s*(?::[^=\n]+)?=\s*(?:[\w.]+\(\s*['\"]\w+['\"]\s*,\s*(?:default\s*=\s*)?{literal}|{literal}\s*$)"
    for match in re.finditer(pattern, text, re.MULTILINE):
        try:
            found.setdefault(match.group(1), str(ast.literal_eval(match.group(2) or match.group(3))))
        except (ValueError, SyntaxError):
            continue
    return found


def asgi_apps(text: str) -> bool:
    """Whether the settings install an app that only ASGI can serve (Channels, Daphne)."""
    lists = re.findall(r"\b(?:[A-Z_]*APPS)\b\s*(?::[^=\n]+)?\+?=\s*[\[(]([^\])]*)", text)
    return any(re.search(r"['\"](?:channels|daphne)(?:\.apps\.\w+)?['\"]", one) for one in lists)


def url_path(value: str | None) -> str | None:
    """``static/`` or ``/static/`` as the path that a web server sees; None for another host's URL."""
    if value is None or "//" in value or not value.strip("/"):
        return None
    path = "/" + value.strip("/") + "/"
    return path if re.fullmatch(r"/([A-Za-z0-9._~-]+/)+", path) else None


def database_variables(text: str) -> list[str]:
    """Environment variables that the settings read their database from, in words of the usual libraries."""
    found = set()
    for arguments in re.findall(_WHOLE + r"\(([^)]*)", text):
        named = re.search(r"['\"]([A-Z][A-Z0-9_]*)['\"]", arguments)
        found.add(named.group(1) if named else "DATABASE_URL")
    # os.environ["X"], os.environ.get("X"), getenv("X"), env("X"), env.str("X"), config("X") and helpers of the project.
    for name in re.findall(r"[\w\]][\[(]\s*['\"]([A-Z][A-Z0-9_]*)['\"]", text):
        if _DATABASE_NAME.search(name):
            found.add(name)
    if "BaseSettings" in text:  # pydantic: the attributes are the variables
        prefix = re.search(r"env_prefix\s*=\s*['\"](\w+)['\"]", text)
        for name in re.findall(r"^\s+(\w+)\s*:", text, re.MULTILINE):
            if _DATABASE_NAME.search(name.upper()):
                found.add(((prefix.group(1) if prefix else "") + name).upper())
    return sorted(found)
