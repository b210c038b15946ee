# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_json(report: Mapping[str, Any]) -> str:
    """For programs."""
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def write(path: str, words: str, mode: int | None = None) -> None:
    """Write a file in one step: who reads it while this runs gets the old or the new one.

    ``mode``: of the file; else the umask decides. Until it is whole its name begins with a dot and ends in a number, so that
    nothing takes it for a report.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.write_text(words, encoding="utf-8")
        if mode is not None:
            part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
