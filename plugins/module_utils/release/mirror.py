# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Static files for web servers that are other machines: they get a release's files before it is switched to."""

from __future__ import annotations

import os
import tarfile
import time

from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.release import accounts, files, served, static
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site


def missing(site: Site) -> bool:
    """Whether this web server lacks the files of the wanted release."""
    if not site.present:
        return bool(accounts.remove(site, check_mode=True))
    return files.load(site.release).get("id") != site.release_id


def pack(site: Site, target: str) -> bool:
    """Pack the files that `collectstatic` wrote, as the public files that they are; False where there are none."""
    root = files.state(site.release).get("static_root") or ""
    if not root or not os.path.isdir(root):
        return False

    def public(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mode = 0o755 if info.isdir() else 0o644
        return info if info.isdir() or info.isreg() else None

    with open(target, "xb") as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        tar.add(root, arcname=".", filter=public)
    return True


def receive(site: Site, archive: str | None, check_mode: bool) -> list[str]:
    """Lay a release's files down on a web server and publish them beside those of the releases before it."""
    if not missing(site):
        return []
    if not site.present:
        return accounts.remove(site, check_mode)
    lacks = drift.entry(site.release, "static files of the release", "missing", site=site.name)
    actions: list[str] = [drift.Action("%s: static files of release %s" % (site.name, site.release_id), lacks)]
    if check_mode:
        return actions
    for directory in (site.root, site.releases, site.path("public")):
        os.makedirs(directory, 0o755, exist_ok=True)
    files.remove(site.release)
    os.mkdir(site.release, 0o755)
    if archive:
        with tarfile.open(archive) as tar:
            # Made by `pack` on a server of ours: plain files and directories, which nothing else is taken from.
            plain = [one for one in tar if one.isreg() or one.isdir()]
            if any(one.name.startswith("/") or ".." in one.name.split("/") for one in plain):
                raise site.error("static", "the archive leads out of its directory", "look at the app server")
            tar.extractall(site.static_root, members=plain)
        files.update_state(site.release, 0, static_root=site.static_root)
    files.store(site.release, {"id": site.release_id, "site": site.name, "built": int(time.time())}, 0)
    kept = static.kept(site)
    old = kept[max(2, int(site["keep_releases"])) :]  # the one that serves still is among the first two
    for name in old:
        files.remove(os.path.join(site.releases, name))
    static.publish(site, [name for name in kept if name not in old], check_mode=False, prune=True)
    return actions


def served_now(site: Site, check_mode: bool) -> list[str]:
    """Forget the pages that this web server has kept: every application server has the release now."""
    if not site.present or not served.differs(site, site.release_id, everywhere=True):
        return []
    if not check_mode:
        served.note(site, site.release_id, everywhere=True)
    now = site.path("served", "now")
    leads = drift.entry(now, "leads to the release", "not so", drift.changed(now), site.name)
    return [drift.Action("%s: forget the pages of other releases than %s" % (site.name, site.release_id), leads)]
