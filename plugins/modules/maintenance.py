#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Put a site into maintenance on a web server, or end it
version_added: 0.1.0
description:
  - Writes or removes the file of a page that the virtual host shows in place of the application, with status 503 and
    C(Retry-After). That counts at once, without a reload; static files are served as ever.
  - Runs on a web server that the role P(webstack.django.nginx#role) or P(webstack.django.apache#role) has set up.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  state:
    description: Whether it is in maintenance, V(on) or V(off).
    type: str
    choices: ["on", "off"]
    required: true
  content:
    description:
      - The page, HTML. Without it the site's own (its key C(maintenance.page)), which is read on the controller, else a
        small page of the collection; then M(webstack.django.plan) with C(phase=inventory) has to have run.
      - Where the site's own page cannot be had, a warning says why and the small page is shown.
    type: str
attributes:
  check_mode:
    description: Predicts the change.
    support: full
  diff_mode:
    description: Shows the page.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Read the inventory
  webstack.django.plan:
    phase: inventory

- name: Show visitors a page for a while
  webstack.django.maintenance:
    site: blog
    state: "on"
"""

RETURN = r"""
path:
  description: The file that puts the site into maintenance by being there.
  returned: success
  type: str
  sample: /etc/webstack/maintenance/blog.html
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import config_files_checked, vhosts
from ansible_collections.webstack.django.plugins.module_utils.config_files import ConfigError, Declared, plan
from ansible_collections.webstack.django.plugins.module_utils.config_files_transaction import Transaction, explain


def _show(module, transaction):
    site, content = module.params["site"], module.params["content"] or ""
    if not module.check_mode:
        transaction.open()
    path = vhosts.page_file(site)
    vhost = vhosts.find(site, lambda unit: module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0)
    if path not in vhost.text:
        raise vhosts.VhostError(
            f"site {site}: its virtual host {vhost.path} knows no maintenance; run the playbook webstack.django.site, "
            "which writes it anew"
        )
    state = {"on": "file", "off": "absent"}[module.params["state"]]
    changes = plan([Declared(path, state, content.encode() if state == "file" else None)], [])
    config_files_checked.settle(changes, [], transaction, module.check_mode)
    result = {"changed": bool(changes), "path": path}
    if module._diff:
        result["diff"] = [change.as_diff() for change in changes]
    return result


def main():
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["on", "off"], "required": True},
            "content": {"type": "str"},
        },
        required_if=[("state", "on", ["content"])],
        supports_check_mode=True,
    )
    transaction = Transaction()
    try:
        result = _show(module, transaction)
    except (vhosts.VhostError, ConfigError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=explain("", error))
    finally:
        transaction.close()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
