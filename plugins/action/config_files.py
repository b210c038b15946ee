# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render files on the controller and hand them to the server in one round trip."""

from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

_ITEM = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "template": {"type": "str"},
    "content": {"type": "str"},
    "src": {"type": "str"},
    "vars": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "target": {"type": "str"},
    "diff": {"type": "bool", "default": True},
}
_PRUNE = {
    "path": {"type": "path", "required": True},
    "patterns": {"type": "list", "elements": "str", "default": ["*"]},
    "marker": {"type": "str"},
    "keep": {"type": "list", "elements": "str", "default": []},
}
_CHECK = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "int", "default": 30},
    "when_paths": {"type": "list", "elements": "str", "default": []},
    "missing_ok": {"type": "bool", "default": False},
}


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(
            argument_spec={"files": _list(_ITEM), "prune": _list(_PRUNE), "checks": _list(_CHECK)}
        )
        files = [self._render(item, task_vars) for item in args["files"]]
        payload = {"files": files, "prune": args["prune"], "checks": args["checks"]}
        packed = base64.b64encode(zlib.compress(json.dumps(payload).encode())).decode()
        return self._execute_module(
            module_name="webstack.django.config_files_apply",
            module_args={"payload": packed},
            task_vars=task_vars,
        )

    def _render(self, item: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        path = str(item["path"])
        given = [key for key in ("template", "content", "src") if item.get(key) is not None]
        state = item["state"]
        if not path.startswith("/"):
            raise AnsibleActionFail(f"config_files: {path}: give an absolute path")
        if (state == "file" and len(given) != 1) or (state != "file" and given):
            raise AnsibleActionFail(
                f"config_files: {path}: a file takes exactly one of template, content and src, "
                f"any other state none of them; found {', '.join(given) or 'none'} with state {state}"
            )
        if state == "link" and not item.get("target"):
            raise AnsibleActionFail(f"config_files: {path}: a link needs a target")
        mode = str(item.get("mode") or ("0755" if state == "directory" else "0644"))
        if not set(mode) <= set("01234567") or len(mode) > 5:
            raise AnsibleActionFail(f"config_files: {path}: mode {mode!r} is not octal; write it like '0644'")
        rendered = {key: str(item[key]) if item.get(key) is not None else "" for key in ("owner", "group", "target")}
        rendered.update(path=path, state=state, mode=mode, diff=bool(item["diff"]))
        if given:
            content = self._content(given[0], item, task_vars)
            rendered["content"] = base64.b64encode(content).decode()
        return rendered

    def _content(self, kind: str, item: dict[str, Any], task_vars: dict[str, Any]) -> bytes:
        if kind == "content":
            return str(item["content"]).encode()
        try:
            source = self._find_needle("templates" if kind == "template" else "files", str(item[kind]))
        except AnsibleError as error:
            raise AnsibleActionFail(f"config_files: {item['path']}: {error}") from error
        if kind == "src":
            return Path(self._loader.get_real_file(source)).read_bytes()
        return self._template(source, item, task_vars).encode()

    def _template(self, source: str, item: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Render like ansible.builtin.template does: same search path, same variables, trim_blocks."""
        searchpath = []
        for directory in [
            *task_vars.get("ansible_search_path", []),
            self._loader.get_basedir(),
            os.path.dirname(source),
        ]:
            searchpath += [os.path.join(directory, "templates"), directory]
        variables = {"ansible_managed": "Ansible managed", **task_vars, **(item.get("vars") or {})}
        templar = self._templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)
        text = templar.template(
            trust_as_template(self._loader.get_text_file_contents(source)),
            escape_backslashes=False,
            overrides={"trim_blocks": True},
        )
        return "" if text is None else str(text)
