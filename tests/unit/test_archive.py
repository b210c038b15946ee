# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a tree travels, and how a server puts the tree together again."""

from __future__ import annotations

import base64
import compileall
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.webstack.django.plugins.action import release as release_action
from ansible_collections.webstack.django.plugins.module_utils.release import compose
from ansible_collections.webstack.django.plugins.module_utils.release.site import Site
from ansible_collections.webstack.django.plugins.plugin_utils import archive, source

ALL = ["bin/run", "data.bin", "link", "manage.py", "shop/__init__.py", "shop/näme.txt", "shop/urls.py"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    top = tmp_path / "project"
    (top / "shop").mkdir(parents=True)
    (top / "bin").mkdir()
    (top / "manage.py").write_text("1\n")
    (top / "shop/__init__.py").write_text("")
    (top / "shop/urls.py").write_text("urlpatterns = []\n")
    (top / "shop/näme.txt").write_text("ä\n")
    (top / "data.bin").write_bytes(os.urandom(100_000))
    (top / "bin/run").write_text("#!/bin/sh\n")
    (top / "bin/run").chmod(0o755)
    (top / "link").symlink_to("shop")
    return top


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site({"name": "shop", "root": str(tmp_path / "srv"), "release_id": "new"})


def archive_of(project: Path) -> Path:
    found = source.directory(str(project)).archive
    assert found
    return found


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def release(site: Site, name: str, packed: Path) -> Path:
    """A built release on the server."""
    code = Path(site.releases) / name / "code"
    code.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--file", archive.whole(packed)], cwd=code, check=True)
    (code.parent / "release.json").write_text(json.dumps({"id": name}))
    return code


def composed(site: Site, parcel: archive.Parcel, target: Path) -> Path:
    assert parcel.listed
    target.mkdir()
    with compose.compose(site, base64.b64encode(parcel.data).decode(), dict(parcel.listed)) as whole:
        subprocess.run(["tar", "--extract"], cwd=target, check=True, stdin=whole)
    return target


def test_the_first_tree_travels_as_a_whole(project: Path) -> None:
    parcel = archive.parcel(archive_of(project))
    assert (names(parcel.data), parcel.listed) == (ALL, None)


def test_what_differs_from_the_tree_before_travels(project: Path) -> None:
    archive_of(project)
    (project / "manage.py").write_text("2\n")
    (project / "bin/run").chmod(0o644)
    (project / "link").unlink()
    (project / "link").symlink_to("bin")
    (project / "shop/näme.txt").unlink()
    (project / "new.txt").write_text("new\n")
    second = archive_of(project)
    parcel = archive.parcel(second)
    assert names(parcel.data) == ["bin/run", "link", "manage.py", "new.txt"]
    assert parcel.listed and list(parcel.listed) == sorted({*ALL, "new.txt"} - {"shop/näme.txt"})
    assert parcel.size < 2000
    assert not second.exists()  # it was never needed


def test_a_mode_alone_is_another_tree(project: Path) -> None:
    first = archive_of(project)
    (project / "bin/run").chmod(0o644)
    assert archive_of(project) != first
    (project / "bin/run").chmod(0o700)
    assert archive_of(project) == first


def test_the_newest_of_the_other_trees_counts(project: Path) -> None:
    for text in ("1", "2", "3", "1"):
        (project / "manage.py").write_text(text)
        found = archive_of(project)
    # The server has the third, and goes back to the first.
    (project / "data.bin").write_text("other")
    found = archive_of(project)
    assert names(archive.parcel(found).data) == ["data.bin"]


def test_the_oldest_trees_leave_the_cache(project: Path) -> None:
    found = []
    for number in range(12):
        (project / "manage.py").write_text(f"{number}\n")
        found.append(archive_of(project))
        archive.whole(found[-1])
        os.utime(found[-1].with_name(found[-1].name[:40]), (number, number))
    left = sorted(path.name[:40] for path in found[0].parent.glob("*.tar.gz"))
    assert left == sorted(path.name[:40] for path in found[2:])
    assert [archive.listing(path) is None for path in found] == [True, True] + [False] * 10


def test_an_archive_of_somebody_else(tmp_path: Path, project: Path) -> None:
    given = tmp_path / "code.tar.gz"
    given.write_bytes(archive.whole(archive_of(project)).read_bytes())
    assert archive.listing(given) is None
    assert archive.parcel(given) == archive.Parcel(given.read_bytes(), None)
    with pytest.raises(FileNotFoundError):
        archive.whole(tmp_path / "none.tar.gz")


@pytest.mark.parametrize("given", [None, "", "/nowhere/code.tar.gz"])
def test_a_site_without_its_archive_is_told(given: str | None) -> None:
    words = rf"site blog: source\.archive: there is no file {given!r} on the controller"
    with pytest.raises(AnsibleActionFail, match=words):
        release_action._archive({"name": "blog", "source": {"kind": "path", "archive": given}})


def test_migrations_are_known_without_an_archive(tmp_path: Path, project: Path) -> None:
    (project / "shop/migrations").mkdir()
    (project / "shop/migrations/0001_initial.py").write_text("")
    found = archive_of(project)
    assert release_action._migrations(found) == ["shop/migrations/0001_initial.py"]
    assert not found.exists()
    given = archive.whole(found).rename(tmp_path / "code.tar.gz")
    assert release_action._migrations(given) == ["shop/migrations/0001_initial.py"]


def test_a_server_puts_the_tree_together(tmp_path: Path, project: Path, site: Site) -> None:
    code = release(site, "old", archive_of(project))
    assert compileall.compile_dir(code, quiet=1)
    (project / "manage.py").write_text("2\n")
    (project / "bin/run").chmod(0o644)
    second = archive_of(project)
    found = composed(site, archive.parcel(second), tmp_path / "new")
    listed = [str(path.relative_to(found)) for path in found.rglob("*") if not path.is_dir() or path.is_symlink()]
    code_files = [name for name in listed if "__pycache__" not in name]
    assert archive.describe(found, code_files) == archive.listing(second)
    # Byte code of what is the same; none of the module that is another one now.
    assert sorted(name.split(".")[0] for name in listed if name.endswith(".pyc")) == [
        "shop/__pycache__/__init__",
        "shop/__pycache__/urls",
    ]
    before = {path: path.stat().st_mtime_ns for path in found.rglob("*.pyc")}
    assert compileall.compile_dir(found, quiet=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # valid as it was


@pytest.mark.parametrize("damage", ["changed", "gone", "link", "pipe"])
def test_a_file_that_was_altered_on_the_server_is_no_source(
    project: Path, tmp_path: Path, site: Site, damage: str
) -> None:
    path = release(site, "old", archive_of(project)) / "shop/urls.py"
    content = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(content.replace(b"=", b"+"))
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "pipe":
        os.mkfifo(path)
    (project / "manage.py").write_text("2\n")
    parcel = archive.parcel(archive_of(project))
    with pytest.raises(compose.Incomplete) as caught:
        composed(site, parcel, tmp_path / "new")
    assert caught.value.sites == ["shop"]


def test_another_release_may_have_it(project: Path, tmp_path: Path, site: Site) -> None:
    first = archive_of(project)
    for name in ("a", "b"):
        (release(site, name, first) / "shop/urls.py").write_text(name)
    (Path(site.releases) / "a/code/shop/urls.py").write_text("urlpatterns = []\n")
    (project / "manage.py").write_text("2\n")
    found = composed(site, archive.parcel(archive_of(project)), tmp_path / "new")
    assert (found / "shop/urls.py").read_text() == "urlpatterns = []\n"


def test_a_server_without_any_release(project: Path, tmp_path: Path, site: Site) -> None:
    archive_of(project)
    (project / "manage.py").write_text("2\n")
    with pytest.raises(compose.Incomplete):
        composed(site, archive.parcel(archive_of(project)), tmp_path / "new")


def committed(project: Path) -> source.Source:
    """Commit all of it, and fetch it."""
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    if not (project / ".git").exists():
        subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=x"], check=True)
    return source.git(f"file://{project}", "main")


def test_a_tree_is_made_from_the_one_before(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = committed(project).tree
    (project / "bin/run").chmod(0o644)
    (project / "link").unlink()
    (project / "link").mkdir()
    (project / "link/file").write_text("x")
    (project / "shop/urls.py").rename(project / "shop/*.py")
    (project / "shop/näme.txt").unlink()
    found = committed(project)
    assert found.archive and found.tree and first
    assert (first / "data.bin").samefile(found.tree / "data.bin")
    made = archive.listing(found.archive)
    assert made and list(made) == ["bin/run", "data.bin", "link/file", "manage.py", "shop/*.py", "shop/__init__.py"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    alone = source.git(f"file://{project}", "main")
    assert alone.archive != found.archive
    assert alone.archive and archive.listing(alone.archive) == made


def test_attributes_make_a_whole_tree_anew(project: Path) -> None:
    first = committed(project).tree
    (project / ".gitattributes").write_text("*.bin -text\n")
    found = committed(project).tree
    assert first and found and not (first / "data.bin").samefile(found / "data.bin")


def test_what_was_fetched_is_not_fetched_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Packs stay as they came, so that their size tells.
    for name, value in (("COUNT", "1"), ("KEY_0", "fetch.unpackLimit"), ("VALUE_0", "1")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    for text in ("1", "2", "3"):
        (project / "manage.py").write_text(text)
        found = committed(project)
        assert found.archive and found.tree
        assert (found.tree / "manage.py").read_text() == text
    objects = found.archive.parent / "repo.git/objects"
    assert 100_000 < sum(path.stat().st_size for path in objects.rglob("*")) < 200_000
    assert names(archive.parcel(found.archive).data) == ["manage.py"]
