# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the code of a site on the controller."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.detect import DetectError, detect
from ansible_collections.webstack.django.plugins.plugin_utils import maintenance, source
from ansible_collections.webstack.django.plugins.plugin_utils.plan import placeholders, processes
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World, interface
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

try:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
except ImportError:  # ansible-core needs it itself
    SpecifierSet = None  # type: ignore[assignment, misc]

LOOKS = 8  # repositories that are asked at once


def look(given: dict[str, Any]) -> tuple[Site, list[Error]]:
    """Find the code of one site and detect what it is; never raises for a mistake of the user."""
    name = given["name"]
    errors = [Error(name, f"files[{number}].src", text) for number, text in _sources(given["files"])]
    for at, paths in given["hooks"].items():
        missing = [one for one in paths if not Path(one).expanduser().is_file()]
        errors += [Error(name, f"hooks.{at}", f"there is no file {one!r} on this machine") for one in missing]
    if given["package"]:
        return Site(given), [*errors, *_page(given, None)]
    try:
        found = source.git(given["repo"], given["version"]) if given["repo"] else source.directory(given["path"])
    except source.SourceError as error:
        return Site(given), [*errors, Error(name, error.key, str(error))]
    tree = str(found.tree)
    errors += _page(given, found.tree)
    file = given["dependencies"]["file"]
    try:
        interface_given = None if given["interface"] == "auto" else given["interface"]
        detected = detect(tree, {**given, "file": file, "interface": interface_given})
    except DetectError as error:
        key = error.key if error.key != "repo" or given["repo"] else "path"
        return Site(given), [*errors, Error(name, key, str(error))]
    add = " ".join(given["dependencies"]["add"]).lower()
    if file and not (Path(tree) / file).is_file():
        errors.append(Error(name, "dependencies.file", f"there is no {file!r} in the checkout"))
    elif not file and detected["tool"] == "none" and given["dependencies"]["tool"] == "auto" and "django" not in add:
        text = (
            "nothing says what the project needs (uv.lock, poetry.lock, Pipfile.lock, requirements.txt, pyproject.toml, "
            "setup.py); name its file, or name Django and the rest in dependencies.add"
        )
        errors.append(Error(name, "dependencies.file", text))
    wanted = detected["requires_python"]
    if wanted and given["python"] and not _fits(wanted, given["python"]):
        errors.append(Error(name, "python", f"the project takes Python {wanted}, which {given['python']} is not"))
    return Site(given, found.kind, found.commit, str(found.archive), detected), errors


def look_at_all(sites: Sequence[dict[str, Any]]) -> list[tuple[Site, list[Error]]]:
    """`look` at several sites at once, since each waits for its repository; the order stays."""
    with ThreadPoolExecutor(max_workers=LOOKS) as pool:
        return list(pool.map(look, sites))


def together(sites: Sequence[Site]) -> list[Error]:
    """Mistakes that show only when the code of all sites was looked at."""
    errors = []
    units: dict[str, str] = {}
    for site in sites:
        if site.given["app_server"] == "uwsgi" and interface(site) == "asgi":
            text = "is uwsgi, which serves WSGI only, and the project is served by ASGI; set it to gunicorn, or interface to wsgi"
            errors.append(Error(site.name, "app_server", text))
        for one in processes.beside_web(site):
            # Two sites with names like `a` and `a-b` could have units of one name.
            name = f"{site.name}-{one.name}"
            other = units.setdefault(name, site.name)
            if other != site.name:
                errors.append(
                    Error(
                        site.name, f"processes.{one.name}", f"its unit {name} is one of site {other} as well; rename it"
                    )
                )
        other = units.setdefault(f"{site.name}-web", site.name)
        if other != site.name:
            errors.append(
                Error(site.name, "name", f"its unit {site.name}-web is a process of site {other} as well; rename that")
            )
    return errors


def _sources(files: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """What is wrong with the files of the controller that a site names, each with its number in the list."""
    problems = []
    for number, one in enumerate(files):
        if one["src"] is None:
            continue
        path = Path(one["src"]).expanduser()
        try:
            problems += [(number, f"{str(path)!r}: {text}") for text in placeholders.unknown(path.read_text("utf-8"))]
        except UnicodeDecodeError:
            problems.append((number, f"{str(path)!r} is no text in UTF-8"))
        except FileNotFoundError:
            problems.append((number, f"there is no file {str(path.absolute())!r} on this machine"))
        except OSError as error:
            problems.append((number, f"{str(path)!r} cannot be read: {error.strerror}"))
    return problems


def _page(given: dict[str, Any], tree: Path | None) -> list[Error]:
    """What is wrong with the page that a site names for its maintenance: later it would be too late to say it."""
    page = given["maintenance"]["page"]
    if not page:
        return []
    try:
        maintenance.read(tree, page)
    except maintenance.PageError as error:
        return [Error(given["name"], "maintenance.page", str(error))]
    return []


def _fits(wanted: str, version: str) -> bool:
    """Whether the last release of a version, like ``3.12``, is one that a project takes."""
    if SpecifierSet is None:
        return True
    try:
        return bool(SpecifierSet(wanted).contains(f"{version}.99", prereleases=True))
    except InvalidSpecifier:
        return True


def python_versions(world: World, host: Host) -> list[Error]:
    """Sites whose project does not run on the Python that it would get on a server."""
    errors = []
    for site in world.live:
        wanted = (site.detected or {}).get("requires_python")
        version = site.given["python"] or host.python
        if wanted and version and not _fits(wanted, version):
            errors.append(
                Error(
                    site.name,
                    "python",
                    f"the project takes Python {wanted} and {host.name} ({host.distribution}) would give it {version}; "
                    "set `python` to a version that fits, which uv then downloads, or use a newer distribution",
                )
            )
    return errors
