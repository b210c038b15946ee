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
options:
  files:
    description: The files, in the order in which they are written.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the server.
        type: path
        required: true
      state:
        description: What is to be there. V(absent) removes whatever is there.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description: A Jinja template, found like those of M(ansible.builtin.template).
        type: str
      content:
        description: The content itself.
        type: str
      src:
        description: A file on the controller, found like those of M(ansible.builtin.copy).
        type: str
      vars:
        description: More variables for this template.
        type: dict
        default: {}
      owner:
        description: User name or number.
        type: str
        default: root
      group:
        description: Group name or number.
        type: str
        default: root
      mode:
        description: Octal mode, as a string; V(0644) for files and V(0755) for directories if not given.
        type: str
      target:
        description: Where a link points to.
        type: str
      diff:
        description: Whether the content may be shown. Give V(false) for anything with a secret in it.
        type: bool
        default: true
  prune:
    description: Directories in which files that are not in O(files) are removed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory. Subdirectories are left alone.
        type: path
        required: true
      patterns:
        description: Shell patterns of the names that are owned.
        type: list
        elements: str
        default: ["*"]
      marker:
        description: Only files with this text in their first 20 lines.
        type: str
      keep:
        description: Names that stay.
        type: list
        elements: str
        default: []
  checks:
    description: Programs that must accept the result, run in this order when something changes.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The program and its arguments.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds after which it is stopped, which counts as a refusal.
        type: int
        default: 30
      when_paths:
        description: Only when the path of a change begins with one of these.
        type: list
        elements: str
        default: []
      missing_ok:
        description: Whether the program may be missing. In check mode it always may.
        type: bool
        default: false
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
"""

RETURN = r"""
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
