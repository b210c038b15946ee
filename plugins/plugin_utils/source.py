# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find the code of a site and hold it ready on the controller: a git repository or a local directory.

All of this happens before any server is touched, so that a repository, a version or a project that is
not there is said at once. Trees are kept by content in the cache of the user and reused.
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.webstack.django.plugins.plugin_utils import archive

GIT_TIMEOUT = 120  # seconds for one answer of a remote repository
FETCH_TIMEOUT = 1800  # seconds for its content; git itself gives a stalled transfer up
_TALKS = frozenset({"ls-remote", "fetch", "push", "clone", "submodule"})  # to other machines
MANY = 500  # files of a commit that are named to git one by one
_COMMIT = re.compile(r"[0-9a-f]{4,40}")
_LFS = b"version https://git-lfs.github.com/spec/"
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
    archive: Path | None  # a tar.gz of the tree, which archive.whole() makes where it is needed
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


def surroundings() -> dict[str, str]:
    """The environment without the repository that this process happens to run in (a hook, a rebase)."""
    around = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
    return {name: value for name, value in os.environ.items() if name not in around}


def _environment(words: tuple[str, ...], cwd: Path | None) -> dict[str, str]:
    """Nobody is asked: a question about a host key or a password would wait for ever, in a window as well."""
    environment = surroundings()
    environment.pop("GPG_TTY", None)
    environment.update(GIT_TERMINAL_PROMPT="0", GCM_INTERACTIVE="never", GIT_LFS_SKIP_SMUDGE="1", LC_ALL="C.UTF-8")
    environment.update(SSH_ASKPASS_REQUIRE="never")
    environment.setdefault("GIT_ASKPASS", "")
    # The user's own way to run ssh stays: a key of one repository is often given in its configuration.
    if _TALKS.isdisjoint(words) or {"GIT_SSH", "GIT_SSH_COMMAND"} & set(environment):
        return environment
    command = ["git", "config", "--get", "core.sshCommand"]
    if subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False).returncode != 0:
        environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=20"
    return environment


def run_git(*words: str, cwd: Path | None = None, timeout: int = GIT_TIMEOUT) -> subprocess.CompletedProcess[str]:
    """Run git without a terminal and with nobody to ask; what it says is in plain English."""
    stalled = ("-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60")
    try:
        return subprocess.run(
            ["git", *stalled, *words],
            cwd=cwd,
            env=_environment(words, cwd),
            encoding="utf-8",
            errors="surrogateescape",
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # without a terminal, ssh cannot ask either
        )
    except FileNotFoundError as error:
        raise SourceError("repo", "git is not installed on this machine; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            "repo", f"git {words[0]} gave no answer within {timeout} seconds; check the network"
        ) from error


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", url)


def unreachable(repo: str, words: str) -> SourceError:
    """Why git cannot read a repository, and what to do, from its own words."""
    lines = words.strip().splitlines() or ["no message"]
    # What ssh says is more than git's own word about it.
    told = [
        line for line in lines if line.startswith(("fatal:", "ERROR:")) and "Could not read from remote" not in line
    ]
    said = [line for line in lines if line.startswith("ssh:") or line.endswith((").", "failed."))]
    last = without_password([*told, *said, *lines][0])
    shown = without_password(repo)
    lowered = words.lower()
    if "host key verification" in lowered:
        advice = "the key of its server is not known here; connect to it once with ssh, and compare the key"
    elif "authentication" in lowered or "permission denied" in lowered or "could not read username" in lowered:
        advice = "it may be private or misspelt: check the address, and that `git ls-remote` works for you here"
    elif Path(repo).is_dir() and "not appear to be a git repository" in lowered:
        advice = "this directory is no git repository; give a plain directory as `path`"
    elif "not found" in lowered or "does not exist" in lowered or "not appear to be a git repository" in lowered:
        advice = "there is no such repository; check the address"
    else:
        advice = "check the address and the network, and that `git ls-remote` works for you here"
    return SourceError("repo", f"{shown!r} cannot be read: {advice}. git says: {last}")


def resolve_commit(repo: str, version: str | None) -> tuple[str, str]:
    """The commit that a version names, and the ref to fetch it by."""
    listed = run_git("ls-remote", "--", repo)
    if listed.returncode != 0:
        raise unreachable(repo, listed.stderr)
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
    if _COMMIT.fullmatch(version.lower()):
        version = version.lower()
        full = sorted({commit for commit in refs.values() if commit.startswith(version)})
        if len(full) == 1:
            return full[0], full[0]
        if len(version) == 40:
            return version, version
        return version, ""
    names = sorted({re.sub(r"^refs/(heads|tags)/|\^\{\}$", "", ref) for ref in refs if ref.startswith("refs/")})
    names = [name for name in names if not name.startswith("refs/") and name != "HEAD"]
    close = difflib.get_close_matches(version, names, n=3, cutoff=0.4) or names[:8]
    raise SourceError(
        "version",
        f"{version!r} is no branch, tag or commit of {without_password(repo)!r}; there is {', '.join(close)}",
    )


