# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask the kernel by a shell first; Python, which takes longer to start, is needed only where something is to be written."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.module_utils.sysctl import (
    LOCKED,
    MISSING,
    ROOT,
    Outcome,
    normal,
    path_of,
    result,
    warnings,
)
from ansible_collections.webstack.django.plugins.plugin_utils.ask_first import ask_first

# Ends with 1 where something is to be written. Opening changes nothing.
_ASK = """\
words() { set -f; set -- $1; value=$*; }
while [ $# -gt 0 ]; do
  key=$1 file=$2 wanted=$3
  shift 3
  if [ ! -e "$file" ]; then echo "missing $key"; continue; fi
  value=$(cat "$file" 2>/dev/null) || exit 1 # (read takes single bytes, of which the kernel gives one)
  words "$value"
  [ "$value" != "$wanted" ] || continue
  if why=$( (: >>"$file") 2>&1); then exit 1; fi
  echo "locked $key ${why##*: }"
done
"""


def question(settings: dict[str, Any], root: str = ROOT) -> str:
    """A script for sh whose output `outcome` reads."""
    words = [word for key, value in settings.items() for word in (key, path_of(key, root), normal(value))]
    return f"set -- {shlex.join(words)}\n{_ASK}"


def outcome(said: str) -> Outcome:
    """Nothing to be written, and what is out of reach."""
    found = Outcome()
    for line in said.splitlines():
        kind, _space, rest = line.partition(" ")
        key, _space, why = rest.partition(" ")
        found.skipped[key] = MISSING if kind == "missing" else LOCKED % why
    return found


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        spec = {"settings": {"type": "dict", "required": True}}
        return ask_first(self, spec, task_vars, lambda args: question(args["settings"]), _answer)


def _answer(_args: dict[str, Any], said: str) -> dict[str, Any]:
    found = outcome(said)
    return {**result(found), "warnings": warnings(found)}
