# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's working copy of a site: what is checked out in it, and what its remote has. Nothing is changed here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ansible_collections.webstack.django.plugins.plugin_utils import source

# Files of git while something is under way, and its name.
_BUSY = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}
_UNMERGED = frozenset({"DD", "AU", "UD", "UA", "DU", "AA", "UU"})
_HEX = re.compile(r"[0-9a-f]{4,40}")


class CheckoutError(Exception):
    """The working copy does not allow to go on; ``key`` is the site's key to look at."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class Checkout:
    """The working copy of one site."""

    path: Path
    repo: str | None  # none where the directory itself is deployed
    version: str | None
    remote: str
    push: bool
    tests: tuple[str, ...]
    itself: bool  # whether `repo` is this working copy

    def git(self, *words: str, timeout: int = source.GIT_TIMEOUT) -> subprocess.CompletedProcess[str]:
        """Run git in it."""
        return source.run_git(*words, cwd=self.path, timeout=timeout)

    def ask(self, *words: str) -> str:
        """What git answers, without the line break at its end."""
        done = self.git(*words)
        if done.returncode != 0:
            raise CheckoutError("checkout", f"`git {' '.join(words)}` fails in {self.path}: {said(done.stderr)}")
        return done.stdout.removesuffix("\n")

    def commit_of(self, name: str) -> str:
        """The commit that a name means here; empty if none."""
        return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").stdout.strip()


@dataclass(frozen=True)
class State:
    """What is checked out, and what that has to do with the version to deploy."""

    head: str
    branch: str  # empty where none is checked out
    kind: str  # what the version is: branch, tag, commit, there (the remote has it already), or empty: something else
    wanted: str  # the version, or the default branch
    refs: Mapping[str, str]  # what the remote has
    remote: bool  # whether the remote counts


def said(words: str, lines: int = 12) -> str:
    """Words of a program as a message shows them."""
    text = source.without_password(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "\n".join(one[:300] for one in text.strip().splitlines()[-lines:]) or "no message"


def _local(address: str, base: Path) -> Path | None:
    """The directory that an address of a repository means on this machine, if it does."""
    if address.startswith("file://"):
        address = unquote(address.removeprefix("file://"))
    elif "://" in address or ":" in address.partition("/")[0]:
        return None
    path = Path(base, Path(address).expanduser()).resolve()
    if not path.exists() and path.with_name(f"{path.name}.git").exists():
        path = path.with_name(f"{path.name}.git")
    return path.parent if path.name == ".git" else path


def find(given: Mapping[str, Any]) -> Checkout | None:
    """The working copy of a validated site; none if it has none."""
    options, repo = given["checkout"], given["repo"]
    tests = tuple(one for one in options["tests"] if one)
    own = _local(repo, Path.cwd()) if repo else None
    own = own if own and (own / ".git").exists() else None
    place = options["path"] or given["path"]
    path = Path(place).expanduser().resolve() if place else own
    if path is None or not (repo or tests):
        if tests:
            text = f"is missing; give the directory of your working copy of {source.without_password(repo)}"
            raise CheckoutError("checkout.path", text)
        return None
    if not path.is_dir():
        text = f"{str(path)!r} is no directory on this machine; give the one of your working copy"
        raise CheckoutError("checkout.path" if repo else "path", text)
    if not repo:
        return Checkout(path, None, None, "", False, tests, False)
    found = Checkout(path, repo, given["version"], options["remote"], options["push"], tests, False)
    top = found.git("rev-parse", "--show-toplevel")
    if top.returncode != 0 or not top.stdout.strip():
        text = f"{str(path)!r} is no working copy of a git repository. git says: {said(top.stderr)}"
        raise CheckoutError("checkout.path", text)
    itself = own is not None and Path(top.stdout.removesuffix("\n")).resolve() == own
    return Checkout(path, repo, given["version"], options["remote"], options["push"], tests, itself)


# The remote -------------------------------------------------------------------------------------------


def _urls(checkout: Checkout) -> list[str]:
    """Where the remote is fetched from, and where it is pushed to."""
    found: list[str] = []
    for words in (["--all"], ["--push", "--all"]):
        found += checkout.git("remote", "get-url", *words, checkout.remote).stdout.splitlines()
    return list(dict.fromkeys(found))


def _there(checkout: Checkout, url: str) -> tuple[dict[str, str], str]:
    """The refs of the remote, and the name of its default branch."""
    listed = checkout.git("ls-remote", "--symref", "--", checkout.remote)
    if listed.returncode != 0:
        raise CheckoutError("checkout.remote", str(source.unreachable(url, listed.stderr)))
    refs, default = {}, ""
    for line in listed.stdout.splitlines():
        commit, _tab, ref = line.partition("\t")
        if commit.startswith("ref: "):
            default = commit.removeprefix("ref: refs/heads/")
        else:
            refs[ref] = commit
    return refs, default


def _place(url: str, base: Path) -> tuple[str, str]:
    """Machine and path of a repository, without what can be written in two ways; no machine is this one."""
    local = _local(url, base)
    if local is not None:
        return "", str(local)
    if "://" in url:
        host, _slash, path = url.partition("://")[2].partition("/")
        host = re.sub(r":\d*$", "", host.rpartition("@")[2])
    else:
        host, _colon, path = url.rpartition("@")[2].partition(":")
    path = unquote(path).strip("/").removeprefix("~/").removesuffix(".git").strip("/")
    return host.lower(), path.lower()


def _may_be_one(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two places can be one repository: ssh knows hosts by other names, and begins some paths at a home."""
    if one == other or not (one[0] or other[0]):
        return one == other
    short, long = sorted((one[1].lower().removesuffix(".git"), other[1].lower().removesuffix(".git")), key=len)
    return f"/{long}".endswith(f"/{short.strip('/')}")


