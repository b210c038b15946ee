# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Accounts of sites, and what a site's removal leaves."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import subprocess
from collections.abc import Collection

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import files
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

_PEOPLE = 1000  # the first number of their accounts


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


def _in_group(site: Site, friends: Collection[str]) -> list[tuple[str, str, str, str]]:
    """Commands for what an account of ours has or gives that nobody declared; and what is expected and found of what."""
    try:
        user, group = pwd.getpwnam(site.user), grp.getgrnam(site.group)
    except KeyError:
        return []
    if not 0 < user.pw_uid < _PEOPLE:  # the account of a person, who has groups and a password
        return []
    found = []
    for one in sorted(set(group.gr_mem) - {site.user} - set(friends)):
        found.append(
            ("gpasswd --delete %s %s" % (one, site.group), "group " + site.group, "its site alone", "member " + one)
        )
    for other in grp.getgrall():
        if site.user in other.gr_mem and other.gr_gid != user.pw_gid and other.gr_name not in friends:
            words = "gpasswd --delete %s %s" % (site.user, other.gr_name)
            found.append((words, "user " + site.user, "in no other group", "in the group " + other.gr_name))
    for line in (files.read_text("/etc/shadow") or "").splitlines():
        name, _colon, rest = line.partition(":")
        if name == site.user and rest[:1] not in ("!", "*"):
            found.append(("usermod --lock " + name, "user " + name, "no password", "a password (not shown)"))
    return found


def create(site: Site, check_mode: bool, friends: Collection[str] = ()) -> list[str]:
    """Make the group and the user of a site where they are missing, and leave them to the site.

    Args:
        site: the site.
        check_mode: whether only to say what would be done.
        friends: accounts that may be in the site's group, and groups that its user may be in.
    """
    actions: list[str] = []
    todo = []
    for line in missing(site):
        todo.append(
            (line, "%s %s" % ("group" if line.startswith("group") else "user", line.split()[-1]), "there", "missing")
        )
    for line, thing, expected, has in [*todo, *_in_group(site, friends)]:
        actions.append(drift.Action("%s: %s" % (site.name, line), drift.entry(thing, expected, has, site=site.name)))
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
    missing_one = drift.entry(above, "directory", "missing", drift.changed(above), site.name)
    return [drift.Action("%s: make %s, for its uploads" % (site.name, above), missing_one)]


def remove(site: Site, check_mode: bool) -> list[str]:
    """Take a site away: its releases and configuration, and its data as well where that is asked for."""
    paths = [site.current, site.path("previous"), site.path("public"), site.releases, site.environments, site.cache]
    paths += [site.path("served"), site.environment_path]
    if site["purge"]:
        paths += [site.path("shared"), site.settings_directory]
    actions: list[str] = []
    for path in paths:
        if os.path.lexists(path):
            gone = drift.entry(path, "absent", "there", drift.changed(path), site.name)
            actions.append(drift.Action("%s: remove %s" % (site.name, path), gone))
            if not check_mode:
                files.remove(path)
    if not check_mode:
        for path in (site.settings_directory, site.root):
            with contextlib.suppress(OSError):
                os.rmdir(path)
    return actions
