# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The local half of a deployment: what is looked at and tested, in real repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import checkout, deliver
from ansible_collections.webstack.django.plugins.plugin_utils.checkout import CheckoutError
from working_copies import Work, alone, commit, git, work

__all__ = ["alone", "work"]

# Look -------------------------------------------------------------------------------------------------


def test_nothing_to_do(work: Work) -> None:
    head = git(work.here, "rev-parse", "HEAD")
    for check in (False, True):
        assert work.run("look", check=check) == deliver.Outcome(f"main in {work.here}, nothing to push")
        assert work.run("push", check=check) == deliver.Outcome("there is nothing to push")
        assert work.run("commit", "message", check=check) == deliver.Outcome("there is nothing to commit")
    assert work.there() == head


def test_changes_that_are_not_committed(work: Work) -> None:
    (work.here / ".gitignore").write_text("*.log\n")
    commit(work.here, {"old name.py": "some content\nin lines\n"})
    git(work.here, "mv", "old name.py", "new name.py")
    for name in ("x.log", "a file.txt", "n\u00f6.txt", "new/one", "manage.py"):
        (work.here / name).parent.mkdir(exist_ok=True)
        (work.here / name).write_text("changed")
    assert work.refused("look") == (
        "checkout: manage.py, new name.py, a file.txt, new/, n\u00f6.txt: not committed in HERE, so it would not be deployed; "
        "commit or stash it, or let the deployment commit it with -e commit_message='...'"
    )
    assert work.run("look", "Message").text == f"main in {work.here}, 5 to commit, to push to origin"


def test_a_merge_that_is_under_way(work: Work) -> None:
    work.colleague({"manage.py": "2"})
    commit(work.here, {"manage.py": "3"})
    git(work.here, "fetch", "-q")
    for command, name in (("merge", "merge"), ("rebase", "rebase"), ("cherry-pick", "cherry-pick")):
        with pytest.raises(Exception, match="returned non-zero"):
            git(work.here, command, "origin/main")
        expected = (
            f"checkout: a {name} is under way in HERE, with conflicts in manage.py. Finish it (solve the conflicts, "
            f"`git add` the files, `git {name} --continue`) or take it back (`git {name} --abort`)"
        )
        assert work.refused("look") == expected
        assert work.refused("look", "Message") == expected
        assert work.refused("commit", "Message") == expected
        git(work.here, command, "--abort")


def test_conflicts_of_a_stash(work: Work) -> None:
    (work.here / "manage.py").write_text("2")
    git(work.here, "stash")
    commit(work.here, {"manage.py": "3"})
    with pytest.raises(Exception, match="returned non-zero"):
        git(work.here, "stash", "pop")
    assert work.refused("look", "Message") == (
        "checkout: manage.py in HERE: conflicts of a merge; solve them, `git add` the files and commit"
    )


def test_a_branch_that_is_behind_or_has_diverged(work: Work) -> None:
    work.colleague({"a": "1"})
    work.colleague({"a": "2"})
    behind = "checkout: main in HERE is 2 commits behind origin/main; `git pull --rebase origin main`, and run again"
    for step in ("look", "push"):
        assert work.refused(step) == behind
    commit(work.here, {"b": "1"})
    diverged = (
        "checkout: main in HERE and origin/main have diverged: 1 commit here, 2 commits there. `git pull --rebase origin "
        "main` puts yours on top (with --no-rebase it merges); solve what conflicts, and run again"
    )
    for step in ("look", "push"):
        assert work.refused(step) == diverged
    git(work.here, "pull", "-q", "--rebase", "origin", "main")
    assert work.run("look").text == f"main in {work.here}, to push to origin"


def test_no_branch_is_checked_out(work: Work) -> None:
    git(work.here, "checkout", "-q", "--detach")
    # As build servers do it: the commit of the branch, and no branch.
    assert work.run("look", version="main").text.endswith(", nothing to push")
    made = commit(work.here, {"a": "1"})
    assert work.refused("look", version=made) == (
        "checkout: no branch is checked out in HERE, and origin does not have what is; check one out (`git switch NAME`, "
        "or `git switch -c NAME` for a new one)"
    )
    assert f"and commit {made[:12]} is checked out" in work.run("look", version="main").warning


@pytest.mark.parametrize("step", deliver.STEPS)
def test_another_version_than_the_one_that_is_checked_out(work: Work, step: str) -> None:
    git(work.here, "tag", "v1.0")
    commit(work.here, {"a": "1"})
    before = work.there()
    (work.here / "b").write_text("")
    options: dict[str, Any] = {"checkout": {"tests": ["touch tested"]}}
    expected = (
        f"version v1.0 is deployed, and main is checked out in {work.here}: "
        "its tests are not run, and nothing of it is committed or pushed"
    )
    assert work.run(step, "Message", version="v1.0", **options) == deliver.Outcome(expected, warning=expected)
    git(work.here, "stash", "-q", "--include-untracked")
    git(work.here, "switch", "-q", "-c", "feature", "origin/main")  # which makes origin/main its upstream
    commit(work.here, {"b": "1"})
    found = work.run(step, "Message", **options)
    assert found.warning.startswith("the default branch main is deployed, and feature is checked out")
    assert (work.there(), (work.here / "tested").exists()) == (before, False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["remote", "remove", "origin"], "checkout.remote: HERE has no remote 'origin'; `git remote add origin URL` makes it"),
        (["remote", "rename", "origin", "hub"], "checkout.remote: HERE has no remote 'origin'; it has hub"),
        (["remote", "set-url", "origin", "/nowhere.git"], "checkout.remote: '/nowhere.git' cannot be read: there is no such repository"),
        (["checkout", "-q", "--orphan", "new"], "checkout.path: HERE has no commit yet; commit something first"),
    ],
)  # fmt: skip
def test_working_copies_that_cannot_be_used(work: Work, words: list[str], expected: str) -> None:
    git(work.here, *words)
    assert work.refused("look")[: len(expected)] == expected


