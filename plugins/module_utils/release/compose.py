# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Put the code of a release together from the files that came and those that earlier releases have.

A file of an earlier release is taken where its content has the wanted hash, so what happened to it since is no matter. Its
byte code comes along: sources have no time of their own in an archive, so it stays valid.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from typing import IO, Any

from ansible_collections.webstack.django.plugins.module_utils.release import integrity, static
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site

LINK = "link"  # beside the modes 644 and 755


class Incomplete(Exception):
    """Some files of these sites are neither here nor did they come."""

    def __init__(self, sites: list[str]) -> None:
        super().__init__("not all files of %s are here; run this again" % ", ".join(sites))
        self.sites = sites


def digest(content: bytes) -> str:
    """The hash of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def compose(site: Site, came: str, listed: dict[str, str]) -> IO[bytes]:
    """A tar of a whole tree in a temporary file, which has no name: it goes with this process.

    Args:
        site: the site.
        came: a tar.gz in base64, with what differs from some earlier tree.
        listed: every name of the tree, and what it is: ``644``, ``755`` and the hash of the content, or ``link`` and its target.

    Raises:
        Incomplete: a file is missing, or there is no room for all of them; all of the code has to come.
    """
    known = [os.path.join(site.releases, name, "code") for name in static.kept(site)]
    output = tempfile.TemporaryFile(dir="/var/tmp")  # noqa: SIM115  # the caller's
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(base64.b64decode(came))) as new,
            tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            there = set(new.getnames())
            for name, what in listed.items():
                kind, _space, wanted = what.partition(" ")
                if kind == LINK:
                    _add(tar, name, link=wanted)
                elif name in there:
                    _add(tar, name, _member(new, name), int(kind, 8))
                else:
                    content, directory = _find(site, known, name, wanted)
                    _add(tar, name, content, int(kind, 8))
                    trusted = name.endswith(".py") and not integrity.damaged(os.path.dirname(directory))
                    for code in _byte_code(directory, name) if trusted else []:
                        if code not in listed:
                            _add(tar, code, _read(os.path.join(directory, code)) or b"")
        output.flush()
        output.seek(0)
        return output
    except (Incomplete, OSError) as error:
        output.close()
        raise Incomplete([site.name]) from error


def _member(tar: Any, name: str) -> bytes:
    content: bytes = tar.extractfile(name).read()
    return content


def _add(tar: Any, name: str, content: bytes = b"", mode: int = 0o644, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(content)
    if link:
        info.type, info.linkname = tarfile.SYMTYPE, link
    tar.addfile(info, io.BytesIO(content))


def _find(site: Site, known: list[str], name: str, wanted: str) -> tuple[bytes, str]:
    """The content of a file by its hash, and the directory that has it."""
    for directory in known:
        content = _read(os.path.join(directory, name))
        if content is not None and digest(content) == wanted:
            return content, directory
    raise Incomplete([site.name])


def _read(path: str) -> bytes | None:
    """The content of a regular file; a site's own commands may have put anything in its place."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return file.read()
    return None


def _byte_code(directory: str, name: str) -> list[str]:
    """The compiled forms of a module, as names in the tree."""
    base, file = os.path.split(name)
    cache = os.path.join(base, "__pycache__")
    start = file[: -len("py")]
    try:
        found = os.listdir(os.path.join(directory, cache))
    except OSError:
        return []
    return [os.path.join(cache, one) for one in found if one.startswith(start) and one.endswith(".pyc")]
