# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Self-signed certificates, made with openssl on the server.

What has to be made is decided by what is on the disk: a run that died between the key and the certificate
is healed by the next one.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import tempfile
from typing import Callable

DAYS = 3650
RENEW = 30 * 86400  # seconds before the end
SUBJECT = "/O=self-signed by webstack.django"
# Of a server and of nothing else: who trusts this certificate trusts no others that its key could sign.
_CONFIG = """\
[req]
distinguished_name = subject
x509_extensions = extensions
[subject]
[extensions]
subjectAltName = {names}
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
"""

_FILES = {
    "certificate": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "selfsigned": {"type": "bool", "default": True},
    "keep": {"type": "bool", "default": False},
}
_OPTIONS = {
    "domains": {"type": "list", "elements": "str", "required": True},
    "tls": {"type": "dict", "required": True, "options": _FILES},
}
SPEC = {"certificates": {"type": "list", "elements": "dict", "required": True, "options": _OPTIONS}}

Runner = Callable[[list[str]], tuple[int, str, str]]


class SelfsignedError(Exception):
    """A certificate could not be made; the message is for the user."""


def name(domain: str) -> str:
    """``blog.example.com`` as ``DNS:blog.example.com``, ``::1`` as ``IP:::1``."""
    try:
        return f"IP:{ipaddress.ip_address(domain)}"
    except ValueError:
        return f"DNS:{domain}"


def names_of(text: str) -> set[str]:
    """Subject alternative names in the output of ``openssl x509 -text``, in the form that `name` gives."""
    found = re.search(r"Subject Alternative Name:[^\n]*\n\s*([^\n]+)", text)
    names = set()
    for entry in found.group(1).split(", ") if found else []:
        kind, _colon, value = entry.partition(":")
        names.add(name(value) if kind == "IP Address" else f"DNS:{value}")
    return names


def _field(text: str, key: str) -> str | None:
    found = re.search(rf"{key}: (.*)", text)
    return found.group(1).strip() if found else None


class Certificate:
    """One key and its certificate."""

    def __init__(self, certificate: str, key: str, domains: list[str], run: Runner) -> None:
        self.certificate = certificate
        self.key = key
        self.names = [name(domain) for domain in dict.fromkeys(domains)]
        self.run = run

    def wanted(self) -> bool:
        """Whether it has to be made: missing, other names, near its end, or not of its key.

        A certificate that somebody else signed is left alone, whatever its state.
        """
        if not os.path.isfile(self.certificate):
            return True
        code, text, _error = self.run(["openssl", "x509", "-in", self.certificate, "-noout", "-text"])
        if code != 0:
            return True
        if _field(text, "Issuer") != _field(text, "Subject"):
            return False
        if not os.path.isfile(self.key) or names_of(text) != set(self.names):
            return True
        ends = ["openssl", "x509", "-in", self.certificate, "-noout", "-checkend", str(RENEW)]
        if self.run(ends)[0] != 0:
            return True
        of_certificate = self.run(["openssl", "x509", "-in", self.certificate, "-noout", "-pubkey"])[1]
        code, of_key, _error = self.run(["openssl", "pkey", "-in", self.key, "-pubout"])
        return code != 0 or of_certificate.strip() != of_key.strip()

    def exposed(self) -> bool:
        """Whether anybody but root may read the key."""
        try:
            info = os.stat(self.key)
        except FileNotFoundError:
            return False
        return (info.st_mode & 0o7777, info.st_uid, info.st_gid) != (0o600, os.geteuid(), os.getegid())

    def protect(self) -> None:
        """Give the key back to root alone."""
        os.chown(self.key, os.geteuid(), os.getegid())
        os.chmod(self.key, 0o600)

    def make(self) -> None:
        """Write key and certificate beside their places, then move them there."""
        for path in (self.certificate, self.key):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        directory = tempfile.mkdtemp(prefix=".webstack-", dir=os.path.dirname(self.key))
        try:
            key, certificate, config = (os.path.join(directory, one) for one in ("key", "certificate", "config"))
            with open(config, "w", encoding="utf-8") as file:
                file.write(_CONFIG.format(names=",".join(self.names)))
            code, _output, error = self.run(
                [
                    *("openssl", "req", "-x509", "-nodes", "-sha256", "-days", str(DAYS), "-subj", SUBJECT),
                    *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                    *("-config", config, "-keyout", key, "-out", certificate),
                ]
            )
            if code != 0:
                words = error.strip() or f"exit status {code}"
                raise SelfsignedError(
                    f"{self.certificate}: openssl cannot make it for {', '.join(self.names)}: {words}"
                )
            os.chmod(key, 0o600)
            os.chmod(certificate, 0o644)
            # Across file systems a rename would not do.
            shutil.move(certificate, self.certificate + ".new")
            os.replace(key, self.key)
            os.replace(self.certificate + ".new", self.certificate)
        finally:
            shutil.rmtree(directory)
