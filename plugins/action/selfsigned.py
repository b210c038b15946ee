# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask openssl by a shell first; Python, which takes longer to start, is needed only where one is to be made."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.module_utils.selfsigned import RENEW, SPEC, name, names_of
from ansible_collections.webstack.django.plugins.plugin_utils.ask_first import ask_first

# Ends with 1 where one is to be made, but for its names, which it prints. What the module asks, in the same order.
_ASK = """\
export LC_ALL=C.UTF-8
ask() { openssl x509 -in "$certificate" -noout "$@" 2>/dev/null; }
while [ $# -gt 0 ]; do
  certificate=$1 key=$2 keep=$3
  shift 3
  echo "certificate"
  if [ ! -f "$certificate" ]; then exit 1; fi
  if [ -e "$key" ] && [ "$(stat -L -c '%a %u %g' "$key")" != "600 $(id -u) $(id -g)" ]; then exit 1; fi
  if [ "$keep" = yes ] && [ -f "$key" ]; then continue; fi
  issuer=$(ask -issuer) || exit 1
  subject=$(ask -subject)
  if [ "${issuer#issuer=}" != "${subject#subject=}" ]; then continue; fi
  if [ ! -f "$key" ]; then exit 1; fi
  ask -checkend $renew >/dev/null || exit 1
  if [ "$(ask -pubkey)" != "$(openssl pkey -in "$key" -pubout 2>/dev/null)" ]; then exit 1; fi
  ask -text | grep -A 1 'Subject Alternative Name:' || exit 1
done
"""


def question(certificates: list[dict[str, Any]]) -> str:
    """A script for sh whose output `holds` reads."""
    words = []
    for one in certificates:
        words += [one["tls"]["certificate"], one["tls"]["key"], "yes" if one["tls"]["keep"] else "no"]
    return f"renew={RENEW}\nset -- {shlex.join(words)}\n{_ASK}"


def holds(certificates: list[dict[str, Any]], said: str) -> bool:
    """Whether those that are made here have their names."""
    parts = said.split("certificate\n")[1:]
    wanted = [{name(domain) for domain in one["domains"]} for one in certificates]
    return len(parts) == len(wanted) and all(not part or names_of(part) == names for part, names in zip(parts, wanted))


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        return ask_first(self, SPEC, task_vars, lambda args: question(args["certificates"]), _answer)


def _answer(args: dict[str, Any], said: str) -> dict[str, Any] | None:
    return {"changed": False, "made": [], "drift": []} if holds(args["certificates"], said) else None
