#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write many configuration files as one transaction
version_added: 0.1.0
description:
  - Renders a list of files on the controller and, in one round trip, compares them with the server, shows the
    differences, writes them atomically, removes files that nobody declared, and runs checkers on the result.
  - Where a checker says no, nothing is changed. The checkers see the new state in a private mount namespace before the
    live files change; where the kernel refuses that, they run after the change and everything is put back, with
    every byte, mode, owner and time stamp as before.
  - A run that was killed half-way is undone by the next one before it begins.
extends_documentation_fragment: [webstack.django.files]
attributes:
  check_mode:
    description: Predicts exactly what would change, including what a checker would say.
    support: full
  diff_mode:
    description: Shows a diff for each file unless the file says otherwise.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Configure nginx; a mistake leaves the old configuration in place
  webstack.django.config_files:
    files:
      - path: /etc/nginx/nginx.conf
        template: nginx.conf.j2
      - path: /etc/nginx/webstack.d
        state: directory
      - path: /etc/nginx/webstack.d/blog.conf
        template: site.conf.j2
        vars: {site: "{{ blog }}"}
    prune:
      - path: /etc/nginx/webstack.d
        patterns: ["*.conf"]
    checks:
      - argv: [nginx, -t]
    services:
      - name: nginx.service
        reload_on: [/etc/nginx]
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
changed_paths:
  description: What was, or would be, changed.
  returned: always
  type: list
  elements: str
checked:
  description: Where the checkers ran, V(preview), V(live) or V(no).
  returned: always
  type: str
"""
