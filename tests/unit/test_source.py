# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code of a site: real git repositories and directories."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import archive, source
from ansible_collections.webstack.django.plugins.plugin_utils.source import SourceError


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache, a home and a configuration of git of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_ASKPASS", raising=False)
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    (tmp_path / "gitconfig").write_text(
        '[user]\nname = T\nemail = t@example.com\n[init]\ndefaultBranch = main\n[protocol "file"]\nallow = always\n'
    )


def git(where: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=where, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(where: Path, files: dict[str, str], message: str = "x") -> str:
    where.mkdir(exist_ok=True)
    if not (where / ".git").exists():
        git(where, "init", "-q")
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    git(where, "add", "-A", "-f")
    git(where, "commit", "-q", "-m", message)
    return git(where, "rev-parse", "HEAD")


class Repository:
    """Three commits: the first with a tag, the second with an annotated one, the third on a branch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = commit(path, {"manage.py": "1"})
        git(path, "tag", "v1.0")
        self.second = commit(path, {"manage.py": "2"})
        git(path, "tag", "-a", "v2.0", "-m", "two")
        git(path, "checkout", "-q", "-b", "feature/x")
        self.third = commit(path, {"manage.py": "3"})
        git(path, "checkout", "-q", "main")


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def content(found: source.Source, name: str = "manage.py") -> str:
    """A file in the archive, which is the same in the tree."""
    assert found.archive is not None and found.tree is not None
    with tarfile.open(archive.whole(found.archive)) as tar:
        member = tar.extractfile(name)
        assert member is not None
        text = member.read().decode()
    assert (found.tree / name).read_text() == text
    return text


def names(found: source.Source) -> list[str]:
    assert found.archive is not None
    with tarfile.open(archive.whole(found.archive)) as tar:
        return tar.getnames()


# Versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [(None, "2"), ("main", "2"), ("feature/x", "3"), ("refs/heads/feature/x", "3"), ("v1.0", "1"), ("v2.0", "2"), ("HEAD", "2")],
)  # fmt: skip
def test_branches_and_tags(repo: Repository, version: str | None, expected: str) -> None:
    for address in (str(repo.path), f"file://{repo.path}"):
        found = source.git(address, version)
        assert (found.kind, content(found)) == ("git", expected)
        assert found.commit == {"1": repo.first, "2": repo.second, "3": repo.third}[expected]


def test_commits_in_full_short_and_in_capitals(repo: Repository) -> None:
    for given in (repo.first, repo.first[:8], repo.first[:7].upper(), repo.third, repo.third[:10]):
        found = source.git(f"file://{repo.path}", given)
        assert found.commit == (repo.first if given.lower() == repo.first[: len(given)] else repo.third)


def test_an_older_commit_after_a_shallow_fetch(repo: Repository) -> None:
    address = f"file://{repo.path}"
    assert content(source.git(address, "main")) == "2"
    assert content(source.git(address, repo.first[:8])) == "1"


def test_a_branch_that_moves(repo: Repository) -> None:
    assert content(source.git(str(repo.path), "main")) == "2"
    moved = commit(repo.path, {"manage.py": "4"})
    found = source.git(str(repo.path), "main")
    assert (found.commit, content(found)) == (moved, "4")


def test_a_tag_wins_over_a_branch(repo: Repository) -> None:
    git(repo.path, "branch", "v1.0", "feature/x")
    assert content(source.git(str(repo.path), "v1.0")) == "1"


def refused(repo: object, version: str | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        source.git(str(repo), version)
    return caught.value


def test_versions_that_are_not_there(repo: Repository) -> None:
    error = refused(repo.path, "mani")
    assert error.key == "version"
    assert str(error) == f"'mani' is no branch, tag or commit of {str(repo.path)!r}; there is main"
    assert "there is v2.0" in str(refused(repo.path, "2.0"))
    assert "'' is no branch" in str(refused(repo.path, ""))
    for missing in ("deadbeef", "0" * 40):
        error = refused(repo.path, missing)
        assert (error.key, f"{missing!r} is no branch, tag or commit" in str(error)) == ("version", True)


# Repositories -----------------------------------------------------------------------------------------


def test_repositories_that_are_not_there(tmp_path: Path) -> None:
    for address in (str(tmp_path / "nothing"), f"file://{tmp_path}/nothing"):
        error = refused(address)
        assert error.key == "repo"
        assert "cannot be read: there is no such repository; check the address. git says: fatal:" in str(error)
    (tmp_path / "plain").mkdir()
    assert "this directory is no git repository; give a plain directory as `path`" in str(refused(tmp_path / "plain"))
    commit(tmp_path / "broken", {"x": ""})
    for path in (tmp_path / "broken/.git/objects").glob("??/*"):
        path.unlink()
    assert "is no git repository" not in str(refused(tmp_path / "broken"))
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "-q")
    assert "is empty; push a commit first" in str(refused(tmp_path / "empty"))


def test_an_address_that_does_not_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(f"http://127.0.0.1:{port}/x.git")
    assert error.key == "repo"
    assert "check the address and the network, and that `git ls-remote` works for you here" in str(error)


@pytest.fixture
def private() -> Iterator[str]:
    """A server that asks everybody for a password."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}/team/shop.git"
    server.shutdown()
    server.server_close()


def test_nobody_is_asked_for_a_password(private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "window"
    program.write_text(f"#!/bin/sh\ntouch {asked}\necho secret\n")
    program.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("DISPLAY", ":0")
    error = refused(f"http://{private}")
    assert error.key == "repo"
    assert "it may be private or misspelt" in str(error)
    assert not asked.exists()


def test_a_password_in_an_address_is_not_shown(private: str) -> None:
    error = refused(f"http://me:hunter2@{private}")
    assert "hunter2" not in str(error)
    assert "it may be private or misspelt" in str(error)
    assert f"'http://{private}' cannot be read" in str(error)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ssh: connect to host h port 22: Connection refused", "check the address and the network"),
        ("git@h: Permission denied (publickey).", "it may be private or misspelt"),
        ("No ED25519 host key is known for h.\nHost key verification failed.", "connect to it once with ssh"),
    ],
)
def test_what_ssh_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, expected: str) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{words}' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(program))
    error = refused("git@h:team/shop.git")
    assert error.key == "repo"
    assert expected in str(error)
    assert str(error).endswith(f"git says: {words.splitlines()[-1]}")