def test_directories_that_are_no_working_copy(work: Work, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for path, words in (
        ("plain", "is no working copy of a git repository. git says:"),
        ("gone", "is no directory on this"),
    ):
        assert f"checkout.path: 'BASE/{path}' {words}" in work.refused("look", checkout={"path": str(tmp_path / path)})
    site = work.given(checkout={"path": None, "tests": ["true"]})
    with pytest.raises(CheckoutError, match=r"is missing; give the directory of your working copy of .*central\.git"):
        checkout.find(site)
    assert checkout.find(work.given(checkout={"path": None})) is None


def test_another_repository_than_the_one_that_is_deployed(work: Work) -> None:
    git(work.base, "clone", "-q", "--bare", "first", "second.git")
    assert work.refused("look", repo=str(work.base / "second.git")) == (
        "checkout.remote: 'origin' of HERE is BASE/central.git, and the site is deployed from BASE/second.git: what is pushed "
        "would not be what is deployed. Name another remote here, or set `repo` to this one"
    )
    # It is found out after the push as well.
    made = commit(work.here, {"a": "1"})
    text = work.refused("push", repo=str(work.base / "second.git"))
    assert f"and {made[:12]} is checked out in HERE: what would be deployed is not what was tested" in text
    (work.base / "link").symlink_to(work.base)
    for address in (f"{work.base}/central", f"{work.base}/link/central.git", f"file://{work.base}/central.git"):
        assert work.run("look", repo=address).text


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("https://github.com/you/blog.git", "git@github.com:you/blog", True),
        ("https://me:secret@GitHub.com/You/blog/", "ssh://git@github.com:22/you/blog.git", True),
        ("work-alias:you/blog.git", "git@github.com:you/blog.git", True),  # the push will tell
        ("git@host:blog.git", "ssh://git@host/home/git/blog.git", True),
        ("ssh://host/~/blog.git", "host:blog", True),
        ("/srv/git/blog.git", "ssh://host/srv/git/blog.git", True),
        ("https://github.com/you/blog.git", "https://github.com/you/shop.git", False),
        ("https://github.com/you/blog.git", "https://github.com/me/blog.git", False),
        ("git@host:log.git", "git@host:blog.git", False),
        ("/srv/git/blog.git", "/srv/git/shop.git", False),
        ("/srv/git/blog.git", "git/blog.git", False),
        ("file:///srv/git/blog.git", "/srv/git/../git/blog.git", True),
        ("../blog.git", "/srv/blog.git", True),
        ("../blog/.git", "/srv/blog", True),
    ],
)
def test_addresses_of_repositories(one: str, other: str, expected: bool) -> None:
    base = Path("/srv/work")
    places = checkout._place(one, base), checkout._place(other, base)
    assert checkout._may_be_one(*places) == expected
    assert checkout._may_be_one(*reversed(places)) == expected


# Tests ------------------------------------------------------------------------------------------------


def test_tests_run_in_the_working_copy(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    (work.here / "x y").write_text("")
    tests = ["test -f 'x y' && git status", '[ -z "$(cat)" ]', "echo 1 >> ran; (sleep 60 &)"]
    assert work.run("tests", checkout={"tests": tests}, check=True).text.startswith("would run test -f 'x y'")
    assert not (work.here / "ran").exists()
    assert work.run("tests", checkout={"tests": tests}) == deliver.Outcome("3 commands passed")
    assert (work.here / "ran").read_text() == "1\n"
    assert work.run("tests") == deliver.Outcome("no tests are given")


def test_a_test_that_fails(work: Work) -> None:
    tests = ["for i in $(seq 50); do echo line $i; done; echo oh no >&2; exit 3", "touch ran"]
    text = work.refused("tests", checkout={"tests": tests})
    assert (
        text.startswith("checkout.tests: `for i in") and "fails in HERE (status 3). Its last lines:\nline 22\n" in text
    )
    assert text.endswith("line 50\noh no")
    assert not (work.here / "ran").exists()


def test_tests_of_a_directory_that_is_deployed_as_it_is(work: Work) -> None:
    more: dict[str, Any] = {"repo": None, "path": str(work.here), "checkout": {"path": None, "tests": ["echo > ran"]}}
    assert work.run("tests", **more).text == "1 command passed"
    assert (work.here / "ran").exists()
    for step in ("look", "commit", "push"):
        assert work.run(step, "Message", **more) == deliver.Outcome(f"{work.here} is deployed as it is")
    assert checkout.find(work.given(**{**more, "checkout": {"path": None}})) is None
