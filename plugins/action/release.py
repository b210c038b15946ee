# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand sites to the module of the same name, and send the code that it lacks."""

from __future__ import annotations

import base64
import re
import tarfile
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.webstack.django.plugins.module_utils.payload import pack
from ansible_collections.webstack.django.plugins.plugin_utils import archive
from ansible_collections.webstack.django.plugins.plugin_utils.run import ask, this_run
from ansible_collections.webstack.django.plugins.plugin_utils.source import cache_dir

_OVERLAY = Path(__file__).resolve().parents[2] / "roles/django_app/files/overlay"
_STATIC = ["static_missing", "static_pack", "static_receive", "served"]
_STEPS = ["accounts", "probe", "fetch", "prepare", "stage", "activate", "deploy", "unlock", *_STATIC]
_ALL = ("static_missing", "served")  # of all sites
# What a web server needs to know of a site; no secret is among it.
_PUBLIC = ("name", "state", "purge", "root", "release_id", "static", "keep_releases", "page_cache")
_MIGRATION = re.compile(r"(^|/)migrations/\d\w*\.py$")
# Parcels of up to so many bytes travel with the sites: a question whether they are needed would take as long.
_SMALL = 256 * 1024
_MODULE = "webstack.django.release_apply"


def _kept(site: str, release: str | None) -> Path:
    """Where the controller keeps the static files of a site on their way."""
    directory = cache_dir() / "static"
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"{site}@*"):
        if old.name != f"{site}@{release}.tar.gz":
            old.unlink(missing_ok=True)
    return directory / f"{site}@{release}.tar.gz"


def _archive(site: dict[str, Any]) -> Path | None:
    """The archive of a site's code, where the code comes from the controller."""
    source = site.get("source") or {}
    if site.get("state") == "absent" or source.get("kind") == "package" or source.get("fetch") == "host":
        return None
    given = source.get("archive")
    if not given or not (Path(given).is_file() or archive.listing(Path(given))):
        raise AnsibleActionFail(f"site {site['name']}: source.archive: there is no file {given!r} on the controller")
    return Path(given)


def _migrations(path: Path) -> list[str]:
    """The files of migrations in an archive that is not sent."""
    names = list(archive.listing(path) or [])
    if not names:
        with tarfile.open(path) as tar:
            names = tar.getnames()
    return [name for name in names if _MIGRATION.search(name)]


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
                "only": {"type": "list", "elements": "str", "default": []},
                "retry": {"type": "bool", "default": False},
                "unlock": {"type": "bool", "default": False},
                "skip": {"type": "list", "elements": "str", "default": []},
                "needs": {"type": "dict", "default": {}},
                "half": {"type": "bool", "default": False},
                "friends": {"type": "list", "elements": "str", "default": []},
            }
        )
        names = [str(site.get("name")) for site in args["sites"]]
        if len(set(names)) < len(names):
            raise AnsibleActionFail(f"django_app_sites: every site needs a name of its own; found {', '.join(names)}.")
        payload: dict[str, Any] = {
            "sites": args["sites"],
            "retry": args["retry"],
            "skip": args["skip"],
            "half": args["half"],
            "friends": args["friends"],
            "needs": args["needs"],
            "run": this_run("deploy", over="*" if args["unlock"] else ""),
            "overlay": {path.name: path.read_text(encoding="utf-8") for path in sorted(_OVERLAY.glob("*.py"))},
        }
        if args["step"] in _STATIC:
            return self._static(args["step"], payload, args["only"], task_vars)
        if args["step"] in ("fetch", "stage", "deploy"):
            return self._bring(args["step"], payload, task_vars)
        return self._module(args["step"], payload, task_vars)

    def _bring(self, step: str, payload: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The steps that may need the code of releases."""
        archives = {site["name"]: path for site in payload["sites"] for path in [_archive(site)] if path}
        if self._task.check_mode:
            payload["migrations"] = {name: _migrations(path) for name, path in archives.items()}
            return self._module(step, payload, task_vars)
        parcels = {name: archive.parcel(path) for name, path in archives.items()}
        if sum(one.size for one in parcels.values()) <= _SMALL:
            payload["packed"] = {name: base64.b64encode(one.data).decode() for name, one in parcels.items()}
            payload["listed"] = {name: one.listed for name, one in parcels.items() if one.listed is not None}
            result = self._module(step, payload, task_vars)
            wanted = result.get("incomplete") or []
            if not wanted:
                return result
            for name in wanted:
                del payload["packed"][name], payload["listed"][name]
        else:
            result = self._module("probe", payload, task_vars)
            wanted = result.get("todo") or []
            if result.get("failed"):
                return result
        payload["archives"] = self._send({name: archives[name] for name in wanted if name in archives})
        return self._module(step, payload, task_vars)

    def _module(self, step: str, payload: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        alone = C.DEFAULT_STDOUT_CALLBACK == "webstack.django.drift"  # which is to print its report and nothing else
        show = (lambda _words: None) if alone else self._display.display
        return ask(lambda: self._once(step, payload, task_vars), payload["run"], show)

    def _once(self, step: str, payload: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {"step": step, "payload": pack(payload)}
        result: dict[str, Any] = self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)
        return result

    def _static(
        self, step: str, payload: dict[str, Any], only: list[str], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Bring static files from this server to the controller, or from there to this one."""
        sites = [one for one in payload["sites"] if step in _ALL or one["name"] in only]
        payload["sites"] = [{key: one[key] for key in _PUBLIC if key in one} for one in sites]
        payload["overlay"] = {}
        if step in _ALL or self._task.check_mode:
            return self._module(step, payload, task_vars)
        self._remote_tmp()
        if step == "static_pack":
            names = {one["name"]: one.get("release_id") for one in sites if one.get("state") != "absent"}
            payload["archives"] = {name: self._remote_path(f"{name}.static.tar.gz") for name in names}
            result = self._module(step, payload, task_vars)
            for name in result.get("todo") or []:
                self._connection.fetch_file(payload["archives"][name], str(_kept(name, names[name])))
            return result
        for one in sites:
            kept = _kept(one["name"], one.get("release_id"))
            if kept.is_file():
                target = self._remote_path(f"{one['name']}.static.tar.gz")
                payload.setdefault("archives", {})[one["name"]] = self._transfer_file(str(kept), target)
        return self._module(step, payload, task_vars)

    def _remote_tmp(self) -> None:
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()

    def _remote_path(self, name: str) -> str:
        return str(self._connection._shell.join_path(self._connection._shell.tmpdir, name))

    def _send(self, archives: dict[str, Path]) -> dict[str, str]:
        """Copy the archives of some sites to the host; returns where they are."""
        if archives:
            self._remote_tmp()
        return {
            name: self._transfer_file(str(archive.whole(path)), self._remote_path(f"{name}.tar.gz"))
            for name, path in archives.items()
        }
