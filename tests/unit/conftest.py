# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes ``ansible_collections.webstack.django`` importable from a checkout, however pytest was started."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))
# `ansible_collections` is a namespace package; drop one that was found elsewhere, for instance site-packages.
for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
    del sys.modules[name]
importlib.invalidate_caches()

# The same examples every time; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
