#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: config_files_apply
short_description: The half of config_files that runs on the server
version_added: 0.1.0
description:
  - Called by the action plugin P(webstack.django.config_files#module); not meant to be used by itself.
options:
  payload:
    description: The rendered files, directories to prune and checkers; JSON, compressed, in base64.
    type: str
    required: true
attributes:
  check_mode:
    description: Predicts exactly what would change, including what a checker would say.
    support: full
  diff_mode:
    description: Shows a diff for each file unless the file says otherwise.
    support: full
author: webstack.django maintainers (@webstack)
seealso:
  - module: webstack.django.config_files
"""

EXAMPLES = r"""
- name: Use the action plugin
  webstack.django.config_files:
    files:
      - path: /etc/motd
        content: "Welcome\n"
"""

RETURN = r"""
changed_paths:
  description: What was, or would be, changed.
  returned: always
  type: list
  elements: str
healed:
  description: Paths of an earlier run that was killed half-way, put back before this one began.
  returned: when there were any
  type: list
  elements: str
checked:
  description: >-
    Where the checkers ran. V(preview) is a private view of the file system before the live files changed, V(live) is
    after the change with a roll-back on refusal, V(no) is not at all.
  returned: always
  type: str
"""

import base64
import grp
import json
import pwd
import zlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import checkers, config_files


def _number(name, lookup, check_mode):
    """Resolve an account to its number; None where it does not exist yet in check mode."""
    if isinstance(name, int) or str(name).isdigit():
        return int(name)
    try:
        return lookup(str(name))
    except KeyError:
        if check_mode:
            return None
        raise config_files.ConfigError(f"the user or group {name} does not exist on this host") from None


def _declared(raw, check_mode):
    """Turn one item of the payload into what the transaction takes."""
    try:
        uid = _number(raw["owner"], lambda name: pwd.getpwnam(name).pw_uid, check_mode)
        gid = _number(raw["group"], lambda name: grp.getgrnam(name).gr_gid, check_mode)
    except config_files.ConfigError as error:
        raise config_files.ConfigError(f"{raw['path']}: {error}") from None
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


def _run_checks(changes, checks, check_mode):
    """Let the checkers see the result before it is live where that is possible; says where they ran."""
    if not checks or not changes:
        return "no", ""
    paths = [change.item.path for change in changes]

    def in_private():
        config_files.Transaction(journal=False).apply(changes)

    try:
        return "preview", checkers.preview(paths, in_private, checks)
    except checkers.Unavailable:
        return ("no" if check_mode else "live"), ""


def main():
    module = AnsibleModule(
        argument_spec={"payload": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    payload = json.loads(zlib.decompress(base64.b64decode(module.params["payload"])))
    # The arguments hold every file's content: hand out the paths instead of them.
    invocation = {"module_args": {"paths": [raw["path"] for raw in payload["files"]]}}
    transaction = config_files.Transaction()
    result = {"changed": False, "changed_paths": [], "checked": "no", "invocation": invocation}
    try:
        healed = [] if module.check_mode else transaction.open()
        if healed:
            result["healed"] = healed
        declared = [_declared(raw, module.check_mode) for raw in payload["files"]]
        changes = config_files.plan(declared, payload["prune"])
        paths = [change.item.path for change in changes]
        result.update(changed=bool(changes), changed_paths=paths)
        if module._diff:
            result["diff"] = [change.as_diff() for change in changes]
        checks = checkers.wanted(payload["checks"], paths)
        if module.check_mode:
            checks = [check for check in checks if checkers.installed(check)]
        result["checked"], message = _run_checks(changes, checks, module.check_mode)
        if not message and changes and not module.check_mode:
            transaction.apply(changes)
            if result["checked"] == "live":
                message = checkers.run_all(checks)
            if message:
                transaction.rollback()
            else:
                transaction.commit()
        if message:
            result.update(changed=False)
            names = ", ".join(paths)
            module.fail_json(msg=f"{message}\nThe old configuration is in place. Refused: {names}", **result)
    except config_files.ConfigError as error:
        result.update(changed=False)
        module.fail_json(msg=str(error), **result)
    finally:
        transaction.close()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