def test_a_repository_around_the_run_is_not_meant(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent/index")
    assert content(source.git(str(repo.path), "v1.0")) == "1"
    assert content(source.directory(str(repo.path))) == "2"


# What is in the archive -------------------------------------------------------------------------------


def test_a_checkout_is_complete(tmp_path: Path) -> None:
    where = tmp_path / "repo"
    files = {
        ".gitattributes": "docs export-ignore\n",
        "docs/x": "",
        "venv/y": "",
        "db.sqlite3": "",
        "node_modules/z.js": "",
    }
    commit(where, {"manage.py": "", **files})
    assert names(source.git(str(where), None)) == [
        ".gitattributes",
        "db.sqlite3",
        "docs/x",
        "manage.py",
        "node_modules/z.js",
        "venv/y",
    ]


def test_links_and_modes(tmp_path: Path) -> None:
    where = tmp_path / "repo"
    where.mkdir()
    (where / "run").write_text("#!/bin/sh\n")
    (where / "run").chmod(0o700)
    (where / "link").symlink_to("run")
    (where / "data").mkdir()
    (where / "data/x").write_text("")
    (where / "directory").symlink_to("data")
    commit(where, {})
    for found in (source.git(str(where), None), source.directory(str(where))):
        assert found.archive is not None
        with tarfile.open(archive.whole(found.archive)) as tar:
            shown = {one.name: (one.mode, one.linkname, one.uid, one.uname, one.mtime) for one in tar}
        assert shown["run"] == (0o755, "", 0, "root", 0)
        assert shown["data/x"] == (0o644, "", 0, "root", 0)
        assert shown["link"][1] == "run"
        assert shown["directory"][1] == "data"


def test_submodules(tmp_path: Path) -> None:
    commit(tmp_path / "theme", {"theme.css": "a"})
    commit(tmp_path / "shop", {"manage.py": ""})
    git(tmp_path / "shop", "submodule", "--quiet", "add", "../theme", "static/theme")
    commit(tmp_path / "shop", {})
    expected = [".gitmodules", "manage.py", "static/theme/theme.css"]
    assert names(source.git(str(tmp_path / "shop"), None)) == expected
    assert names(source.directory(str(tmp_path / "shop"))) == expected


def test_large_files_that_are_elsewhere(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n"
    commit(tmp_path / "shop", {".gitattributes": "*.bin filter=lfs diff=lfs -text\n", "model.bin": pointer})
    for get, key in (
        (lambda: source.git(str(tmp_path / "shop"), None), "repo"),
        (lambda: source.directory(str(tmp_path / "shop")), "repo"),
    ):
        with pytest.raises(SourceError, match=r"model\.bin is kept in Git LFS, which is not fetched") as caught:
            get()
        assert caught.value.key == key
    (tmp_path / "shop/model.bin").write_text("the file itself")
    assert content(source.directory(str(tmp_path / "shop")), "model.bin") == "the file itself"


# Directories ------------------------------------------------------------------------------------------


def test_what_git_ignores_is_left_out(tmp_path: Path) -> None:
    where = tmp_path / "shop"
    commit(where, {".gitignore": "*.log\n/media/\n", "manage.py": "1", "tracked.log": "x", "gone.py": ""})
    (where / "gone.py").unlink()
    for name in (
        "new.py",
        "x.log",
        "media/a.jpg",
        ".venv/bin/python",
        "db.sqlite3",
        "a/node_modules/b.js",
        "n\u00f6\u20ac.txt",
    ):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text("")
    assert names(source.directory(str(where))) == [
        ".gitignore",
        "manage.py",
        "new.py",
        "n\u00f6\u20ac.txt",
        "tracked.log",
    ]


def test_a_directory_without_git(tmp_path: Path) -> None:
    where = tmp_path / "shop"
    for name in ("manage.py", "a/b.py", "__pycache__/x.pyc", ".venv/y", "venv/z", "db.sqlite3", ".git/config"):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text("")
    assert names(source.directory(str(where))) == ["a/b.py", "manage.py"]


def test_a_part_of_a_repository_and_one_that_it_ignores(tmp_path: Path) -> None:
    commit(tmp_path / "all", {".gitignore": "scratch\n", "web/manage.py": "", "other/x": ""})
    assert names(source.directory(str(tmp_path / "all/web"))) == ["manage.py"]
    (tmp_path / "all/scratch").mkdir()
    (tmp_path / "all/scratch/manage.py").write_text("")
    assert names(source.directory(str(tmp_path / "all/scratch"))) == ["manage.py"]


def test_the_hash_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    where = tmp_path / "shop"
    where.mkdir()
    (where / "manage.py").write_text("1")
    first = source.directory(str(where))
    os.utime(where / "manage.py", (1, 1))
    (where / "manage.py").chmod(0o600)
    assert source.directory(str(where)) == first
    (where / "manage.py").write_text("2")
    second = source.directory(str(where))
    assert second.commit != first.commit
    assert len(second.commit) == 40
    assert (content(first), content(second)) == ("1", "2")


def test_odd_files(tmp_path: Path) -> None:
    where = tmp_path / "shop"
    where.mkdir()
    (where / "manage.py").write_text("same")
    os.link(where / "manage.py", where / "second.py")
    os.mkfifo(where / "pipe")
    (where / "outside").symlink_to("/etc/hostname")
    (where / "dangling").symlink_to("nowhere")
    (where / os.fsdecode(b"a\xe9.txt")).write_text("")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(where / "s"))
        found = source.directory(str(where))
    assert content(found, "second.py") == content(found) == "same"
    assert names(found) == [os.fsdecode(b"a\xe9.txt"), "dangling", "manage.py", "outside", "second.py"]


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    cases = {
        "nothing": "is no directory on this machine; give the directory of the project",
        "file": "is a file, not a directory; give the directory of the project",
        "empty": "has no files",
    }
    for name, words in cases.items():
        with pytest.raises(SourceError) as caught:
            source.directory(str(tmp_path / name))
        assert caught.value.key == "path"
        assert f"{str(tmp_path / name)!r} {words}" in str(caught.value)


def test_a_home_directory(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/manage.py").write_text("x")
    assert content(source.directory("~/shop")) == "x"
    commit(tmp_path / "shop", {})
    assert content(source.git("~/shop", None)) == "x"
