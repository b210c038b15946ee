#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: say
short_description: Print a text as it is
version_added: 0.1.0
description:
  - Prints lines as lines, where M(ansible.builtin.debug) prints a value of a result. Runs on the controller and opens no
    connection.
options:
  text:
    description: The text.
    type: str
    required: true
attributes:
  check_mode:
    description: Nothing is ever changed; the text is printed all the same.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Print two lines
  webstack.django.say:
    text: "one\ntwo"
"""

RETURN = r"""
"""
