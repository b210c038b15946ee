# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Log-ins that a site refused, as fail2ban finds them in the access log of the web server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# A form that is shown again, or a refusal; after the right password a form redirects.
_FORM = "200|400|401|403|422|429"
_API = "400|401|403|422|429"


def _path(path: str) -> str:
    """A path as requests may write it: each character also by its number. ``*`` stands for one part of the path."""
    found = ""
    for part in path:
        if part == "*":
            found += "[^/? ]+"
        elif part == "/":
            found += "/+"
        else:
            found += f"(?:{re.escape(part)}|%(?i:{ord(part):02x}))"
    return found


def _domain(name: str) -> str:
    return r"[^ ]+\." + re.escape(name[2:]) if name.startswith("*.") else re.escape(name)


def patterns(pages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Regular expressions of fail2ban: ``domains``, ``forms`` and ``apis`` of each site, in the format of our logs.

    Each ends with its ``site`` as a comment, by which the site that is removed finds its own.
    """
    found = []
    for page in pages:
        hosts = "|".join(_domain(name) for name in page["domains"])
        for key, refused in (("forms", _FORM), ("apis", _API)):
            paths = "|".join(_path(path) for path in page.get(key) or [])
            if paths:
                found.append(
                    rf'^<ADDR> [^"]*"POST (?:{paths})(?:\?[^ "]*)? HTTP/[0-9.]+" (?:{refused}) .* (?:{hosts}) [0-9.]+[^"]*$'
                    rf"(?#{page['site']})"
                )
    # fail2ban takes a single `%` for one of its own variables.
    return [one.replace("%", "%%") for one in found]
