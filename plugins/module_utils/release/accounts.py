# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Accounts of sites, and what a site's removal leaves."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import subprocess

from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


def missing(site: Site) -> list[str]:
    """Commands that make the accounts that are not there."""
    commands = []
    try:
        grp.getgrnam(site.group)
    except KeyError:
        commands.append("groupadd --system " + site.group)
    try:
        pwd.getpwnam(site.user)
    except KeyError:
        commands.append(
            "useradd --system --gid %s --home-dir %s --no-create-home --shell /usr/sbin/nologin %s"
            % (site.group, site.root, site.user)
        )
    return commands


def create(site: Site, check_mode: bool) -> list[str]:
    """Make the group and the user of a site where they are missing."""
    actions = []
    for line in missing(site):
        actions.append("%s: %s" % (site.name, line))
        if check_mode:
            continue
        done = subprocess.run(line.split(), text=True, capture_output=True, check=False)
        if done.returncode:
            raise site.error(
                "account",
                "`%s` failed: %s" % (line, done.stderr.strip()),
                "make the account %s by hand, or look whether /etc is writable" % site.user,
            )
    return actions + _above_media(site, check_mode)


def _above_media(site: Site, check_mode: bool) -> list[str]:
    """Make the directories above uploads that are not in `shared` itself; one that is there keeps its owner and mode."""
    above = os.path.dirname(site.media_root)
    led_out = above.startswith(site.root + os.sep) and not files.inside(above, site.root)
    if above == site.path("shared") or os.path.isdir(above) or led_out:
        return []
    if not check_mode:
        os.makedirs(above, 0o755, exist_ok=True)
    return ["%s: make %s, for its uploads" % (site.name, above)]


def remove(site: Site, check_mode: bool) -> list[str]:
    """Take a site away: its releases and configuration, and its data as well where that is asked for."""
    paths = [site.current, site.path("previous"), site.path("public"), site.releases, site.environments, site.cache]
    paths.append(site.environment_path)
    if site["purge"]:
        paths += [site.path("shared"), site.settings_directory]
    actions = []
    for path in paths:
        if os.path.lexists(path):
            actions.append("%s: remove %s" % (site.name, path))
            if not check_mode:
                files.remove(path)
    if not check_mode:
        for path in (site.settings_directory, site.root):
            with contextlib.suppress(OSError):
                os.rmdir(path)
    return actions
