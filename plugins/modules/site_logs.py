#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: site_logs
short_description: Read the last lines that the processes of a site wrote
version_added: 0.1.0
description:
  - Reads the journal, or the logs of supervisord, and of the web server's error log the lines that are about the site.
options:
  site:
    description: Name of the site.
    type: str
    required: true
  domains:
    description: Names of the site, by which lines of the web server are known.
    type: list
    elements: str
    default: []
  process:
    description: >-
      One process only, for instance V(web) or V(worker); V(nginx), V(apache), V(cache) and V(broker) are what they say. One that
      this server does not have gives no lines. All processes and the web server if not given.
    type: str
  lines:
    description: How many lines of each, at most.
    type: int
    default: 100
  since:
    description: For the journal, lines since then only, as journalctl takes it.
    type: str
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: What did the workers say?
  webstack.django.site_logs:
    site: blog
    process: worker
    since: 1 hour ago
  become: true
"""

RETURN = r"""
known:
  description: What can be asked for on this server.
  returned: success
  type: list
  elements: str
logs:
  description: The process and its lines.
  returned: success
  type: list
  elements: dict
  sample: [{process: web, lines: ["2026-11-29T10:00:00+00:00 blog-web[12]: started"]}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import site_logs


def main():
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "str", "required": True},
            "domains": {"type": "list", "elements": "str", "default": []},
            "process": {"type": "str"},
            "lines": {"type": "int", "default": 100},
            "since": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["lines"] < 1:
        module.fail_json(msg=f"site {params['site']}: lines: must be 1 or more, not {params['lines']}")
    try:
        found = site_logs.logs(
            params["site"], params["domains"], params["process"] or None, params["lines"], params["since"] or None
        )
    except site_logs.LogError as error:
        module.fail_json(msg=f"site {params['site']}: {error}")
    module.exit_json(changed=False, known=site_logs.known(params["site"]), logs=found)


if __name__ == "__main__":
    main()
