# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a checked-out Django project says about itself. Nothing of it is imported or run."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.detect_dependencies import (
    dependencies,
    read,
    requires_python,
    system_packages,
)
from ansible_collections.webstack.django.plugins.module_utils.detect_processes import celery, procfile
from ansible_collections.webstack.django.plugins.module_utils.detect_settings import (
    asgi_apps,
    constants,
    database_variables,
    module_file,
    settings_text,
    url_path,
)

_SKIP = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", "site-packages", ".tox", "docs"})
_DEPTH = 4  # directories below the root that are searched
# Directories that hold a Django project beside the one that is meant.
_SIDE = frozenset({"test", "tests", "testing", "testproject", "test_project", "example", "examples", "demo", "sample"})
_DEVELOPMENT = frozenset({"dev", "local", "development", "debug", "base", "common", "defaults", "test", "testing"})
_PRODUCTION = ("production", "prod", "deploy", "live")


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


def _main(paths: list[str]) -> list[str]:
    """Without those in directories of tests and examples, unless there is nothing else."""
    return [path for path in paths if not _SIDE.intersection(path.split(os.sep)[:-1])] or paths


def _is_manage(root: str, path: str) -> bool:
    return os.path.basename(path) == "manage.py" and "django" in read(root, path).lower()


def manage(root: str, files: list[str], project_dir: str | None) -> str | None:
    """The path of manage.py; None where there is none. Several on one level: the user must say which."""
    if project_dir is not None:
        wanted = os.path.join(project_dir, "manage.py") if project_dir else "manage.py"
        return wanted if os.path.isfile(os.path.join(root, wanted)) else None
    found = _main([path for path in files if _is_manage(root, path)])
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


def _development(module: str) -> bool:
    """Whether the name of a settings module says that it is not made for a server: ``x.local``, ``settings_dev``."""
    return bool(_DEVELOPMENT.intersection(module.rpartition(".")[2].split("_")))


def settings(project: str, defaults: list[str | None]) -> str | None:
    """The settings module to run with: what the entry points default to, or its production sibling."""
    known = [default for default in defaults if default]
    for default in known:
        if not _development(default):
            file = module_file(project, default) or ""
            if file.endswith("__init__.py") and not re.search(r"(?m)^\s*[^#\s]", read(project, file)):
                inner = [f"{default}.{name}" for name in _PRODUCTION if module_file(project, f"{default}.{name}")]
                return inner[0] if inner else default
            return default
    for default in known:
        package, dot, last = default.rpartition(".")
        for name in _PRODUCTION:
            words = [name if word in _DEVELOPMENT else word for word in last.split("_")]
            sibling = package + dot + "_".join(words)
            if module_file(project, sibling):
                return sibling
    return known[0] if known else None


def _candidates(project: str) -> list[str]:
    """Modules of a project that look like settings."""
    files = _main([path for path in _walk(project) if re.search(r"(^|/)settings(/\w+)?\.py$", path)])
    names = [re.sub(r"/__init__$|^src/", "", path[:-3]).replace("/", ".") for path in files]
    return sorted(dict.fromkeys(name for name in names if name))


def application(project: str, module: str | None, named: str | None, kind: str) -> str | None:
    """``package.wsgi:application``: what the settings name, else a wsgi.py (asgi.py) beside them."""
    if named and module_file(project, named.rpartition(".")[0]):
        return "{}:{}".format(named.rpartition(".")[0], named.rpartition(".")[2])
    candidates = []
    package = module.rpartition(".")[0] if module else ""
    while package:
        candidates.append(f"{package}.{kind}")
        package = package.rpartition(".")[0]
    candidates.append(kind)
    for candidate in candidates:
        if module_file(project, candidate):
            return candidate + ":application"
    found = _main([path for path in _walk(project) if path.endswith((f"/{kind}.py", f"/{kind}/__init__.py"))])
    if len(found) == 1:
        return re.sub(r"/__init__$|^src/", "", found[0][:-3]).replace("/", ".") + ":application"
    return None


def interface(text: str, applications: dict[str, str | None]) -> str:
    """What a project is made to be served by: asgi where its settings say so, or where it has nothing else."""
    if not applications["wsgi"] or not applications["asgi"]:
        return "asgi" if applications["asgi"] else "wsgi"
    named = re.search(r"(?m)^\s*ASGI_APPLICATION\s*(?::[^=\n]+)?=", text)
    return "asgi" if named or asgi_apps(text) else "wsgi"


