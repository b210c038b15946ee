# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page that visitors see while a site is in maintenance, found or made on the controller."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.plugin_utils import source

_DEFAULT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Back soon</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; padding: 0 1rem }}
</style>
</head>
<body>
<h1>Back soon</h1>
<p>{name} is being worked on. Please come back in about {when}.</p>
</body>
</html>
"""


class PageError(Exception):
    """A page that cannot be had, and why."""


def duration(seconds: int) -> str:
    """A number of seconds as people say it, rounded up."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds > 1.5 * size or size == 60:
            count = -(-seconds // size)
            return f"{count} {word}s" if count > 1 else f"a {word}".replace("a hour", "an hour")
    return ""


def default(site: Mapping[str, Any]) -> str:
    """The page of sites that have none of their own."""
    name = html.escape(str((site["domains"] or [site["name"]])[0]))
    return _DEFAULT.format(name=name, when=duration(site["maintenance"]["retry_after"]))


def read(tree: Path | None, name: str) -> str:
    """The text of a page in a checkout, or, by an absolute path, on the controller. Raises ``PageError``."""
    inside = not name.startswith(("/", "~/"))
    if inside and tree is None:
        raise PageError(f"{name!r} is a path in a checkout, which a package does not have; give an absolute one")
    path = (tree or Path()) / Path(name).expanduser()
    try:
        # A link in a checkout must not publish a file of the controller.
        if inside and not path.resolve(strict=True).is_relative_to((tree or Path()).resolve()):
            raise PageError(f"{name!r} leads out of the checkout")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        where = "in the checkout" if inside else "on this machine"
        raise PageError(f"there is no file {name!r} {where}") from None
    except UnicodeDecodeError:
        raise PageError(f"{name!r} is no text in UTF-8") from None
    except OSError as error:
        raise PageError(f"{name!r} cannot be read: {error.strerror}") from error


def page(site: Mapping[str, Any]) -> tuple[str, str]:
    """The page of a site, and a warning where it is not the one that the site names."""
    name = site["maintenance"]["page"]
    if not name:
        return default(site), ""
    try:
        return _own(site, name), ""
    except (PageError, source.SourceError) as error:
        text = f"site {site['name']}: maintenance.page: {error}; visitors see a page of the collection instead"
        return default(site), text


def _own(site: Mapping[str, Any], name: str) -> str:
    if not site["repo"] or name.startswith(("/", "~/")):
        return read(Path(site["path"]).expanduser() if site["path"] else None, name)
    # What was deployed from here last: the repository may be down, and maintenance must not wait for it.
    for tree in source.cached(site["repo"]):
        if (tree / name).is_file():
            return read(tree, name)
    return read(source.git(site["repo"], site["version"]).tree, name)