def same_repository(checkout: Checkout) -> None:
    """Refuse a remote that is certainly another repository than the one that is deployed."""
    if checkout.itself or not checkout.repo:
        return
    urls = _urls(checkout)
    wanted = _place(checkout.git("ls-remote", "--get-url", "--", checkout.repo).stdout.strip(), Path.cwd())
    if not any(_may_be_one(_place(url, checkout.path), wanted) for url in urls):
        text = (
            f"{checkout.remote!r} of {checkout.path} is {source.without_password(', '.join(urls))}, and the site is deployed "
            f"from {source.without_password(checkout.repo)}: what is pushed would not be what is deployed. Name another "
            "remote here, or set `repo` to this one"
        )
        raise CheckoutError("checkout.remote", text)


# What is checked out ----------------------------------------------------------------------------------


def _branch(checkout: Checkout) -> str:
    """The checked-out branch, or the one that is being rebased."""
    name = checkout.git("symbolic-ref", "--quiet", "HEAD").stdout.strip()
    for file in () if name else ("rebase-merge/head-name", "rebase-apply/head-name"):
        path = checkout.path / checkout.ask("rev-parse", "--git-path", file)
        name = path.read_text().strip() if path.is_file() else name
    return name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else ""


def look(checkout: Checkout) -> State:
    """What is checked out, and how it stands to the version that is to be deployed."""
    head = checkout.commit_of("HEAD")
    if not head:
        raise CheckoutError("checkout.path", f"{checkout.path} has no commit yet; commit something first")
    urls = _urls(checkout)
    counts = bool(urls) and (checkout.push or not checkout.itself)
    if not urls and not checkout.itself:
        known = ", ".join(checkout.ask("remote").splitlines())
        hint = f"it has {known}" if known else f"`git remote add {checkout.remote} URL` makes it"
        raise CheckoutError("checkout.remote", f"{checkout.path} has no remote {checkout.remote!r}; {hint}")
    refs, default = _there(checkout, urls[0]) if counts else ({}, "")
    branch = _branch(checkout)
    wanted = (checkout.version or "HEAD").removeprefix("refs/heads/").removeprefix("refs/tags/")
    if wanted == "HEAD":
        wanted = branch if checkout.itself or not default else default
        kind = "branch" if branch and wanted == branch else "there" if checkout.itself else ""
    else:
        kind = _kind(checkout, head, wanted, branch, refs)
    if not kind and refs.get(f"refs/heads/{wanted}") == head:
        kind = "there"  # a build server often checks out a commit, and no branch
    return State(head, branch, kind, wanted, refs, counts)


def _kind(checkout: Checkout, head: str, wanted: str, branch: str, refs: Mapping[str, str]) -> str:
    there = _tag(refs, wanted)
    if there == head and not checkout.itself:
        return "there"
    tagged = checkout.commit_of(f"refs/tags/{wanted}")
    if tagged or there:  # git takes a tag for a branch of the same name
        return "tag" if tagged == head else ""
    if wanted == branch:
        return "branch"
    return "commit" if _HEX.fullmatch(wanted.lower()) and head.startswith(wanted.lower()) else ""


def _tag(refs: Mapping[str, str], name: str) -> str:
    """The commit of a tag of the remote."""
    return refs.get(f"refs/tags/{name}^{{}}") or refs.get(f"refs/tags/{name}", "")


