# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the code of a site and hold it ready on the controller: a git repository or a local directory.

All of this happens before any server is touched, so that a repository, a version or a project that is
not there is said at once. Archives are kept by content in the cache of the user and reused.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIT_TIMEOUT = 120  # seconds for one answer of a remote repository
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_JUNK = frozenset(
    {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", ".pytest_cache"}
)
_JUNK_SUFFIXES = (".pyc", ".sqlite3", ".sqlite3-journal", ".sqlite3-wal", ".sqlite3-shm")


class SourceError(Exception):
    """The code cannot be had; ``key`` is the site's key to look at."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class Source:
    """The code of one site."""

    kind: str  # git, path or package
    commit: str  # 40 hexadecimal digits; of a directory the hash of its content
    archive: Path | None  # a tar.gz of the tree
    tree: Path | None  # the same, unpacked, to look at


def cache_dir() -> Path:
    """Where archives are kept: ``$XDG_CACHE_HOME/webstack``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "webstack"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


@contextlib.contextmanager
def _locked(name: str) -> Iterator[Path]:
    """A directory of the cache that only one process works on at a time."""
    directory = cache_dir() / name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directory


def _git(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8")
    # A question about a host key or a password would wait for ever.
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=20")
    try:
        return subprocess.run(
            ["git", *words],
            cwd=cwd,
            env=environment,
            text=True,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise SourceError("repo", "git is not installed on this machine; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError("repo", f"git {words[0]} gave no answer within {GIT_TIMEOUT} seconds") from error


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", url)


def _unreachable(repo: str, words: str) -> SourceError:
    lines = words.strip().splitlines() or ["no message"]
    last = without_password(next((line for line in lines if line.startswith(("fatal:", "ERROR:"))), lines[-1]))
    shown = without_password(repo)
    lowered = words.lower()
    if "authentication" in lowered or "permission denied" in lowered or "could not read username" in lowered:
        advice = "it may be private or misspelt: check the address, and that `git ls-remote` works for you here"
    elif "not found" in lowered or "does not exist" in lowered or "not appear to be a git repository" in lowered:
        advice = "there is no such repository; check the address"
    else:
        advice = "check the address and the network, and that `git ls-remote` works for you here"
    return SourceError("repo", f"{shown!r} cannot be read: {advice}. git says: {last}")


def resolve_commit(repo: str, version: str | None) -> tuple[str, str]:
    """The commit that a version names, and the ref to fetch it by."""
    listed = _git("ls-remote", "--", repo)
    if listed.returncode != 0:
        raise _unreachable(repo, listed.stderr)
    refs: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        commit, _tab, ref = line.partition("\t")
        refs[ref] = commit
    if not refs:
        raise SourceError("repo", f"{without_password(repo)!r} is empty; push a commit first")
    if version is None:
        if "HEAD" not in refs:
            raise SourceError("version", f"{without_password(repo)!r} has no default branch; name one")
        return refs["HEAD"], "HEAD"
    for ref in (f"refs/tags/{version}^{{}}", f"refs/tags/{version}", f"refs/heads/{version}", version):
        if ref in refs:
            return refs[ref], ref.removesuffix("^{}")
    if _COMMIT.fullmatch(version):
        full = sorted({commit for commit in refs.values() if commit.startswith(version)})
        if len(full) == 1:
            return full[0], full[0]
        if len(version) == 40:
            return version, version
        return version, ""
    names = sorted({re.sub(r"^refs/(heads|tags)/|\^\{\}$", "", ref) for ref in refs if ref.startswith("refs/")})
    close = difflib.get_close_matches(version, names, n=3, cutoff=0.4) or names[:8]
    raise SourceError(
        "version",
        f"{version!r} is no branch, tag or commit of {without_password(repo)!r}; there is {', '.join(close)}",
    )


def git(repo: str, version: str | None) -> Source:
    """Fetch one commit of a repository and pack it."""
    local = Path(repo).expanduser()
    address = str(local.resolve()) if local.exists() else repo
    commit, ref = resolve_commit(address, version)
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    with _locked(f"git-{name}") as directory:
        bare = directory / "repo.git"
        if not (bare / "HEAD").exists():
            _git("init", "--quiet", "--bare", str(bare))
        commit = _fetch(bare, address, commit, ref, version)
        archive, tree = directory / f"{commit}.tar.gz", directory / commit
        if not archive.exists() or not tree.is_dir():
            _export(bare, commit, archive, tree, address)
    return Source("git", commit, archive, tree)


def _fetch(bare: Path, address: str, commit: str, ref: str, version: str | None) -> str:
    """Make a commit available in the bare repository; returns its full name."""
    if len(commit) == 40 and _git("cat-file", "-e", f"{commit}^{{commit}}", cwd=bare).returncode == 0:
        return commit
    done = _git("fetch", "--quiet", "--depth", "1", "--", address, ref, cwd=bare) if ref else None
    if done is None or done.returncode != 0:
        # A commit that is no tip may be refused by itself: take the whole history.
        done = _git("fetch", "--quiet", "--tags", "--", address, "+refs/*:refs/remote/*", cwd=bare)
        if done.returncode != 0:
            raise _unreachable(address, done.stderr)
    found = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=bare)
    if found.returncode != 0:
        raise SourceError("version", f"{version!r} is no commit of {without_password(address)!r}")
    return found.stdout.strip()


def _export(bare: Path, commit: str, archive: Path, tree: Path, address: str) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        packed = Path(temporary) / "code.tar"
        with packed.open("wb") as file:
            done = subprocess.run(
                ["git", "archive", "--format=tar", commit], cwd=bare, stdout=file, stderr=subprocess.PIPE, check=False
            )
        if done.returncode != 0:
            raise SourceError("repo", f"git archive failed: {done.stderr.decode(errors='replace').strip()}")
        unpacked = Path(temporary) / "tree"
        unpacked.mkdir()
        with tarfile.open(packed) as tar:
            tar.extractall(unpacked, filter="tar")
        if (unpacked / ".gitmodules").exists():
            _submodules(bare, commit, unpacked, address)
            packed.unlink()
        if tree.exists():
            shutil.rmtree(tree)
        _pack(unpacked, _all_files(unpacked), archive)
        unpacked.rename(tree)


def _submodules(bare: Path, commit: str, unpacked: Path, address: str) -> None:
    """Check submodules out into the tree, with git itself in a clone beside it."""
    clone = unpacked.with_name("clone")
    steps = (
        ("clone", "--quiet", "--no-checkout", str(bare), str(clone)),
        ("-C", str(clone), "remote", "set-url", "origin", address),  # relative addresses of submodules
        ("-C", str(clone), "checkout", "--quiet", commit),
        ("-C", str(clone), "submodule", "update", "--init", "--recursive", "--depth", "1"),
    )
    for words in steps:
        done = _git(*words)
        if done.returncode != 0:
            raise SourceError("repo", f"its submodules cannot be fetched: {without_password(done.stderr.strip())}")
    shutil.rmtree(unpacked)
    shutil.copytree(clone, unpacked, symlinks=True, ignore=shutil.ignore_patterns(".git"))


def _all_files(directory: Path) -> list[str]:
    found = []
    for base, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in _JUNK)
        links = [name for name in directories if (Path(base) / name).is_symlink()]
        for name in [*files, *links]:
            if not name.endswith(_JUNK_SUFFIXES):
                found.append(os.path.relpath(os.path.join(base, name), directory))
    return sorted(found)


def _pack(directory: Path, files: list[str], archive: Path) -> str:
    """Write a tar.gz that depends on nothing but names, modes and contents; returns the hash of the tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in files:
            info = tar.gettarinfo(str(directory / name), arcname=name)
            if not (info.isfile() or info.issym()):
                continue
            info.uid = info.gid = 0
            info.uname = info.gname = "root"
            info.mtime = 0
            info.mode = 0o755 if info.mode & 0o111 else 0o644
            if info.isfile():
                with (directory / name).open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    data = buffer.getvalue()
    temporary = archive.with_name(f"{archive.name}.{os.getpid()}")
    with gzip.GzipFile(temporary, "wb", compresslevel=6, mtime=0) as packed:
        packed.write(data)
    temporary.rename(archive)
    return hashlib.sha256(data).hexdigest()[:40]


def directory(path: str) -> Source:
    """Pack a directory of the controller: what git tracks or does not ignore, or all but junk."""
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        raise SourceError("path", f"{str(root)!r} is no directory on this machine")
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root)
    # A repository around it that ignores it (a scratch directory) says nothing about its files.
    ignored = _git("check-ignore", "--quiet", str(root), cwd=root).returncode == 0
    if listed.returncode == 0 and not ignored:
        names = {name for name in listed.stdout.split("\0") if name and os.path.lexists(root / name)}
        files = sorted(name for name in names if not (root / name).is_dir() or (root / name).is_symlink())
    else:
        files = _all_files(root)
    if not files:
        raise SourceError("path", f"{str(root)!r} has no files")
    with _locked(f"path-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}") as place:
        packed = place / "new.tar.gz"
        commit = _pack(root, files, packed)
        archive, tree = place / f"{commit}.tar.gz", place / commit
        packed.rename(archive)
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(dir=place) as temporary, tarfile.open(archive) as tar:
                unpacked = Path(temporary) / "tree"
                tar.extractall(unpacked, filter="tar")
                unpacked.rename(tree)
    return Source("path", commit, archive, tree)
