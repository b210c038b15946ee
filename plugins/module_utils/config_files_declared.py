# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that write files have in common: what the action plugin sent, and the words of a refusal."""

from __future__ import annotations

import base64
import functools
import grp
import pwd
from typing import Any, Callable

from ansible_collections.webstack.django.plugins.module_utils import checkers, config_files
from ansible_collections.webstack.django.plugins.module_utils.payload import unpack

_NAMED = 10  # paths that an error message lists


def _number(name: Any, lookup: Callable[[str], int], what: str, path: str, check_mode: bool) -> int | None:
    """Resolve an account to its number; None where it does not exist yet in check mode."""
    if str(name).isdigit():
        return int(name)
    try:
        return lookup(str(name))
    except KeyError:
        if check_mode:
            return None
        raise config_files.ConfigError(
            f"{path}: the {what} {name} does not exist on this host; create it before the file"
        ) from None


@functools.cache
def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


@functools.cache
def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


def unpacked(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the action plugin sent, and a result to begin with. It hands out paths, since the arguments hold every file's content."""
    payload = unpack(module.params["payload"])
    if module.no_log:
        for raw in payload["files"]:
            raw["diff"] = False
    invocation = {"module_args": {"paths": [raw["path"] for raw in payload["files"]]}}
    return payload, {"changed": False, "changed_paths": [], "invocation": invocation}


def declared(raw: dict[str, Any], check_mode: bool) -> config_files.Declared:
    """Turn one item of the payload into what the transaction takes; an absent path needs no owner."""
    uid = gid = None
    if raw["state"] != "absent":
        uid = _number(raw["owner"], _uid, "user", raw["path"], check_mode)
        gid = _number(raw["group"], _gid, "group", raw["path"], check_mode)
    content = raw.get("content")
    return config_files.Declared(
        raw["path"],
        raw["state"],
        base64.b64decode(content) if content is not None else None,
        uid,
        gid,
        int(raw["mode"], 8),
        raw.get("target") or "",
        raw["diff"],
    )


def refused(module: Any, refusal: checkers.Refusal, changes: list[config_files.Change], result: dict[str, Any]) -> None:
    """Fail with the checker's words, or, where they may be about things that check mode did not make, warn."""
    secrets = [change.item.content or b"" for change in changes if not change.item.diff]
    secrets += [change.before or b"" for change in changes if not change.item.diff]
    words = checkers.hide(refusal.words, secrets)
    command = checkers.hide(" ".join(refusal.argv), secrets)
    paths = [change.item.path for change in changes]
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    named = ", ".join(paths[:_NAMED]) + more
    if module.check_mode and refusal.about_missing:
        module.warn(
            f"{command} does not accept the new configuration ({named}). In check mode nothing is made that it may "
            f"miss, so this may be no error: {words}"
        )
        return
    result.update(changed=False, changed_paths=[], refused_paths=paths)
    result.update(checker=refusal.argv, rc=refusal.code, stdout=words)
    result.pop("diff", None)
    module.fail_json(
        msg=f"{command} {refusal.reason}, so the old configuration stays in place. What would have changed: "
        f"{named}. Its words:\n{words or '(none)'}",
        **result,
    )