def unfinished(checkout: Checkout) -> None:
    """Refuse a working copy in the middle of a merge, or with conflicts in it."""
    places = checkout.ask("rev-parse", *(word for name in _BUSY for word in ("--git-path", name))).splitlines()
    busy = [what for place, what in zip(places, _BUSY.values()) if (checkout.path / place).exists()]
    conflicts = [name for code, name in changes(checkout) if code in _UNMERGED]
    files = f", with conflicts in {few(conflicts)}" if conflicts else ""
    if busy:
        text = (
            f"a {busy[0]} is under way in {checkout.path}{files}. Finish it (solve the conflicts, `git add` the files, "
            f"`git {busy[0]} --continue`) or take it back (`git {busy[0]} --abort`)"
        )
        raise CheckoutError("checkout", text)
    if conflicts:
        text = f"{few(conflicts)} in {checkout.path}: conflicts of a merge; solve them, `git add` the files and commit"
        raise CheckoutError("checkout", text)


def changes(checkout: Checkout) -> list[tuple[str, str]]:
    """What is not committed: git's two letters and the name of each file, without what git ignores."""
    entries = iter(checkout.ask("status", "--porcelain", "-z", "--untracked-files=normal").split("\0"))
    found = []
    for entry in entries:
        if entry:
            found.append((entry[:2], entry[3:]))
            if entry[0] in "RC" or entry[1] in "RC":
                next(entries)  # its old name
    return found


def few(names: list[str]) -> str:
    """The first names of a list."""
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names[:5]]
    more = [f"{len(names) - 5} more"] if len(names) > 5 else []
    return ", ".join([*shown, *more])


def to_push(checkout: Checkout, state: State) -> list[str]:
    """What the remote lacks, as git push takes it; a branch that has moved on there is refused."""
    if state.kind == "there" or not state.remote:
        return []
    there = state.refs.get(f"refs/heads/{state.branch}") if state.branch else None
    ahead, behind = _apart(checkout, state, there)
    wanted: list[str] = []
    tag = _tag(state.refs, state.wanted) if state.kind == "tag" else ""
    if tag == state.head:
        return []
    if tag:
        text = (
            f"the tag {state.wanted} is commit {tag[:12]} on {checkout.remote} and {state.head[:12]} here; "
            f"give the new commit a new tag, or `git fetch --force {checkout.remote} tag {state.wanted}`"
        )
        raise CheckoutError("version", text)
    if state.kind == "branch" or (ahead and not _contained(checkout, state)):
        if behind:
            raise CheckoutError("checkout", _moved(checkout, state, ahead, behind))
        wanted += [f"HEAD:refs/heads/{state.branch}"] if ahead else []
    wanted += [f"refs/tags/{state.wanted}:refs/tags/{state.wanted}"] if state.kind == "tag" else []
    if wanted and not state.branch:
        text = (
            f"no branch is checked out in {checkout.path}, and {checkout.remote} does not have what is; check one out "
            "(`git switch NAME`, or `git switch -c NAME` for a new one)"
        )
        raise CheckoutError("checkout", text)
    return wanted


def _apart(checkout: Checkout, state: State, there: str | None) -> tuple[int, int]:
    """Commits that only we have, and that only the remote has."""
    if there == state.head:
        return 0, 0
    if there is None:
        return 1, 0
    if not checkout.commit_of(there):
        ref = f"refs/heads/{state.branch}"
        done = checkout.git("fetch", "--quiet", checkout.remote, ref, timeout=source.FETCH_TIMEOUT)
        if done.returncode != 0:
            raise CheckoutError("checkout.remote", f"`git fetch {checkout.remote}` fails: {said(done.stderr)}")
    ahead, behind = checkout.ask("rev-list", "--left-right", "--count", f"HEAD...{there}").split()
    return int(ahead), int(behind)


def _contained(checkout: Checkout, state: State) -> bool:
    """Whether any branch of the remote has our commit."""
    if state.head in state.refs.values():
        return True
    checkout.git("fetch", "--quiet", checkout.remote, timeout=source.FETCH_TIMEOUT)
    found = checkout.ask("for-each-ref", "--count=1", "--contains", state.head, f"refs/remotes/{checkout.remote}/")
    return bool(found)


def _moved(checkout: Checkout, state: State, ahead: int, behind: int) -> str:
    """What to do about a branch that has commits on the remote which are not here."""
    name = f"{checkout.remote}/{state.branch}"
    pull = f"`git pull --rebase {checkout.remote} {state.branch}`"
    if not ahead:
        return f"{state.branch} in {checkout.path} is {commits(behind)} behind {name}; {pull}, and run again"
    return (
        f"{state.branch} in {checkout.path} and {name} have diverged: {commits(ahead)} here, {commits(behind)} there. "
        f"{pull} puts yours on top (with --no-rebase it merges); solve what conflicts, and run again"
    )


def commits(number: int) -> str:
    """A number of commits, in words."""
    return "1 commit" if number == 1 else f"{number} commits"
