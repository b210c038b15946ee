# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A central repository and a working copy of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import checkout, deliver
from ansible_collections.webstack.django.plugins.plugin_utils.checkout import CheckoutError
from ansible_collections.webstack.django.plugins.plugin_utils.plan import validate
from test_source import alone, commit, git

__all__ = ["Work", "alone", "commit", "git", "hook", "work"]


class Work:
    """A central repository with one commit, and a working copy of it."""

    def __init__(self, base: Path) -> None:
        self.base, self.central, self.here = base, base / "central.git", base / "my work"
        commit(base / "first", {"manage.py": "1"})
        git(base, "clone", "-q", "--bare", "first", "central.git")
        git(base, "clone", "-q", "central.git", str(self.here))

    def given(self, **more: Any) -> dict[str, Any]:
        """The validated site."""
        own = {"path": str(self.here), **more.pop("checkout", {})}
        raw = {"name": "blog", "domains": ["blog.example.com"], "repo": str(self.central), **more, "checkout": own}
        (site,), errors = validate.sites([raw])
        assert [str(error) for error in errors] == []
        return site

    def run(self, step: str, message: str = "", *, check: bool = False, **more: Any) -> deliver.Outcome:
        found = checkout.find(self.given(**more))
        assert found is not None
        return deliver.run(step, found, message, check)

    def refused(self, step: str, message: str = "", **more: Any) -> str:
        with pytest.raises(CheckoutError) as caught:
            self.run(step, message, **more)
        return f"{caught.value.key}: {caught.value}".replace(str(self.here), "HERE").replace(str(self.base), "BASE")

    def there(self, name: str = "main") -> str:
        """What the central repository has."""
        return git(self.central, "rev-parse", "--verify", name)

    def colleague(self, files: dict[str, str]) -> str:
        """Somebody else pushes a commit."""
        other = self.base / "other"
        if not other.exists():
            git(self.base, "clone", "-q", "central.git", "other")
        git(other, "pull", "-q")
        made = commit(other, files)
        git(other, "push", "-q")
        return made


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def hook(where: Path, name: str, script: str) -> None:
    path = where / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
