#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Have packages of the distribution installed
version_added: 0.1.0
description:
  - Installs packages with M(ansible.builtin.apt), without those that they only recommend, from lists of at most a day ago.
  - Where all of them are there, the database of dpkg is the only thing that is read, which takes a tenth of the time.
  - A package that came with another one counts as missing, since C(apt autoremove) would take it away; apt marks it.
options:
  name:
    description: Names of packages; what else apt takes for one, like C(name=version), is asked of apt each time.
    type: list
    elements: str
    required: true
  start_services:
    description: Whether a package may start its services when it is installed.
    type: bool
    default: true
attributes:
  check_mode:
    description: Predicts; on a host without python3-apt too.
    support: full
  diff_mode:
    description: Names what would be installed.
    support: full
seealso:
  - module: ansible.builtin.apt
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Install a server that starts with our configuration and not before
  webstack.django.packages:
    name: [memcached]
    start_services: false
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: when something differs
  type: list
  elements: dict
"""
