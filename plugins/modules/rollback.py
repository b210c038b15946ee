#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Go back to a release of a site that is still on the server
version_added: 0.1.0
description:
  - Tries the release beside the one that serves, switches to it, and back where it does not serve after all.
  - Migrations stay applied; those that stand between the two releases are shown.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  release:
    description: Name of the release, or how it begins. Without it the last good one before the one that serves.
    type: str
    default: ""
  retry:
    description: Whether a release is accepted that did not serve before.
    type: bool
    default: false
  find:
    description: Whether only to find the release, and to change nothing.
    type: bool
    default: false
  run:
    description: Which run of Ansible this is; filled in by the action plugin.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Says what would be done.
  diff_mode:
    support: full
    description: Shows the actions.
  platform:
    support: full
    platforms: posix
    description: Debian and Ubuntu with systemd.
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Go back to the release before
  webstack.django.rollback:
    site: blog
"""

RETURN = r"""
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: success
release:
  description: The release that it goes to.
  type: str
  returned: success
migrations:
  description: Migrations that stay applied and that this release does not know.
  type: list
  elements: str
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils.release import lock, rollback
from ansible_collections.webstack.django.plugins.module_utils.release.site import ReleaseError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "release": {"type": "str", "default": ""},
            "retry": {"type": "bool", "default": False},
            "find": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    params = module.params
    try:
        back = rollback.Rollback(
            params["site"], params["release"], params["retry"], module.check_mode or params["find"]
        )
        actions = back.run() if back.check_mode else _run(back, params["run"])
    except lock.Held as error:
        module.fail_json(msg=str(error), held=error.lock)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    shown = "\n".join(actions)
    module.exit_json(
        changed=bool(actions) and not params["find"],
        actions=actions,
        release=back.target,
        migrations=back.between(),
        diff={"prepared": shown + "\n"} if shown and not params["find"] else {},
    )


def _run(back: rollback.Rollback, run: dict[str, str]) -> list[str]:
    with lock.during(back.site, run, rollback.STEP):
        actions = back.run()
        if actions:
            lock.audit(back.site, lock.current(back.site), "ok")
    lock.free(back.site, run)
    return actions


if __name__ == "__main__":
    main()
