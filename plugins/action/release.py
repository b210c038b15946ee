# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand sites to the module of the same name; an archive is sent only where a release is not built."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_OVERLAY = Path(__file__).resolve().parents[2] / "roles/django_app/files/overlay"
_STEPS = ["accounts", "probe", "fetch", "build", "prepare", "activate", "prune"]
_MODULE = "webstack.django.release"


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(
            argument_spec={
                "sites": {"type": "list", "elements": "dict", "required": True},
                "step": {"type": "str", "required": True, "choices": _STEPS},
                "retry": {"type": "bool", "default": False},
            }
        )
        payload: dict[str, Any] = {
            "sites": args["sites"],
            "retry": args["retry"],
            "overlay": {path.name: path.read_text(encoding="utf-8") for path in sorted(_OVERLAY.glob("*.py"))},
        }
        if args["step"] != "fetch":
            return self._module(args["step"], payload, task_vars)
        probe = self._module("probe", payload, task_vars)
        if probe.get("failed") or not probe.get("todo"):
            return probe
        if not self._task.check_mode:
            payload["archives"] = self._send(args["sites"], probe["todo"])
        return self._module("fetch", payload, task_vars)

    def _module(self, step: str, payload: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        packed = base64.b64encode(zlib.compress(json.dumps(payload).encode())).decode()
        result: dict[str, Any] = self._execute_module(
            module_name=_MODULE, module_args={"step": step, "payload": packed}, task_vars=task_vars
        )
        return result

    def _send(self, sites: list[dict[str, Any]], names: list[str]) -> dict[str, str]:
        """Copy the archives of some sites to the host; returns where they are."""
        sent = {}
        for site in sites:
            source = site.get("source") or {}
            if site["name"] not in names or source.get("kind") == "package" or source.get("fetch") == "host":
                continue
            archive = source.get("archive")
            if not archive or not Path(archive).is_file():
                raise AnsibleActionFail(
                    f"site {site['name']}: source.archive: there is no file {archive!r} on the controller"
                )
            if not self._connection._shell.tmpdir:
                self._make_tmp_path()
            target = self._connection._shell.join_path(self._connection._shell.tmpdir, f"{site['name']}.tar.gz")
            sent[site["name"]] = self._transfer_file(str(archive), target)
        return sent