def address_of(repo: str) -> str:
    """What git is asked for: a path of this machine in full, everything else as it is."""
    local = Path(repo).expanduser()
    return str(local.resolve()) if local.exists() else repo


def _place(address: str) -> str:
    """The directory in the cache of a repository."""
    return f"git-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def cached(repo: str) -> list[Path]:
    """The trees of a repository that were fetched before, the last one first; no connection is opened."""
    trees = [
        one for one in (cache_dir() / _place(address_of(repo))).glob("*") if re.fullmatch("[0-9a-f]{40}", one.name)
    ]
    return sorted(trees, key=lambda one: one.stat().st_mtime, reverse=True)


def git(repo: str, version: str | None) -> Source:
    """Fetch one commit of a repository and pack it."""
    address = address_of(repo)
    commit, ref = resolve_commit(address, version)
    with _locked(_place(address)) as directory:
        bare = directory / "repo.git"
        if not (bare / "HEAD").exists():
            run_git("init", "--quiet", "--bare", str(bare))
        commit = _fetch(bare, address, commit, ref, version)
        tree = directory / commit
        if not archive.kept(tree):
            _export(bare, commit, tree, address)
    return Source("git", commit, tree.with_suffix(".tar.gz"), tree)


def _fetch(bare: Path, address: str, commit: str, ref: str, version: str | None) -> str:
    """Make a commit available in the bare repository; returns its full name."""
    if len(commit) == 40 and run_git("cat-file", "-e", f"{commit}^{{commit}}", cwd=bare).returncode == 0:
        return commit
    done = None
    if ref:
        # With a name, or the next fetch would not know what is here and bring all of it again.
        named = f"+{ref}:refs/webstack/last"
        done = run_git("fetch", "--quiet", "--depth", "1", "--", address, named, cwd=bare, timeout=FETCH_TIMEOUT)
    if done is None or done.returncode != 0:
        # A commit that is no tip may be refused by itself: take the whole history.
        deeper = ["--unshallow"] if (bare / "shallow").exists() else []
        words = ["fetch", "--quiet", "--tags", *deeper, "--", address, "+refs/*:refs/remote/*"]
        done = run_git(*words, cwd=bare, timeout=FETCH_TIMEOUT)
        if done.returncode != 0:
            raise unreachable(address, done.stderr)
    found = run_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", cwd=bare)
    if found.returncode != 0:
        raise SourceError(
            "version",
            f"{version!r} is no branch, tag or commit of {without_password(address)!r}, or the beginning of several commits",
        )
    return found.stdout.strip()


def _export(bare: Path, commit: str, tree: Path, address: str) -> None:
    with tempfile.TemporaryDirectory(dir=tree.parent) as temporary:
        unpacked = Path(temporary) / "tree"
        unpacked.mkdir()
        listed = _changed(bare, commit, tree, unpacked)
        if listed is not None:
            _no_pointers(unpacked, list(listed))
            archive.keep(unpacked, tree, listed)
            return
        # Not `git archive`: that leaves out what .gitattributes calls export-ignore.
        (bare / "index").unlink(missing_ok=True)
        done = run_git(f"--work-tree={unpacked}", "checkout", "--quiet", "--force", commit, "--", ".", cwd=bare)
        if done.returncode != 0:
            raise SourceError("repo", f"commit {commit[:12]} cannot be checked out: {done.stderr.strip()}")
        if (unpacked / ".gitmodules").exists():
            _submodules(bare, commit, unpacked, address)
        files = _all_files(unpacked)
        _no_pointers(unpacked, files)
        archive.keep(unpacked, tree, archive.describe(unpacked, files))


def _changed(bare: Path, commit: str, tree: Path, unpacked: Path) -> dict[str, str] | None:
    """Make a tree of links to the files of the newest other one, and what differs; None where all has to be made."""
    found = archive.newest(tree)
    if found is None:
        return None
    other, known = found
    done = run_git("diff-tree", "-r", "-z", "--no-renames", "--name-status", other.name, commit, cwd=bare)
    if done.returncode != 0:
        return None
    fields = done.stdout.split("\0")
    status = dict(zip(fields[1::2], fields[::2]))
    special = {".gitattributes", ".gitmodules"} & {Path(name).name for name in status}
    if special or len(status) > MANY or (other / ".gitmodules").exists():
        return None
    new = [name for name, what in status.items() if what != "D"]
    same = {name: what for name, what in known.items() if name not in status}
    archive.link(other, unpacked, same)
    (bare / "index").unlink(missing_ok=True)
    words = ["--literal-pathspecs", f"--work-tree={unpacked}", "checkout", "--quiet", "--force", commit, "--", *new]
    if new and run_git(*words, cwd=bare).returncode != 0:
        raise SourceError("repo", f"commit {commit[:12]} cannot be checked out")
    files = [name for name in new if (unpacked / name).is_symlink() or (unpacked / name).is_file()]
    return dict(sorted({**same, **archive.describe(unpacked, files)}.items()))


