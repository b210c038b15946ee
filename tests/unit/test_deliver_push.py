# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The local half of a deployment: what is committed and pushed, in real repositories."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import checkout, deliver
from ansible_collections.webstack.django.plugins.plugin_utils.checkout import CheckoutError
from working_copies import Work, alone, commit, git, hook, work

__all__ = ["alone", "work"]

# Commit -----------------------------------------------------------------------------------------------


def test_a_commit_and_its_push(work: Work) -> None:
    for name in ("a file.txt", "-dash", "manage.py"):
        (work.here / name).write_text("new")
    (work.here / "sub").mkdir()
    part = {"path": str(work.here / "sub")}  # a directory of a larger repository
    before = git(work.here, "rev-parse", "HEAD")
    assert work.run("commit", "") == deliver.Outcome("no message is given, so nothing is committed")
    assert work.run("commit", "-m 'x'\n\n#1", check=True, checkout=part) == deliver.Outcome(
        "would commit manage.py, -dash, a file.txt", changed=True
    )
    assert git(work.here, "rev-parse", "HEAD") == before
    done = work.run("commit", "-m 'x'\n\n#1", checkout=part)
    head = git(work.here, "rev-parse", "HEAD")
    assert done == deliver.Outcome(f"committed manage.py, -dash, a file.txt as {head[:12]}", changed=True)
    assert git(work.here, "log", "-1", "--format=%B") == "-m 'x'\n\n#1"
    assert git(work.here, "status", "--porcelain") == ""
    expected = f"{head[:12]} to refs/heads/main of origin"
    assert work.run("push", check=True) == deliver.Outcome(f"would push {expected}", changed=True)
    assert work.there() == before
    assert work.run("push") == deliver.Outcome(f"pushed {expected}", changed=True)
    assert work.there() == head
    assert work.run("push") == deliver.Outcome("there is nothing to push")


