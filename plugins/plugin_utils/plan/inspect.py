# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Look at the code of a site on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils.detect import DetectError, detect
from ansible_collections.webstack.django.plugins.plugin_utils import source
from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import Site, World
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error
from ansible_collections.webstack.django.plugins.plugin_utils.plan.topology import Host

try:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
except ImportError:  # ansible-core needs it itself
    SpecifierSet = None  # type: ignore[assignment, misc]


def look(given: dict[str, Any]) -> tuple[Site, list[Error]]:
    """Find the code of one site and detect what it is; never raises for a mistake of the user."""
    name = given["name"]
    errors = []
    for number, one in enumerate(given["files"]):
        if one["src"] is not None and not Path(one["src"]).expanduser().is_file():
            errors.append(Error(name, f"files[{number}].src", f"there is no file {one['src']!r} on this machine"))
    if given["package"]:
        return Site(given), errors
    try:
        found = source.git(given["repo"], given["version"]) if given["repo"] else source.directory(given["path"])
    except source.SourceError as error:
        return Site(given), [*errors, Error(name, error.key, str(error))]
    tree = str(found.tree)
    try:
        detected = detect(tree, {**given, "file": given["dependencies"]["file"]})
    except DetectError as error:
        key = error.key if error.key != "repo" or given["repo"] else "path"
        return Site(given), [*errors, Error(name, key, str(error))]
    file = given["dependencies"]["file"]
    if file and not (Path(tree) / file).is_file():
        errors.append(Error(name, "dependencies.file", f"there is no {file!r} in the checkout"))
    return Site(given, found.kind, found.commit, str(found.archive), detected), errors


def python_versions(world: World, host: Host) -> list[Error]:
    """Sites whose project does not run on the Python that it would get on a server."""
    errors = []
    for site in world.live:
        wanted = (site.detected or {}).get("requires_python")
        version = site.given["python"] or host.python
        if not wanted or not version or SpecifierSet is None:
            continue
        try:
            fits = SpecifierSet(wanted).contains(f"{version}.99", prereleases=True)
        except InvalidSpecifier:
            continue
        if not fits:
            errors.append(
                Error(
                    site.name,
                    "python",
                    f"the project takes Python {wanted} and {host.name} ({host.distribution}) would give it {version}; "
                    "use a newer distribution, or set `python` to a version that uv can download there",
                )
            )
    return errors
