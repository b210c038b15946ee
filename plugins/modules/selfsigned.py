#!/usr/bin/python
# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: selfsigned
short_description: Self-signed certificates, so that a server speaks HTTPS from the first minute
version_added: 0.1.0
description:
  - Makes an ECDSA P-256 key and a self-signed certificate for each item, in one round trip, with C(openssl) on the server.
  - A certificate is made again when its names differ, when it ends within 30 days, when it does not belong to its key, or
    when one of the files is missing. A certificate that somebody else signed is never touched.
  - Works in check mode on a server that does not have C(openssl) yet, unlike the modules of community.crypto.
options:
  certificates:
    description: The certificates.
    type: list
    elements: dict
    required: true
    suboptions:
      domains:
        description: Host names and IP addresses.
        type: list
        elements: str
        required: true
      tls:
        description: The files.
        type: dict
        required: true
        suboptions:
          certificate:
            description: File of the certificate.
            type: path
            required: true
          key:
            description: File of its key, which is for root alone.
            type: path
            required: true
          selfsigned:
            description: Not used; items of C(nginx_sites) have it.
            type: bool
            default: true
          keep:
            description: Whether one that is there with its key is left alone, whoever signed it.
            type: bool
            default: false
attributes:
  check_mode:
    description: Says which certificates would be made.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author: webstack.django maintainers (@webstack)
"""

EXAMPLES = r"""
- name: Speak HTTPS
  webstack.django.selfsigned:
    certificates:
      - domains: [blog.example.com]
        tls:
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
made:
  description: Files of the certificates that were, or would be, made, or whose key was readable by others.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webstack.django.plugins.module_utils import drift
from ansible_collections.webstack.django.plugins.module_utils.selfsigned import SPEC, Certificate, SelfsignedError


def _words(one, installed, exposed):
    """What is expected of a certificate or its key, and what is there."""
    if exposed:
        info = os.stat(one.key)
        return "mode 0600, of root alone", "mode %04o, owner %d, group %d" % (
            info.st_mode & 0o7777,
            info.st_uid,
            info.st_gid,
        )
    names = "a certificate for " + ", ".join(name.partition(":")[2] for name in one.names)
    if not os.path.isfile(one.certificate) or not os.path.isfile(one.key):
        return names if os.path.isfile(one.key) else "a key", "missing"
    return names, "none that fits: other names, near its end, or of another key" if installed else "openssl is missing"


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    installed = module.get_bin_path("openssl") is not None
    if not installed and not module.check_mode:
        module.fail_json(msg="openssl is not installed; install its package before the certificates")
    made, differs = [], []
    for item in module.params["certificates"]:
        one = Certificate(item["tls"]["certificate"], item["tls"]["key"], item["domains"], module.run_command)
        kept = item["tls"]["keep"] and os.path.isfile(one.certificate) and os.path.isfile(one.key)
        wanted = not kept and (not installed or one.wanted())
        exposed = not wanted and one.exposed()
        if wanted or exposed:
            made.append(one.certificate)
            path = one.key if exposed or not os.path.isfile(one.key) else one.certificate
            differs.append(drift.entry(path, *_words(one, installed, exposed), drift.changed(path, exposed)))
        if module.check_mode:
            continue
        try:
            if wanted:
                one.make()
            elif exposed:
                one.protect()
        except (SelfsignedError, OSError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(made), made=made, drift=differs)


if __name__ == "__main__":
    main()