def test_nobody_who_commits(work: Work) -> None:
    (work.base / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    (work.here / "x").write_text("")
    for step in ("look", "commit"):
        assert work.refused(step, "Message") == (
            "checkout: git does not know who commits in HERE; tell it with `git config --global user.name 'Your Name'` and "
            "`git config --global user.email you@example.com`"
        )


def test_a_hook_that_refuses_the_commit(work: Work) -> None:
    hook(work.here / ".git", "pre-commit", "echo not nice >&2; exit 1")
    (work.here / "x").write_text("")
    assert work.refused("commit", "Message") == (
        "checkout: `git commit` fails in HERE; nothing was committed. git says:\nnot nice"
    )


def test_a_commit_that_would_not_be_deployed(work: Work) -> None:
    git(work.here, "switch", "-q", "-c", "feature")
    (work.here / "x").write_text("")
    for step in ("look", "commit"):
        assert work.refused(step, "Message") == (
            "checkout: what is changed in HERE cannot be committed and deployed: feature is checked out, and main is "
            "deployed; commit it yourself first"
        )


def test_a_commit_after_the_one_that_is_deployed(work: Work) -> None:
    git(work.here, "tag", "v1.0")
    (work.here / "x").write_text("")
    head = git(work.here, "rev-parse", "HEAD")
    for version in ("v1.0", head[:10]):
        for step in ("look", "commit"):
            assert work.refused(step, "Message", version=version) == (
                f"version: what is changed in HERE cannot be committed and deployed: version {version} names the commit "
                "before it; commit it yourself first"
            )


# Push -------------------------------------------------------------------------------------------------


def test_a_tag(work: Work) -> None:
    head = commit(work.here, {"a": "1"})
    git(work.here, "tag", "-a", "v1", "-m", "one")
    done = work.run("push", version="v1")
    assert done.text == f"pushed {head[:12]} to refs/heads/main and refs/tags/v1 of origin"
    assert (work.there("v1^{commit}"), work.there()) == (head, head)
    assert git(work.central, "cat-file", "-t", "v1") == "tag"
    # Behind the branch, and what is deployed all the same.
    work.colleague({"b": "1"})
    assert work.run("look", version="v1").text.endswith("nothing to push")
    git(work.here, "tag", "v2")
    assert work.run("push", version="v2").text == f"pushed {head[:12]} to refs/tags/v2 of origin"
    git(work.here, "tag", "--force", "v1", "HEAD~")
    git(work.here, "reset", "-q", "--hard", "HEAD~")
    assert work.refused("look", version="v1").startswith(f"version: the tag v1 is commit {head[:12]} on origin and")


def test_a_commit_is_a_version(work: Work) -> None:
    head = commit(work.here, {"a": "1"})
    assert work.run("push", version=head[:8].upper()).text == f"pushed {head[:12]} to refs/heads/main of origin"
    work.colleague({"b": "1"})
    assert work.run("push", version=head).text == "there is nothing to push"


def test_a_new_branch(work: Work) -> None:
    git(work.here, "switch", "-q", "-c", "feature/x", "origin/main")
    head = commit(work.here, {"a": "1"})
    assert work.run("push", version="feature/x").text == f"pushed {head[:12]} to refs/heads/feature/x of origin"
    assert (work.there("feature/x"), work.there() == head) == (head, False)


def test_the_first_push_to_an_empty_repository(work: Work) -> None:
    git(work.base, "init", "-q", "--bare", "empty.git")
    git(work.here, "remote", "set-url", "origin", "../empty.git")
    more = {"repo": str(work.base / "empty.git")}
    assert work.run("look", **more).text.endswith("to push to origin")
    assert work.run("push", **more).changed


def test_a_shallow_working_copy(work: Work) -> None:
    work.colleague({"a": "1"})
    git(work.base, "clone", "-q", "--depth", "1", f"file://{work.central}", "shallow")
    more: dict[str, Any] = {"checkout": {"path": str(work.base / "shallow")}}
    assert work.run("look", **more).text.endswith("nothing to push")
    work.colleague({"a": "2"})
    assert "is 1 commit behind origin/main" in work.refused("look", **more)
    git(work.base / "shallow", "pull", "-q")
    head = commit(work.base / "shallow", {"b": "1"})
    assert work.run("push", **more).changed
    assert work.there() == head


def test_pushes_that_are_rejected(work: Work) -> None:
    commit(work.here, {"a": "1"})
    found = checkout.find(work.given())
    assert found is not None
    state = checkout.look(found)
    work.colleague({"b": "1"})
    faster = (
        "cannot be pushed to origin: somebody has pushed meanwhile: `git pull --rebase origin main`, solve what conflicts, "
        "and run again. git says:\n"
    )
    with pytest.raises(CheckoutError) as caught:
        deliver._push(found, state, check=False)
    assert str(caught.value).startswith(faster) and "(fetch first)" in str(caught.value)
    git(work.here, "pull", "-q", "--rebase")
    git(work.base / "other", "commit", "-q", "--allow-empty", "-m", "faster")
    hook(work.here / ".git", "pre-push", f"env -u GIT_DIR git -C '{work.base}/other' push -q")
    assert work.refused("push").startswith(f"checkout: {faster}")
    hook(work.here / ".git", "pre-push", "echo tests fail >&2; exit 1")
    git(work.here, "pull", "-q", "--rebase")
    text = work.refused("push")
    assert "make `git push origin` work in HERE" in text and "git says:\ntests fail\n" in text
    hook(work.here / ".git", "pre-push", "exit 0")
    hook(work.central, "pre-receive", "echo no deployment on Fridays; exit 1")
    before = work.there()
    text = work.refused("push")
    assert "the repository refuses it (a hook, a protected branch" in text
    assert "remote: no deployment on Fridays" in text and "pre-receive hook declined" in text
    assert work.there() == before


def test_without_a_push(work: Work) -> None:
    off: dict[str, Any] = {"checkout": {"push": False}}
    assert work.run("look", **off).text.endswith("nothing to push")
    commit(work.here, {"a": "1"})
    before = work.there()
    for step in ("look", "push"):
        assert work.refused(step, **off) == (
            "checkout.push: is false, and origin does not have what main has in HERE; push it yourself first"
        )
    assert work.there() == before


def test_the_key_of_a_repository_is_used(work: Work) -> None:
    program = work.base / "ssh"
    program.write_text("#!/bin/sh\necho my own ssh >&2\nexit 1\n")
    program.chmod(0o755)
    git(work.here, "config", "core.sshCommand", str(program))
    git(work.here, "remote", "set-url", "origin", "git@host:you/blog.git")
    assert "my own ssh" in work.refused("look")


# A `repo` that is the working copy itself -------------------------------------------------------------


def test_a_working_copy_that_is_deployed_itself(work: Work) -> None:
    own: dict[str, Any] = {"repo": str(work.here), "checkout": {"path": None}}
    head = commit(work.here, {"a": "1"})
    (work.here / "b").write_text("")
    assert "b: not committed in HERE, so it would not be deployed" in work.refused("look", **own)
    (work.here / "b").unlink()
    assert work.run("push", **own).text == f"pushed {head[:12]} to refs/heads/main of origin"
    made = commit(work.here, {"b": "1"})
    off = {**own, "checkout": {"path": None, "push": False}}
    assert work.run("push", **off).text == "there is nothing to push"
    git(work.here, "checkout", "-q", "--detach")
    assert work.run("look", **off).text == f"{made[:12]} in {work.here}, nothing to push"
    git(work.here, "checkout", "-q", "main")
    git(work.here, "remote", "remove", "origin")
    for step in ("look", "push"):
        assert work.run(step, **own).text.endswith("nothing to push")
    git(work.here, "branch", "old", "HEAD~")
    assert work.run("look", version="old", **own).warning.startswith("version old is deployed, and main is checked out")
