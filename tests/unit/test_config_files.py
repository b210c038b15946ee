# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils import config_files
from trees import build, declared


def reasons(items: list[Any], prune: list[dict[str, Any]] | None = None) -> dict[str, list[str]]:
    return {Path(change.item.path).name: change.reasons for change in config_files.plan(items, prune or [])}


def test_what_is_as_declared_is_left_alone(tmp_path: Path) -> None:
    build(tmp_path / "t", {"f": ("file", (b"new\n", 0o644)), "d": ("directory", 0o755), "l": ("link", "f")})
    root = tmp_path / "t"
    items = [declared(root / "f"), declared(root / "d", "directory"), declared(root / "l", "link", target="f")]
    assert reasons([*items, declared(root / "no", "absent")]) == {}


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        ("file", {"content": b"other"}, ["content"]),
        ("file", {"mode": 0o600}, ["mode 0600"]),
        ("file", {"mode": 0o4644}, ["mode 4644"]),
        ("file", {"content": b"x", "mode": 0o600}, ["content", "mode 0600"]),
        ("file", {"uid": 4242}, ["owner 4242"]),
        ("file", {"gid": 4242}, ["group 4242"]),
        ("file", {"uid": None}, ["owner not made yet"]),
        ("absent", {}, ["removed"]),
        ("directory", {}, ["directory"]),
        ("link", {"target": "x"}, ["link"]),
    ],
)
def test_every_difference_is_found(tmp_path: Path, state: str, more: dict[str, Any], expected: list[str]) -> None:
    build(tmp_path / "t", {"f": ("file", (b"new\n", 0o644))})
    assert reasons([declared(tmp_path / "t" / "f", state, **more)]) == {"f": expected}


def test_a_link_elsewhere_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("a")
    assert reasons([declared(tmp_path / "l", "link", target="b")]) == {"l": ["link to b"]}


def test_access_lists_are_a_difference(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"new\n")
    (tmp_path / "f").chmod(0o644)
    try:
        done = subprocess.run(["setfacl", "-m", "u:4242:r", str(tmp_path / "f")], check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("setfacl is not installed")
    if done.returncode:
        pytest.skip("no access lists on this file system")
    assert reasons([declared(tmp_path / "f")]) == {"f": ["no access control list"]}


def test_on_a_bare_host_everything_is_to_be_created(tmp_path: Path) -> None:
    items = [declared(tmp_path / "no" / "where" / "f", uid=None), declared(tmp_path / "no" / "where", "directory")]
    assert reasons(items, [{"path": str(tmp_path / "no" / "where")}]) == {"f": ["created"], "where": ["created"]}


def test_contradictions_are_refused(tmp_path: Path) -> None:
    a = tmp_path / "a"
    with pytest.raises(config_files.ConfigError, match="declared twice"):
        config_files.plan([declared(a), declared(Path(f"{tmp_path}//./a"), "absent")], [])
    with pytest.raises(config_files.ConfigError, match=r"declared below .*a, which is declared as absent"):
        config_files.plan([declared(a, "absent"), declared(a / "b" / "c")], [])
    assert reasons([declared(a, "absent"), declared(a / "b", "absent")]) == {}


def test_nothing_of_value_is_replaced_by_something_else(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "data").touch()
    (tmp_path / "l").symlink_to("d")
    with pytest.raises(config_files.ConfigError, match="a directory with something in it, and shall be a file"):
        config_files.plan([declared(tmp_path / "d")], [])
    with pytest.raises(config_files.ConfigError, match=r"link to the directory .*/d, and shall be a directory"):
        config_files.plan([declared(tmp_path / "l", "directory")], [])


# Prune -----------------------------------------------------------------------------------------------


@pytest.fixture
def owned(tmp_path: Path) -> Path:
    root = tmp_path / "conf.d"
    things: dict[str, tuple[str, Any]] = {
        name: ("file", (text, 0o644))
        for name, text in {
            "blog.conf": b"new\n",
            "old.conf": b"# managed by us\n",
            "hand.conf": b"\n" * 20 + b"# managed by us\n",
            "README": b"",
            ".hidden.conf": b"",
        }.items()
    }
    things.update(
        {"link.conf": ("link", "/etc/passwd"), "dir.conf": ("directory", 0o755), "dir.conf/x": ("file", (b"", 0o644))}
    )
    build(root, things)
    os.mkfifo(root / "pipe.conf")
    return root


def pruned(owned: Path, **rule: Any) -> list[str]:
    changes = config_files.plan([declared(owned / "blog.conf")], [{"path": str(owned), **rule}])
    assert all(change.item.state == "absent" for change in changes)
    return [Path(change.item.path).name for change in changes]


def test_files_and_links_that_nobody_declared_are_removed(owned: Path) -> None:
    assert pruned(owned) == [".hidden.conf", "README", "hand.conf", "link.conf", "old.conf"]


def test_only_what_matches_the_patterns(owned: Path) -> None:
    assert pruned(owned, patterns=["*.conf"]) == [".hidden.conf", "hand.conf", "link.conf", "old.conf"]
    assert pruned(owned, patterns=["o*.conf", "READ*"]) == ["README", "old.conf"]


def test_what_is_to_be_kept_is_kept(owned: Path) -> None:
    assert pruned(owned, keep=["README", "link.conf", "hand.conf", ".hidden.conf"]) == ["old.conf"]


def test_with_a_marker_only_what_has_it_in_its_first_lines(owned: Path) -> None:
    assert pruned(owned, marker="managed by us") == ["old.conf"]


def test_an_owned_directory_is_never_a_link(owned: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(owned)
    assert config_files.plan([], [{"path": str(tmp_path / "link")}]) == []


def test_a_path_may_be_pruned_twice(owned: Path) -> None:
    rule = {"path": str(owned), "patterns": ["old.conf"]}
    assert len(config_files.plan([], [rule, rule])) == 1


# Diff ------------------------------------------------------------------------------------------------


def shown(item: Any) -> dict[str, str]:
    (change,) = config_files.plan([item], [])
    return change.as_diff()


def test_a_diff_shows_old_and_new_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old\n")
    (tmp_path / "f").chmod(0o644)
    path = str(tmp_path / "f")
    assert shown(declared(tmp_path / "f")) == {
        "before_header": path,
        "after_header": f"{path} (content)",
        "before": "old\n",
        "after": "new\n",
    }


def test_a_diff_shows_mode_and_kind(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("new\n")
    (tmp_path / "f").chmod(0o600)
    diff = shown(declared(tmp_path / "f"))
    assert (diff["before"], diff["after"]) == ("mode 0600\n", "mode 0644\n")
    diff = shown(declared(tmp_path / "f", "absent"))
    assert (diff["before"], diff["after"]) == ("present\n", "removed\n")


def test_secrets_are_never_in_a_diff(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hunter1\n")
    for name in ("f", "g"):
        text = str(shown(declared(tmp_path / name, content=b"hunter2\n", diff=False)))
        assert "hunter" not in text
        assert "not shown" in text


def test_the_content_of_what_is_removed_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hunter1\n")
    assert "hunter" not in str(shown(declared(tmp_path / "f", "absent")))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"x" * 300_000])
def test_what_cannot_be_shown_is_said(tmp_path: Path, content: bytes) -> None:
    diff = shown(declared(tmp_path / "f", content=content))
    assert diff["before"] == ""
    assert diff["after"] in ("content is binary\n", "content is too long to be shown\n")
