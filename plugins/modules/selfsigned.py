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
        description: The files, with the keys C(certificate) and C(key).
        type: dict
        required: true
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
made:
  description: Files of the certificates that were, or would be, made.
  returned: always
  type: list
  elements: str
"""

import ipaddress
import os
import re
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

DAYS = 3650
RENEW = 30 * 86400  # seconds


def _name(domain):
    try:
        return f"IP:{ipaddress.ip_address(domain)}"
    except ValueError:
        return f"DNS:{domain}"


def _names_of(text):
    """Subject alternative names as openssl prints them, in the form in which they are asked for."""
    found = re.search(r"Subject Alternative Name:[^\n]*\n\s*([^\n]+)", text)
    names = set()
    for name in found.group(1).split(", ") if found else []:
        kind, _colon, value = name.partition(":")
        names.add(_name(value) if kind == "IP Address" else f"DNS:{value}")
    return names


def _wanted(module, item):
    """Whether a certificate has to be made."""
    certificate, key = item["tls"]["certificate"], item["tls"]["key"]
    if not (os.path.isfile(certificate) and os.path.isfile(key)):
        return True
    code, text, _error = module.run_command(["openssl", "x509", "-in", certificate, "-noout", "-text"])
    if code != 0:
        return True
    issuer = re.search(r"Issuer: (.*)", text)
    subject = re.search(r"Subject: (.*)", text)
    if not issuer or not subject or issuer.group(1).strip() != subject.group(1).strip():
        return False
    if _names_of(text) != {_name(domain) for domain in item["domains"]}:
        return True
    if module.run_command(["openssl", "x509", "-in", certificate, "-noout", "-checkend", str(RENEW)])[0] != 0:
        return True
    of_certificate = module.run_command(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"])[1]
    code, of_key, _error = module.run_command(["openssl", "pkey", "-in", key, "-pubout"])
    return code != 0 or of_certificate.strip() != of_key.strip()


def _make(module, item):
    """Write key and certificate beside their places, then move them there."""
    certificate, key = item["tls"]["certificate"], item["tls"]["key"]
    for path in (certificate, key):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    directory = tempfile.mkdtemp(dir=os.path.dirname(key))
    try:
        new_key, new_certificate = os.path.join(directory, "key"), os.path.join(directory, "certificate")
        names = ",".join(_name(domain) for domain in item["domains"])
        code, _output, error = module.run_command(
            [
                *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-sha256", "-days", str(DAYS), "-subj", "/O=self-signed by webstack.django"),
                *("-addext", f"subjectAltName={names}", "-keyout", new_key, "-out", new_certificate),
            ]
        )
        if code != 0:
            module.fail_json(msg=f"{certificate}: openssl cannot make it for {names}: {error.strip()}")
        os.chmod(new_key, 0o600)
        os.chmod(new_certificate, 0o644)
        os.rename(new_key, key)
        os.rename(new_certificate, certificate)
    finally:
        shutil.rmtree(directory)


def _repair(item, check_mode):
    """Put mode and owner of the key back; says whether they were wrong."""
    key = item["tls"]["key"]
    if not os.path.isfile(key):
        return False
    info = os.stat(key)
    if info.st_mode & 0o7777 == 0o600 and info.st_uid == 0 and info.st_gid == 0:
        return False
    if not check_mode:
        os.chown(key, 0, 0)
        os.chmod(key, 0o600)
    return True


def main():
    options = {
        "domains": {"type": "list", "elements": "str", "required": True},
        "tls": {"type": "dict", "required": True},
    }
    module = AnsibleModule(
        argument_spec={"certificates": {"type": "list", "elements": "dict", "required": True, "options": options}},
        supports_check_mode=True,
    )
    made = []
    module.run_command_environ_update = {"LC_ALL": "C.UTF-8"}
    for item in module.params["certificates"]:
        if module.get_bin_path("openssl") is None:
            wanted = True
            if not module.check_mode:
                module.fail_json(msg="openssl is not installed; install its package before the certificates")
        else:
            wanted = _wanted(module, item)
        if wanted and not module.check_mode:
            _make(module, item)
        if wanted or _repair(item, module.check_mode):
            made.append(item["tls"]["certificate"])
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