def _no_pointers(directory: Path, files: list[str]) -> None:
    """Refuse a tree whose large files are elsewhere (Git LFS, where git-lfs is not installed)."""
    plain = [name for name in files if (directory / name).is_file() and not (directory / name).is_symlink()]
    attributes = [directory / name for name in plain if Path(name).name == ".gitattributes"]
    if not any("filter=lfs" in path.read_text(errors="replace") for path in attributes):
        return
    for name in plain:
        path = directory / name
        if path.stat().st_size < 1024 and path.read_bytes().startswith(_LFS):
            raise SourceError(
                "repo",
                f"{name} is kept in Git LFS, which is not fetched; make a checkout with `git lfs pull` and give it as `path`",
            )


def _submodules(bare: Path, commit: str, unpacked: Path, address: str) -> None:
    """Check submodules out into the tree, with git itself in a clone beside it."""
    clone = unpacked.with_name("clone")
    steps = (
        ("-C", str(bare), "update-ref", "refs/heads/webstack", commit),  # or a clone would have no commit at all
        ("clone", "--quiet", "--no-checkout", str(bare), str(clone)),
        ("-C", str(clone), "remote", "set-url", "origin", address),  # relative addresses of submodules
        ("-C", str(clone), "checkout", "--quiet", commit),
        ("-C", str(clone), "submodule", "update", "--init", "--recursive", "--depth", "1"),
    )
    for words in steps:
        done = run_git(*words, timeout=FETCH_TIMEOUT)
        if done.returncode != 0:
            raise SourceError("repo", f"its submodules cannot be fetched: {without_password(done.stderr.strip())}")
    shutil.rmtree(unpacked)
    shutil.copytree(clone, unpacked, symlinks=True, ignore=shutil.ignore_patterns(".git"))


def _junk(name: str) -> bool:
    """Whether nobody would want to have a file on a server that is in no repository."""
    return name.endswith(_JUNK_SUFFIXES) or not _JUNK.isdisjoint(Path(name).parts)


def _all_files(directory: Path) -> list[str]:
    found = []
    for base, directories, files in os.walk(directory):
        links = [name for name in directories if (Path(base) / name).is_symlink()]
        directories[:] = sorted(name for name in directories if name != ".git")
        found += [os.path.relpath(os.path.join(base, name), directory) for name in [*files, *links]]
    return sorted(found)


def _copy(root: Path, files: list[str], target: Path) -> list[str]:
    """Copy some files of a directory; returns those that are files or links (not sockets, not pipes)."""
    found = []
    for name in files:
        path = root / name
        if not path.is_symlink() and not path.is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(path, target / name, follow_symlinks=False)
        except OSError as error:
            raise SourceError("path", f"{name} cannot be read: {error.strerror}") from error
        found.append(name)
    return found


def _of_git(root: Path) -> list[str] | None:
    """What git tracks below a directory or does not ignore, with submodules; None where git says nothing about it."""
    # The user asked for this directory, whoever owns it; nothing in it is run.
    ours = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false")
    tracked = run_git(*ours, "ls-files", "-z", "--cached", cwd=root)
    # A repository around it that ignores it (a scratch directory) says nothing about its files.
    if tracked.returncode != 0 or run_git(*ours, "check-ignore", "--quiet", str(root), cwd=root).returncode == 0:
        return None
    others = run_git(*ours, "ls-files", "-z", "--others", "--exclude-standard", cwd=root)
    names = set(tracked.stdout.split("\0")) | {name for name in others.stdout.split("\0") if not _junk(name)}
    found: list[str] = []
    for name in names - {""}:
        path = root / name
        if path.is_dir() and not path.is_symlink():  # a repository in this one
            inner = _of_git(path)
            found += [os.path.join(name, one) for one in (_wanted(path) if inner is None else inner)]
        elif os.path.lexists(path):
            found.append(name)
    return sorted(os.path.normpath(name) for name in found)


def _wanted(root: Path) -> list[str]:
    return [name for name in _all_files(root) if not _junk(name)]


def directory(path: str) -> Source:
    """Pack a directory of the controller: what git tracks or does not ignore, or all but junk."""
    root = Path(path).expanduser().resolve()
    if not root.is_dir():
        what = "is a file, not a directory" if root.exists() else "is no directory on this machine"
        raise SourceError("path", f"{str(root)!r} {what}; give the directory of the project")
    listed = _of_git(root)
    files = _wanted(root) if listed is None else listed
    if not files:
        raise SourceError("path", f"{str(root)!r} has no files (or git ignores them all)")
    _no_pointers(root, files)
    name = f"path-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}"
    with _locked(name) as place, tempfile.TemporaryDirectory(dir=place) as temporary:
        unpacked = Path(temporary) / "tree"
        unpacked.mkdir()
        described = archive.describe(unpacked, _copy(root, files, unpacked))
        commit = archive.total(described)
        tree = place / commit
        if not archive.kept(tree):
            archive.keep(unpacked, tree, described)
    return Source("path", commit, tree.with_suffix(".tar.gz"), tree)