def _applications(
    project: str, module: str, text: str, given: dict[str, Any], supplied: list[str]
) -> dict[str, str | None]:
    """Both applications and the interface, as far as they are there; what the user gives wins."""
    values = constants(text)
    found: dict[str, str | None] = {}
    for kind in ("wsgi", "asgi"):
        found[kind] = given.get(kind) or application(project, module, values.get(f"{kind.upper()}_APPLICATION"), kind)
        if given.get(kind):
            _exists(project, kind, given[kind].partition(":")[0], supplied)
    # An application that the user gives says which one is meant, when the other one is not given.
    only = [kind for kind in ("wsgi", "asgi") if given.get(kind)]
    wanted = given.get("interface") or (only[0] if len(only) == 1 else None)
    wanted = wanted or interface(text, found)
    if not found[wanted]:
        words = (
            f"there is no {wanted}.py; set it to the {wanted.upper()} application, like 'config.{wanted}:application'"
        )
        raise DetectError(wanted, words)
    for kind, one in found.items():
        found[kind] = one if not one or ":" in one else one + ":application"
    return {**found, "interface": wanted}


def _exists(project: str, key: str, module: str, supplied: list[str]) -> None:
    """Refuse a module of the project that is not there; one of an installed package cannot be looked at."""
    if module_file(project, module) or supplied_module(module, supplied):
        return
    tops = {name[:-3] if name.endswith(".py") else name for name in os.listdir(project) if name not in _SKIP}
    first = module.split(".")[0]
    near = difflib.get_close_matches(first, tops, n=1, cutoff=0.75)
    if first not in tops and not near:
        return
    known = _candidates(project) if key == "settings" else []
    close = difflib.get_close_matches(module, known, n=1, cutoff=0.6)
    there = f"; did you mean {close[0]!r}?" if close else f"; there is {', '.join(known)}" if known else ""
    raise DetectError(key, f"there is no module {module!r} in the checkout{there}")


def supplied_module(module: str, supplied: list[str]) -> bool:
    """Whether one of the files that the user adds to the checkout is this module."""
    path = module.replace(".", "/")
    return any(one.endswith((f"{path}.py", f"{path}/__init__.py")) for one in supplied)


def detect(root: str, given: dict[str, Any]) -> dict[str, Any]:
    """Everything that can be seen in a checkout.

    Args:
        root: the checkout.
        given: what the user said (``project_dir``, ``manage``, ``settings``, ``wsgi``, ``asgi``, ``interface``, ``file``,
            ``files``), which wins.

    Raises:
        DetectError: something that is needed is not there, or ambiguous.
    """
    files = _walk(root)
    project_dir = given.get("project_dir")
    if project_dir is not None:
        project_dir = "" if project_dir in ("", ".") else os.path.normpath(project_dir)
        if not os.path.isdir(os.path.join(root, project_dir)):
            raise DetectError("project_dir", f"there is no directory {project_dir!r} in the checkout")
    path = given.get("manage") or manage(root, files, project_dir)
    if path is None and not (given.get("settings") and (given.get("wsgi") or given.get("asgi"))):
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
    supplied = [str(one.get("path") or "") for one in given.get("files") or []]
    entry_points = [read(root, path)] if path else []
    named = [name for name in _walk(project) if os.path.basename(name) in ("wsgi.py", "asgi.py")]
    entry_points += [read(project, name) for name in _main(named)]
    module = given.get("settings") or settings(project, [_default_settings(text) for text in entry_points])
    if module is None:
        known = _candidates(project)
        text = f"to one of {', '.join(known)}" if known else "to the settings module, like 'config.settings'"
        raise DetectError("settings", f"neither manage.py nor wsgi.py names DJANGO_SETTINGS_MODULE; set it {text}")
    if given.get("settings"):
        _exists(project, "settings", module, supplied)
    text = settings_text(project, module)
    values = constants(text)
    applications = _applications(project, module, text, given, supplied)
    tool, file = dependencies(root, directory)
    return {
        "project_dir": directory,
        "manage": path,
        "settings": module,
        **applications,
        "tool": tool,
        "file": file,
        "packages": system_packages(root, given.get("file") or file),
        "requires_python": requires_python(root, directory),
        "static_url": url_path(values.get("STATIC_URL")),
        "media_url": url_path(values.get("MEDIA_URL")),
        # Settings for development are not made for a server, wherever their database comes from.
        "database_variables": [] if _development(module) else database_variables(text),
        "processes": procfile(root, directory),
        "channel_layers_redis": "channels_redis" in text,
        "celery": celery(project, _main(_walk(project)), text),
    }
