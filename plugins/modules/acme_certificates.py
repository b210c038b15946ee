#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: acme_certificates
short_description: Certificates of a public authority for the sites of a server, asked for by certbot
version_added: 0.1.0
description:
  - Decides for each site by what lies on the server whether a certificate has to be asked for - there is none, its domains or
    the authority changed, its renewal is late - and asks, in one round trip. Renewals are otherwise a timer's, on the server.
  - Before anything is asked it looks whether the authority could validate each domain now - its addresses, port 80, what
    answers there, CAA. Where it could not, a warning says why and the certificate that is there goes on serving.
  - A refused order is not repeated before the authority would take it. One site's trouble does not stop the others.
  - Needs what the role C(webstack.django.tls) lays down.
options:
  certificates:
    description: The sites.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the site, and of its certificate.
        type: str
        required: true
      mode:
        description: Where its certificate comes from.
        type: str
        choices: [acme, selfsigned, provided, "off", absent]
        required: true
      domains:
        description: Its host names.
        type: list
        elements: str
        default: []
      certificate:
        description: File of the certificate and its chain.
        type: path
        default: ""
      key:
        description: File of its key.
        type: path
        default: ""
      keep:
        description: Whether a certificate of an authority that is there stays, and is renewed, although the mode is another one.
        type: bool
        default: false
      reason:
        description: Why the mode is not C(acme), for the user.
        type: str
        default: ""
  directory:
    description: URL of the authority's ACME directory. Let's Encrypt's if not given.
    type: str
    default: ""
  staging:
    description: Whether Let's Encrypt's authority for tests is asked.
    type: bool
    default: false
  email:
    description: Where the authority can reach you.
    type: str
    default: ""
  eab_kid:
    description: Name of the key of an external account.
    type: str
    default: ""
  webroot:
    description: Directory from which challenges are answered.
    type: path
    default: /var/www/webstack-acme
  resolvers:
    description: Name servers to ask, each an address, with a port if it is not 53. Those of the server if empty.
    type: list
    elements: str
    default: []
  preflight:
    description: Whether it looks before it asks.
    type: bool
    default: true
  units:
    description: Units of web servers, which read the certificates. One that runs is reloaded where it has not read them yet.
    type: list
    elements: str
    default: []
  retry:
    description: Whether an order that was refused is repeated at once.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be asked for. It looks at the domains as well, for which it lays a file into the webroot for a moment.
    support: full
  diff_mode:
    description: Lists what it does.
    support: full
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Ask for the certificates that are missing
  webstack.django.acme_certificates:
    email: you@example.com
    certificates:
      - name: blog
        mode: acme
        domains: [blog.example.com]
        certificate: /etc/webstack/tls/blog/fullchain.pem
        key: /etc/webstack/tls/blog/privkey.pem
"""

RETURN = r"""
drift:
  description: >-
    What differs, for the report of P(webstack.django.drift#callback), each with C(thing), C(expected), C(found), C(since) and C(site).
  returned: success
  type: list
  elements: dict
actions:
  description: What was, or would be, done.
  returned: success
  type: list
  elements: str
sites:
  description: Of each site the state of its certificate, the days that it has left, and what the user should know.
  returned: success
  type: dict
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.acme.manager import Manager, TlsError
from ansible_collections.webstack.django.plugins.module_utils.selfsigned import SelfsignedError
from ansible_collections.webstack.django.plugins.module_utils.services import ServiceError


def main():
    item = {
        "name": {"type": "str", "required": True},
        "mode": {"type": "str", "choices": ["acme", "selfsigned", "provided", "off", "absent"], "required": True},
        "domains": {"type": "list", "elements": "str", "default": []},
        "certificate": {"type": "path", "default": ""},
        "key": {"type": "path", "default": "", "no_log": False},
        "keep": {"type": "bool", "default": False},
        "reason": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True, "options": item},
            "directory": {"type": "str", "default": ""},
            "staging": {"type": "bool", "default": False},
            "email": {"type": "str", "default": ""},
            "eab_kid": {"type": "str", "default": ""},
            "webroot": {"type": "path", "default": "/var/www/webstack-acme"},
            "resolvers": {"type": "list", "elements": "str", "default": []},
            "preflight": {"type": "bool", "default": True},
            "units": {"type": "list", "elements": "str", "default": []},
            "retry": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    asked = any(site["mode"] == "acme" for site in module.params["certificates"])
    if asked and not module.check_mode and not shutil.which("certbot"):
        module.fail_json(msg="certbot is not installed; install its package before the certificates")
    manager = Manager(module.params, module.run_command, module.check_mode)
    try:
        manager.converge()
    except (TlsError, SelfsignedError, ServiceError, OSError) as error:
        module.fail_json(msg=f"tls: {error}; run this again once that is repaired", actions=manager.actions)
    for name, report in manager.reports.items():
        if report.words:
            module.warn(f"site {name}: {report.words}")
    result = {
        "changed": bool(manager.actions),
        "actions": manager.actions,
        "drift": drift.of(manager.actions),
        "sites": {name: report._asdict() for name, report in manager.reports.items()},
    }
    if module._diff and manager.actions:
        result["diff"] = {"before": "", "after": "".join(f"{action}\n" for action in manager.actions)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
