# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps of a deployment before any server: look at the working copy, test, commit and push it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleActionFail  # type: ignore[import-untyped]
from ansible_collections.webstack.django.plugins.plugin_utils import source
from ansible_collections.webstack.django.plugins.plugin_utils.checkout import (
    Checkout,
    CheckoutError,
    State,
    changes,
    few,
    find,
    look,
    said,
    same_repository,
    to_push,
    unfinished,
)
from ansible_collections.webstack.django.plugins.plugin_utils.plan.schema import Error

STEPS = ["look", "tests", "commit", "push"]
HOOK_TIMEOUT = 1800  # seconds for a commit or a push: their hooks may run tests
TAIL = 30  # lines of a test that failed


@dataclass(frozen=True)
class Outcome:
    """What a step did, or would do."""

    text: str
    changed: bool = False
    warning: str = ""


def deliver(steps: Sequence[str], sites: Sequence[dict[str, Any]], message: str, check: bool, display: Any) -> bool:
    """Some of the steps for all sites that have a working copy; whether anything was changed.

    Args:
        steps: some of `STEPS`.
        sites: validated ones.
        message: of a commit.
        check: whether to say only what would be done.
        display: Ansible's, for warnings and what was done.

    Raises:
        AnsibleActionFail: the deployment must not go on.
    """
    changed = False
    for step in [one for one in STEPS if one in steps]:
        for name, outcome in _step(step, sites, message, check).items():
            changed = changed or outcome.changed
            if outcome.warning:
                display.warning(f"site {name}: {outcome.warning}")
            elif outcome.changed or step == "tests":
                display.display(f"  site {name}: {outcome.text}")
    return changed


def _step(step: str, sites: Sequence[dict[str, Any]], message: str, check: bool) -> dict[str, Outcome]:
    done: dict[str, Outcome] = {}
    tested = set()
    errors = []
    for site in sites:
        try:
            found = find(site)
            if found is None or (step == "tests" and (found.path, found.tests) in tested):
                continue
            outcome = run(step, found, message, check)
        except (CheckoutError, source.SourceError) as error:
            errors.append(Error(site["name"], error.key, str(error)))
            if step != "look":  # which says all that is wrong at once
                break
            continue
        done[site["name"]] = outcome
        tested.add(() if outcome.warning else (found.path, found.tests))
    if errors:
        nothing = "no server was touched" if step == "push" else "nothing was pushed, no server was touched"
        raise AnsibleActionFail(f"{nothing}:\n" + "\n".join(f"  - {error}" for error in errors))
    return done


def run(step: str, checkout: Checkout, message: str, check: bool) -> Outcome:
    """One step for one site.

    Args:
        step: one of `STEPS`.
        checkout: the working copy of the site.
        message: of the commit; without one nothing is committed.
        check: whether to say only what would be done.

    Raises:
        CheckoutError: the deployment must not go on.
    """
    if step == "tests" and not checkout.tests:
        return Outcome("no tests are given")
    if step == "commit" and not message.strip():
        return Outcome("no message is given, so nothing is committed")
    if not checkout.repo:
        return _test(checkout, check) if step == "tests" else Outcome(f"{checkout.path} is deployed as it is")
    state = look(checkout)
    if not state.kind:
        return _elsewhere(checkout, state)
    if step == "look":
        return _look(checkout, state, message)
    if step == "tests":
        return _test(checkout, check)
    return _commit(checkout, state, message, check) if step == "commit" else _push(checkout, state, check)


def _elsewhere(checkout: Checkout, state: State) -> Outcome:
    what = f"version {state.wanted}" if checkout.version else f"the default branch {state.wanted}"
    here = state.branch or f"commit {state.head[:12]}"
    text = (
        f"{what} is deployed, and {here} is checked out in {checkout.path}: "
        "its tests are not run, and nothing of it is committed or pushed"
    )
    return Outcome(text, warning=text)


def _look(checkout: Checkout, state: State, message: str) -> Outcome:
    unfinished(checkout)
    same_repository(checkout)
    changed = [name for _code, name in changes(checkout)]
    if changed and not message.strip():
        text = (
            f"{few(changed)}: not committed in {checkout.path}, so it would not be deployed; commit or stash it, "
            "or let the deployment commit it with -e commit_message='...'"
        )
        raise CheckoutError("checkout", text)
    if changed:
        _may_commit(checkout, state)
    refspecs = to_push(checkout, state)
    if (changed or refspecs) and not checkout.push and not checkout.itself:
        raise CheckoutError("checkout.push", _unpushed(checkout, state))
    parts = [f"{state.branch or state.head[:12]} in {checkout.path}"]
    parts += [f"{len(changed)} to commit" if len(changed) > 1 else f"{changed[0]} to commit"] if changed else []
    parts += [f"to push to {checkout.remote}" if refspecs else "nothing to push"]
    return Outcome(", ".join(parts))


def _unpushed(checkout: Checkout, state: State) -> str:
    here = state.branch or state.head[:12]
    return f"is false, and {checkout.remote} does not have what {here} has in {checkout.path}; push it yourself first"


