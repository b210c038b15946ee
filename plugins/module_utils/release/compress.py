# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Static files are compressed once, and not by the web server for every visitor: ``style.0123456789ab.css.gz``.

Only those with a hash in their names: another file of such a name is the same one, so the work for the release before is
taken over, and a compressed file cannot outlive its original.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor

_NAME = re.compile(r"\.[0-9a-f]{12}\.(css|js|mjs|json|map|svg|xml|txt|html|wasm|ttf|otf|eot|ico|webmanifest)$")
_LEAST = 1024  # bytes; smaller ones fit into the first packets anyway
_GZIP = 31  # of zlib: 15 bits, and the header of gzip without a time
_WORTH = 0.9


def _packed(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()


def _known(path: str, content: bytes) -> bytes:
    """What a compressed file of the release before holds, if it is this one, whole and unchanged; else nothing."""
    try:
        info = os.lstat(path)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            return b""
        with open(path, "rb") as file:
            packed = file.read()
        return packed if zlib.decompress(packed, _GZIP) == content else b""
    except (OSError, zlib.error):
        return b""


def _one(path: str, known: str) -> bool:
    target = path + ".gz"
    if os.path.lexists(target):
        return False
    with open(path, "rb") as file:
        content = file.read()
    # A copy, no link: what is done to a release while it is made must not reach into another one.
    packed = _known(known, content) or _packed(content)
    if len(packed) > len(content) * _WORTH:
        return False
    with open(target, "xb") as file:
        file.write(packed)
    os.chown(target, -1, os.lstat(path).st_gid)
    os.chmod(target, 0o644)
    return True


def static(top: str, public: str) -> int:
    """Compress what is worth it below a directory that is root's; the number of new files.

    Args:
        top: the static files of a release.
        public: those that the web server has from the releases before.
    """
    found = []
    for base, _directories, names in os.walk(top):
        for name in filter(_NAME.search, names):
            path = os.path.join(base, name)
            info = os.lstat(path)
            if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and info.st_size >= _LEAST:
                found.append((path, os.path.join(public, os.path.relpath(path, top)) + ".gz"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return sum(pool.map(lambda one: _one(*one), found))
