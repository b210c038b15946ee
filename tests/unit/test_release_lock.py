# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time deploys a site, and what it did stays to be read."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.release import lock
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site
from ansible_collections.webstack.django.plugins.modules.release_apply import Outcome, Steps
from ansible_collections.webstack.django.plugins.plugin_utils import run


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setattr(lock, "LOG", str(tmp_path / "log"))
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "fchown", lambda _fd, _uid, _gid: None)


def site(tmp_path: Path) -> Site:
    (tmp_path / "current").unlink(missing_ok=True)
    (tmp_path / "current").symlink_to("releases/old")
    return Site({"name": "blog", "root": str(tmp_path), "release_id": "new"})


def who(name: str, over: str = "") -> dict[str, Any]:
    return {"id": name, "who": f"{name}@laptop", "what": "deploy", "over": over}


@contextlib.contextmanager
def at_work(tmp_path: Path) -> Iterator[None]:
    """As a step of a run has the site."""
    with (tmp_path / "run/webstack-blog.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "log/blog-deploys.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_another_run_is_told_who_it_is(tmp_path: Path) -> None:
    one = site(tmp_path)
    held = lock.take(one, who("ada"), "fetch")
    assert (held["from"], held["to"], held["what"]) == ("old", "new", "deploy")
    assert lock.take(one, who("ada"), "prepare")["since"] == held["since"]
    with pytest.raises(
        lock.Held, match=r"ada@laptop has been at it since 20\d\d-.*; the last step was prepare"
    ) as caught:
        lock.take(one, who("bob"), "accounts")
    assert caught.value.lock["id"] == "ada"
    lock.free(one, who("bob"))  # not his
    with pytest.raises(lock.Held):
        lock.take(one, who("bob"), "accounts")
    lock.free(one, who("ada"))
    assert lock.take(one, who("bob"), "accounts")["id"] == "bob"
    assert lines(tmp_path) == []


@pytest.mark.parametrize("over", ["*", "ada"])
def test_a_site_is_taken_from_a_dead_run_and_that_is_noted(tmp_path: Path, over: str) -> None:
    one = site(tmp_path)
    lock.take(one, who("ada"), "build")
    with pytest.raises(lock.Held):
        lock.take(one, who("bob", "eve"), "accounts")
    assert lock.take(one, who("bob", over), "accounts")["id"] == "bob"
    (line,) = lines(tmp_path)
    assert (line["who"], line["result"], line["step"]) == ("ada@laptop", "interrupted", "build")


def test_a_run_that_does_nothing_any_more_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = site(tmp_path)
    lock.take(one, who("ada"), "build")
    now = lock.time.time()
    monkeypatch.setattr(lock.time, "time", lambda: now + 599)
    with pytest.raises(lock.Held):
        lock.take(one, who("bob"), "accounts")
    monkeypatch.setattr(lock.time, "time", lambda: now + 601)
    with at_work(tmp_path), pytest.raises(lock.Held):  # a build may take longer
        lock.take(one, who("bob"), "accounts")
    assert lock.take(one, who("bob"), "accounts")["id"] == "bob"


def test_a_release_that_a_run_is_at_is_not_judged(tmp_path: Path) -> None:
    """It has no manifest, or not yet all that is in one."""
    release = tmp_path / "releases/new"
    (release / "code").mkdir(parents=True)
    (release / "release.json").write_text('{"id": "new"}')
    given = {"name": "blog", "root": str(tmp_path), "release_id": "new", "state": "present"}
    steps = Steps({"sites": [given], "overlay": {}}, check_mode=False)
    with at_work(tmp_path):
        steps._look(Outcome())
        assert not (release / ".manifest.json").exists()
    steps._look(Outcome())
    assert (release / ".manifest.json").exists()


def test_half_a_lock_is_none(tmp_path: Path) -> None:
    (tmp_path / "run/webstack-deploy-blog.json").write_text('{"id": "a')
    assert lock.take(site(tmp_path), who("bob"), "accounts")["id"] == "bob"


def test_the_log_has_no_secret_and_no_second_line(tmp_path: Path) -> None:
    one = Site({"name": "blog", "root": str(tmp_path), "release_id": "new", "secret_key": "not-to-be-seen"})
    lock.audit(one, lock.take(one, who("ada"), "prepare"), "failed", "it said\n  not-to-be-seen " + "x" * 600)
    (line,) = lines(tmp_path)
    assert line["message"].startswith("it said ******** xxx")
    assert len(line["message"]) == 500
    assert (line["from"], line["to"], line["step"]) == (None, "new", "prepare")
    assert (tmp_path / "log/blog-deploys.jsonl").stat().st_mode & 0o777 == 0o640


def test_a_run_of_this_machine_is_known_to_have_ended() -> None:
    """A worker's parent is the run."""
    code = "import json; from ansible_collections.webstack.django.plugins.plugin_utils import run\n"
    code += "print(json.dumps(run.this_run('deploy')))"
    # The shell stays, since something follows.
    argv = ["sh", "-c", f'{sys.executable} -c "$1"; exit 0', "sh", code]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    dead = json.loads(done.stdout)
    assert run.ended(dead)
    assert not run.ended(run.this_run("deploy"))
    assert not run.ended({**dead, "id": dead["id"].replace(":", "x:", 1)})  # another machine
    assert not run.ended({})