def _test(checkout: Checkout, check: bool) -> Outcome:
    if check:
        return Outcome(f"would run {', '.join(checkout.tests)} in {checkout.path}")
    for command in checkout.tests:
        # Not a pipe: a program that is left running would keep it open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command,
                shell=True,
                cwd=checkout.path,
                env=source.surroundings(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode != 0:
                output.seek(0)
                words = said(output.read().decode("utf-8", "replace"), TAIL)
                text = f"`{command}` fails in {checkout.path} (status {done.returncode}). Its last lines:\n{words}"
                raise CheckoutError("checkout.tests", text)
    count = len(checkout.tests)
    return Outcome("1 command passed" if count == 1 else f"{count} commands passed")


# Commit and push --------------------------------------------------------------------------------------


def _may_commit(checkout: Checkout, state: State) -> None:
    """Refuse a commit that would not be deployed, or that git would refuse."""
    if state.kind != "branch":
        what = f"{state.branch or 'no branch'} is checked out"
        if f"refs/heads/{state.wanted}" in state.refs:
            what += f", and {state.wanted} is deployed"
        elif checkout.version:
            what = f"version {state.wanted} names the commit before it"
        text = f"what is changed in {checkout.path} cannot be committed and deployed: {what}; commit it yourself first"
        raise CheckoutError("version" if checkout.version else "checkout", text)
    for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if checkout.git("var", name).returncode != 0:
            text = (
                f"git does not know who commits in {checkout.path}; tell it with "
                "`git config --global user.name 'Your Name'` and `git config --global user.email you@example.com`"
            )
            raise CheckoutError("checkout", text)


def _commit(checkout: Checkout, state: State, message: str, check: bool) -> Outcome:
    unfinished(checkout)
    files = [name for _code, name in changes(checkout)]
    if not files:
        return Outcome("there is nothing to commit")
    _may_commit(checkout, state)
    if check:
        return Outcome(f"would commit {few(files)}", changed=True)
    for words in (["add", "--all"], ["commit", "--quiet", f"--message={message}"]):
        done = checkout.git(*words, timeout=HOOK_TIMEOUT)
        if done.returncode != 0:
            text = f"`git {words[0]}` fails in {checkout.path}; nothing was committed. git says:\n"
            raise CheckoutError("checkout", text + said(done.stdout + done.stderr, TAIL))
    return Outcome(f"committed {few(files)} as {checkout.commit_of('HEAD')[:12]}", changed=True)


def _push(checkout: Checkout, state: State, check: bool) -> Outcome:
    refspecs = to_push(checkout, state)
    if refspecs and not checkout.push:
        raise CheckoutError("checkout.push", _unpushed(checkout, state))
    what = f"{' and '.join(one.partition(':')[2] for one in refspecs)} of {checkout.remote}"
    if refspecs and check:
        return Outcome(f"would push {state.head[:12]} to {what}", changed=True)
    if refspecs:
        done = checkout.git("push", checkout.remote, *refspecs, timeout=HOOK_TIMEOUT)
        if done.returncode != 0:
            raise CheckoutError("checkout", _rejected(checkout, state, done.stderr))
    _is_deployed(checkout, state)
    if not refspecs:
        return Outcome("there is nothing to push")
    return Outcome(f"pushed {state.head[:12]} to {what}", changed=True)


def _rejected(checkout: Checkout, state: State, words: str) -> str:
    lowered = words.lower()
    if any(one in lowered for one in ("non-fast-forward", "fetch first", "cannot lock ref")):
        advice = (
            "somebody has pushed meanwhile: "
            f"`git pull --rebase {checkout.remote} {state.branch}`, solve what conflicts, and run again"
        )
    elif "[remote rejected]" in lowered:
        advice = "the repository refuses it (a hook, a protected branch, a checked-out branch)"
    elif "[rejected]" in lowered:
        advice = "the repository has something else of that name"
    else:
        advice = f"make `git push {checkout.remote}` work in {checkout.path}; nobody can be asked for a password here"
    return f"cannot be pushed to {checkout.remote}: {advice}. git says:\n{said(words, TAIL)}"


def _is_deployed(checkout: Checkout, state: State) -> None:
    """See that the version is now the commit that is checked out: it was tested, and nothing else was."""
    repo = str(checkout.repo)
    try:
        found, _ref = source.resolve_commit(source.address_of(repo), checkout.version)
    except source.SourceError as error:
        raise CheckoutError(error.key, str(error)) from error
    if not state.head.startswith(found):
        text = (
            f"{state.wanted} of {source.without_password(repo)} is commit {found[:12]}, and {state.head[:12]} is "
            f"checked out in {checkout.path}: what would be deployed is not what was tested. Somebody pushed just now "
            f"(`git pull --rebase`, and run again), or {checkout.remote} is not the repository that is deployed "
            "(set checkout.remote or `repo`)"
        )
        raise CheckoutError("version", text)
