# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``served/now``: a link that each release turns to a directory of its own, once it is the one that answers.

A web server that keeps pages has the place where it leads in the key of each of them. So nobody gets a page of the release
before, and a page that is on its way meanwhile is kept under the old key.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_EVERYWHERE = ".all"  # the release serves on all application servers


def differs(site: Site, release: str, everywhere: bool = False) -> bool:
    """Whether the link leads elsewhere; a site has one if its pages are kept, or were once."""
    directory = site.path("served")
    if not site["page_cache"] and not os.path.isdir(directory):
        return False
    known = files.target_name(os.path.join(directory, "now")) or ""
    # A web server knows a release that was changed on the server and built anew (-r1) by its first name.
    all_have_it = known.endswith(_EVERYWHERE) and release.startswith(known[: -len(_EVERYWHERE)])
    good = all_have_it or (known == release and not everywhere)
    return not good or not os.path.isdir(os.path.join(directory, known))


def note(site: Site, release: str, everywhere: bool = False) -> None:
    """Turn the link, where it leads elsewhere."""
    if not differs(site, release, everywhere):
        return
    directory = site.path("served")
    now = os.path.join(directory, "now")
    known, name = files.target_name(now), release + (_EVERYWHERE if everywhere else "")
    for path in (directory, os.path.join(directory, name)):
        os.makedirs(path, 0o755, exist_ok=True)
        os.chmod(path, 0o755)  # the web server looks
    files.link(name, now)
    # The known one stays: a request may just be on its way through it.
    for old in set(os.listdir(directory)) - {"now", name, known}:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(directory, old))
