# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check mode is exact: any tree, any declaration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.webstack.django.plugins.module_utils import config_files
from ansible_collections.webstack.django.plugins.module_utils import config_files_transaction as transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import build, declared, nothing_left, photograph

NAMES = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"]
MODES = st.sampled_from([0o600, 0o640, 0o644, 0o755])
THING = st.one_of(
    st.tuples(st.just("file"), st.tuples(st.sampled_from([b"", b"one\n", b"two\n"]), MODES)),
    st.tuples(st.just("directory"), st.sampled_from([0o700, 0o755])),
    st.tuples(st.just("link"), st.sampled_from(["a", "nowhere"])),
)
TREE = st.dictionaries(st.sampled_from(NAMES), THING, max_size=6)


def possible(tree: dict[str, Any]) -> bool:
    """Nothing lies below a file or link."""
    return all(
        tree.get(name.rpartition("/")[0], ("directory",))[0] == "directory"
        and tree.get(name.split("/")[0], ("directory",))[0] == "directory"
        for name in tree
        if "/" in name
    )


def as_declared(root: Path, tree: dict[str, Any], removed: list[str]) -> list[Any]:
    items = []
    for name, (kind, value) in tree.items():
        if kind == "file":
            items.append(declared(root / name, content=value[0], mode=value[1]))
        elif kind == "directory":
            items.append(declared(root / name, "directory", directory_mode=value))
        else:
            items.append(declared(root / name, "link", target=value))
    return items + [declared(root / name, "absent") for name in removed if name not in tree]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    TREE.filter(possible),
    TREE.filter(possible),
    st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
    st.booleans(),
    st.booleans(),
)
def test_check_predicts_exactly_what_apply_does(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], removed: list[str], prune: bool, keep: bool
) -> None:
    root = tmp_path / "root"
    build(root, old)
    before = photograph(root)
    items = as_declared(root, new, removed)
    rules = [{"path": str(root), "patterns": ["a", "b"]}] if prune else []
    work = transaction.Transaction(str(tmp_path / "state"))
    work.open()
    try:
        predicted = config_files.plan(items, rules)
    except config_files.ConfigError:
        assert photograph(root) == before
        work.close()
        return
    assert photograph(root) == before  # the prediction changes nothing
    try:
        work.apply(predicted)
    except config_files.ConfigError:
        assert photograph(root) == before
        work.close()
        return
    if not keep:
        work.rollback()
        assert photograph(root) == before
        work.close()
        return
    work.commit()
    work.close()
    after, old_state = photograph(root, times=False), {k: (*v[:5], 0) for k, v in before.items()}
    differing = {name for name in {*after, *old_state} if after.get(name) != old_state.get(name)}
    said = {str(Path(change.item.path).relative_to(root)) for change in predicted}
    # What is said changes; what changes is said, or lies in a directory that was removed.
    assert said <= differing
    assert all(any(name == one or name.startswith(one + "/") for one in said) for name in differing)
    assert config_files.plan(items, rules) == []
    assert nothing_left(tmp_path)
