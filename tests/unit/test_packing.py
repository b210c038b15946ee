# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module is packed beside other work, and nothing of it can hold that work up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.plugin_utils import packing


class Action:
    """An action plugin as far as packing needs it."""

    def __init__(self, pack: Callable[[str, dict[str, Any]], None]) -> None:
        self.pack = pack

    def _configure_module(self, module: str, args: dict[str, Any], variables: dict[str, Any]) -> None:
        assert args == {}
        self.pack(module, variables)


def test_it_is_packed_in_another_process_that_ends_with_the_block(tmp_path: Path) -> None:
    told = tmp_path / "told"

    def pack(module: str, variables: dict[str, Any]) -> None:
        time.sleep(0.1)
        told.write_text(f"{module} {variables['a']} {os.getpid()}")

    with packing.beside(Action(pack), "x.y.z", {"a": 1}):
        assert not told.exists()
    module, value, pid = told.read_text().split()
    assert (module, value) == ("x.y.z", "1")
    with pytest.raises(ChildProcessError):
        os.waitpid(int(pid), 0)  # it was waited for


def _interrupt(_module: str, _variables: dict[str, Any]) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("pack", [_interrupt, lambda module, _variables: {}[module]])
def test_what_goes_wrong_there_is_no_matter(pack: Callable[[str, dict[str, Any]], None]) -> None:
    with packing.beside(Action(pack), "x.y.z", {}):
        pass


def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PATIENCE", 0.2)
    began = time.monotonic()
    with packing.beside(Action(lambda _module, _variables: time.sleep(60)), "x.y.z", {}):
        pass
    assert time.monotonic() - began < 10


def test_an_error_of_the_work_comes_through() -> None:
    with pytest.raises(ValueError, match="mine"), packing.beside(Action(lambda _m, _v: None), "x.y.z", {}):
        raise ValueError("mine")
