# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code of a site on its way to a server: all of it, or what differs from the code before it.

The cache holds trees, and beside each a list of its files, ``<commit>.json``: what each is (``644``, ``755`` or ``link``) and
the BLAKE2b hash of its content (128 bits; or where the link points to). An archive, ``<commit>.tar.gz``, is made when it
is first needed. A server that has most of the files puts them together by the list (module_utils/release/compose.py).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansible_collections.webstack.django.plugins.module_utils.release.compose import LINK, digest

_COMMIT = re.compile(r"[0-9a-f]{40}")
KEPT = 10  # trees of a repository or directory in the cache


@dataclass(frozen=True)
class Parcel:
    """What travels: an archive, and with ``listed`` only what differs from a tree before it."""

    data: bytes
    listed: Mapping[str, str] | None

    @property
    def size(self) -> int:
        """Bytes on the way; hexadecimal digits are packed to half their number."""
        return len(self.data) + (len(json.dumps(self.listed)) // 2 if self.listed else 0)


def describe(tree: Path, names: Iterable[str]) -> dict[str, str]:
    """The list of some files and links of a tree."""
    found = {}
    for name in sorted(names):
        path = tree / name
        if path.is_symlink():
            found[name] = f"{LINK} {os.readlink(path)}"
        else:
            found[name] = f"{'755' if path.stat().st_mode & 0o111 else '644'} {digest(path.read_bytes())}"
    return found


def total(listed: Mapping[str, str]) -> str:
    """A hash of a whole list; 40 hexadecimal digits, like a commit."""
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:40]


def keep(tree: Path, place: Path, listed: Mapping[str, str]) -> None:
    """Move a tree and its list into the cache, and remove the oldest ones."""
    if place.exists():
        shutil.rmtree(place)
    place.with_suffix(".json").write_text(json.dumps(listed), encoding="ascii")
    place.with_suffix(".tar.gz").unlink(missing_ok=True)
    tree.rename(place)
    os.utime(place)
    for old in _trees(place)[KEPT:]:
        shutil.rmtree(old)
        for suffix in (".json", ".tar.gz"):
            old.with_suffix(suffix).unlink(missing_ok=True)


def kept(place: Path) -> bool:
    """Whether a tree is in the cache; it is the newest of its repository then."""
    found = place.is_dir() and place.with_suffix(".json").is_file()
    if found:
        os.utime(place)
    return found


def link(tree: Path, other: Path, names: Iterable[str]) -> None:
    """Give another tree some files of one; nobody writes to them."""
    for name in names:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(tree / name, other / name, follow_symlinks=False)
        except OSError:  # a file system without links
            shutil.copy(tree / name, other / name, follow_symlinks=False)


def whole(archive: Path) -> Path:
    """The archive of a tree, which depends on nothing but names, modes and contents.

    Raises:
        FileNotFoundError: there is neither an archive nor a tree.
    """
    listed = listing(archive)
    if archive.is_file() or listed is None:
        return archive.resolve(strict=True)
    temporary = archive.with_name(f"{archive.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        _pack(_place(archive), listed, file)
    return temporary.rename(archive)


def parcel(archive: Path) -> Parcel:
    """What has to travel where the server has the newest of the other trees in the cache."""
    listed, place = listing(archive), _place(archive)
    other = newest(place)
    if listed is None or other is None:
        return Parcel(whole(archive).read_bytes(), None)
    packed = io.BytesIO()
    _pack(place, {name: what for name, what in listed.items() if other[1].get(name) != what}, packed)
    return Parcel(packed.getvalue(), listed)


def newest(place: Path) -> tuple[Path, dict[str, str]] | None:
    """The newest of the other trees beside one, and its list."""
    for other in _trees(place):
        known = listing(other.with_suffix(".tar.gz"))
        if known is not None and other != place:
            return other, known
    return None


def listing(archive: Path) -> dict[str, str] | None:
    """The list of the files that an archive has or will have; None for one that was not made here."""
    place = _place(archive)
    if not _COMMIT.fullmatch(place.name) or not place.is_dir() or not place.with_suffix(".json").is_file():
        return None
    found: dict[str, str] = json.loads(place.with_suffix(".json").read_text(encoding="ascii"))
    return found


def _place(archive: Path) -> Path:
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def _trees(place: Path) -> list[Path]:
    """The trees beside one and itself, the newest first."""
    found = [one.with_suffix("") for one in place.parent.glob("*.json")]
    return sorted([one for one in found if one.is_dir()], key=lambda one: one.stat().st_mtime, reverse=True)


def _pack(tree: Path, listed: Mapping[str, str], output: IO[bytes]) -> None:
    """Write a tar.gz of some files of a tree."""
    with (
        gzip.GzipFile("", "wb", compresslevel=6, mtime=0, fileobj=output) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, what in listed.items():
            kind, _space, target = what.partition(" ")
            info = tarfile.TarInfo(name)
            info.uname = info.gname = "root"
            if kind == LINK:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
                tar.addfile(info)
                continue
            info.mode, info.size = int(kind, 8), (tree / name).stat().st_size
            with (tree / name).open("rb") as file:
                tar.addfile(info, file)
