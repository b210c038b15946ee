# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render files on the controller and hand them to the server in one round trip."""

from __future__ import annotations

import base64
import datetime
import os
import pwd
import re
import time
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.webstack.django.plugins.module_utils.payload import pack
from ansible_collections.webstack.django.plugins.module_utils.services_run import UNIT

_ITEM = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
    "template": {"type": "str"},
    "content": {"type": "raw"},
    "src": {"type": "str"},
    "vars": {"type": "dict", "default": {}},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "raw"},
    "target": {"type": "str"},
    "diff": {"type": "bool", "default": True},
}
_PRUNE = {
    "path": {"type": "path", "required": True},
    "patterns": {"type": "list", "elements": "str", "default": ["*"]},
    "marker": {"type": "str"},
    "keep": {"type": "list", "elements": "str", "default": []},
    "packaged": {"type": "str", "choices": ["remove", "keep"], "default": "remove"},
}
_CHECK = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "int", "default": 30},
    "when_paths": {"type": "list", "elements": "str", "default": []},
    "missing_ok": {"type": "bool", "default": False},
}


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


SERVICES = _list(UNIT)
SPEC = {"files": _list(_ITEM), "prune": _list(_PRUNE), "checks": _list(_CHECK)}


class ActionModule(ActionBase):
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={**SPEC, "services": SERVICES})
        payload = {**self.rendered(args, task_vars), "services": args["services"]}
        return self._execute_module(
            module_name="webstack.django.config_files_apply",
            module_args={"payload": pack(payload)},
            task_vars=task_vars,
        )

    def rendered(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The files with their content, the directories to prune and the checkers."""
        for rule in args["prune"]:
            _absolute(str(rule["path"]))
        if not all(check["argv"] for check in args["checks"]):
            raise AnsibleActionFail("config_files: a checker in `checks` has an empty argv")
        files = [self._render(item, task_vars) for item in args["files"]]
        return {"files": files, "prune": args["prune"], "checks": args["checks"]}

    def _render(self, item: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        path, state = str(item["path"]), item["state"]
        _absolute(path)
        given = [key for key in ("template", "content", "src") if item.get(key) is not None]
        if (state == "file" and len(given) != 1) or (state != "file" and given):
            raise _error(
                path,
                "a file takes exactly one of template, content and src, any other state none of them; "
                f"found {', '.join(given) or 'none'} with state {state}",
            )
        if (state == "link") != bool(item.get("target")):
            raise _error(path, f"a link needs a target, and only a link has one; state is {state}")
        rendered = {key: str(item[key]) if item.get(key) is not None else "" for key in ("owner", "group", "target")}
        rendered.update(path=path, state=state, mode=_mode(path, state, item.get("mode")), diff=bool(item["diff"]))
        if given:
            content = self._content(given[0], item, task_vars)
            rendered["content"] = base64.b64encode(content).decode()
        return rendered

    def _content(self, kind: str, item: dict[str, Any], task_vars: dict[str, Any]) -> bytes:
        path, value = str(item["path"]), item[kind]
        if kind == "content":
            if isinstance(value, (dict, list)):
                raise _error(path, "content must be text; use a filter such as to_nice_json or to_nice_yaml")
            return str(value).encode()
        try:
            source = self._find_needle("templates" if kind == "template" else "files", str(value))
        except AnsibleError as error:
            raise _error(path, str(error)) from error
        if kind == "template":
            return self._template(source, item, task_vars).encode()
        if os.path.isdir(source):
            raise _error(path, f"src {source} is a directory; list its files one by one")
        readable = self._loader.get_real_file(source)  # decrypted, where it is vaulted
        try:
            return Path(readable).read_bytes()
        finally:
            self._loader.cleanup_tmp_file(readable)

    def _template(self, source: str, item: dict[str, Any], task_vars: dict[str, Any]) -> str:
        """Render like ansible.builtin.template does: same search path, same variables, trim_blocks."""
        directories = [
            *task_vars.get("ansible_search_path", []),
            self._loader.get_basedir(),
            os.path.dirname(source),
        ]
        searchpath = [path for directory in directories for path in (os.path.join(directory, "templates"), directory)]
        variables = {
            **_template_variables(str(item["template"]), source, str(item["path"])),
            **task_vars,
            **(item.get("vars") or {}),
        }
        templar = self._templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)
        try:
            text = templar.template(
                trust_as_template(self._loader.get_text_file_contents(source)),
                escape_backslashes=False,
                overrides={"trim_blocks": True},
            )
        except AnsibleError as error:
            raise _error(str(item["path"]), f"the template {source} cannot be rendered") from error
        return "" if text is None else str(text)


def _error(path: str, words: str) -> AnsibleActionFail:
    return AnsibleActionFail(f"config_files: {path}: {words}")


def _absolute(path: str) -> None:
    if not path.startswith("/") or os.path.normpath(path) == "/" or "\0" in path or "\n" in path:
        raise _error(path, "give an absolute path")


def _mode(path: str, state: str, given: Any) -> str:
    if given is None:
        return "0755" if state == "directory" else "0644"
    if not isinstance(given, str) or not re.fullmatch("[0-7]{3,4}", given):
        raise _error(path, f"mode {given!r} is not three or four octal digits in quotes, like '0644'")
    return str(given)


def _template_variables(name: str, source: str, path: str) -> dict[str, Any]:
    """What ansible.builtin.template adds to the variables (core asks collections to have this of their own)."""
    info = os.stat(source)
    try:
        owner: str | int = pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        owner = info.st_uid
    managed = str(C.config.get_config_value("DEFAULT_MANAGED_STR"))
    names = {"host": "{{ template_host }}", "uid": "{{ template_uid }}", "file": "{{ template_path }}"}
    return {
        "ansible_managed": trust_as_template(time.strftime(managed.format(**names), time.localtime(info.st_mtime))),
        "template_host": os.uname().nodename,
        "template_path": name,
        "template_mtime": datetime.datetime.fromtimestamp(info.st_mtime),
        "template_uid": owner,
        "template_run_date": datetime.datetime.now(),
        "template_destpath": path,
        "template_fullpath": source,
    }
