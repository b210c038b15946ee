# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the certificate of each site comes from, and whether one that was given can be its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.webstack.django.plugins.plugin_utils.plan.domains import is_address

if TYPE_CHECKING:
    from ansible_collections.webstack.django.plugins.plugin_utils.plan.context import World

MOST_NAMES = 100  # in a certificate of Let's Encrypt
_DIRECTORY = "/etc/webstack/tls"
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s.,;<>]+")


def names(site: Mapping[str, Any]) -> list[str]:
    """All names that the certificate of a validated site must have."""
    return [*site["domains"], *site["redirect_domains"]]


def _unfit(found: Sequence[str]) -> str:
    """Why an authority that looks by HTTP gives no certificate of these names; empty where it does."""
    for name in found:
        if is_address(name):
            return f"{name!r} is an IP address"
        if name.startswith("*."):
            return f"{name!r} is a wildcard, which an authority does not validate by HTTP"
        if "." not in name:
            return f"{name!r} is no name of the internet"
    return (
        f"there are {len(found)} names, and a certificate has {MOST_NAMES} at most" if len(found) > MOST_NAMES else ""
    )


def mistakes(site: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with the key ``tls`` of a present site: key and words."""
    given = site["tls"]
    mode, parts = given["mode"], [key for key in ("certificate", "key") if given[key]]
    if mode == "acme" and _unfit(names(site)):
        return [("tls.mode", f"is acme, and {_unfit(names(site))}; choose provided or selfsigned")]
    if (mode == "provided" or (mode == "auto" and parts)) and len(parts) < 2:
        missing = "key" if given["certificate"] else "certificate"
        return [
            (
                f"tls.{missing}",
                "is missing; a certificate is provided with its key, each as a file on the controller or as PEM text",
            )
        ]
    if mode in ("acme", "selfsigned", "off") and parts:
        return [(f"tls.{parts[0]}", f"belongs to the mode provided, and the mode is {mode}; remove one of the two")]
    return []


def mode(site: Mapping[str, Any], email: str, web: Sequence[str]) -> tuple[str, str]:
    """The mode of a validated site, and why it is not ``acme`` where one could expect that.

    Args:
        site: as `validate.sites` gives it.
        email: ``tls_email``.
        web: the servers that serve it.
    """
    given = str(site["tls"]["mode"])
    if given != "auto":
        return given, ""
    if site["tls"]["certificate"]:
        return "provided", ""
    if not email:
        return "selfsigned", ""
    why = _unfit(names(site))
    if not why and len(web) > 1:
        why = f"its web servers are {', '.join(web)}, and only one of several would be asked by an authority"
    return ("selfsigned", f"its certificate is self-signed, since {why}; see the key tls") if why else ("acme", "")


def topology(world: World, web: Sequence[str]) -> list[tuple[str, str, str]]:
    """Sites that cannot be validated where they are served: site, key and words."""
    if len(web) < 2:
        return []
    text = (
        f"is acme, and the site has several web servers ({', '.join(web)}): an authority asks one of them, which the others know "
        "nothing of. Choose provided, or off with a load balancer that ends TLS"
    )
    return [(site.name, "tls.mode", text) for site in world.live if site.given["tls"]["mode"] == "acme"]


def email_mistake(value: Any) -> str:
    """What is wrong with ``tls_email``."""
    if value in (None, "") or (isinstance(value, str) and _EMAIL.fullmatch(value)):
        return ""
    return f"{value!r} is not a mail address like you@example.com"


def files(site: str) -> dict[str, str]:
    """Where web servers find certificate and key."""
    return {"certificate": f"{_DIRECTORY}/{site}/fullchain.pem", "key": f"{_DIRECTORY}/{site}/privkey.pem"}


def items(world: World, host: str) -> list[dict[str, Any]]:
    """``tls_certificates`` of one server; empty where there is nothing but what the web server makes itself."""
    web = world.tiers["web"]
    found: list[dict[str, Any]] = []
    plain = True
    for site in world.sites:
        if not site.present:
            found.append({"name": site.name, "mode": "absent"})
            continue
        kind, reason = mode(site.given, world.tls_email, web)
        automatic = site.given["tls"]["mode"] == "auto"
        plain = plain and kind == "selfsigned" and automatic and not world.tls_email
        item: dict[str, Any] = {"name": site.name, "mode": kind, "domains": names(site.given), "reason": reason}
        if kind != "off":
            item.update(files(site.name), keep=automatic and kind == "selfsigned")
        if kind == "provided":
            item.update(certificate_pem=site.given["tls"]["certificate"], key_pem=site.given["tls"]["key"])
        found.append(item)
    return [] if plain else found


# Provided certificates -----------------------------------------------------------------------------


def load(text: str, read: Callable[[str], bytes]) -> str:
    """The PEM text that was given, or that of the file. Raises ``OSError`` or ``ValueError``."""
    if "-----BEGIN" in text:
        return text.strip() + "\n"
    return read(str(Path(text).expanduser())).decode("ascii").strip() + "\n"


def examine(chain: str, key: str, wanted: Sequence[str], now: datetime | None = None) -> list[tuple[str, str]]:
    """What is wrong with a certificate, its chain and its key: ``certificate`` or ``key``, and words."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        found = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return [("certificate", "is no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")]
    problems = []

    def of(one: Any) -> bytes:
        return bytes(one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    leaf = found[0]
    try:
        public = of(load_pem_private_key(key.encode(), None).public_key())
    except TypeError:
        return [
            (
                "key",
                "is encrypted with a password, which nobody types when a web server starts; decrypt it: openssl pkey -in KEY -out NEW",
            )
        ]
    except (ValueError, UnsupportedAlgorithm):
        return [("key", "is no private key in PEM")]
    if of(leaf.public_key()) != public:
        later = [number for number, one in enumerate(found) if of(one.public_key()) == public]
        text = (
            "is in the wrong order: the site's own certificate comes first, then the one that signed it, and so on"
            if later
            else "does not belong to tls.key; its key is another one"
        )
        problems.append(("certificate", text))
        leaf = found[later[0]] if later else leaf
    else:
        for one, issuer in zip(found, found[1:], strict=False):
            try:
                one.verify_directly_issued_by(issuer)
            except (ValueError, TypeError, InvalidSignature):
                text = f"has a chain in the wrong order: {_short(one.subject)} was not signed by {_short(issuer.subject)}, which comes next"
                problems.append(("certificate", text))
                break
    moment = now or datetime.now(UTC)
    if leaf.not_valid_after_utc < moment:
        problems.append(("certificate", f"expired on {leaf.not_valid_after_utc:%Y-%m-%d}; give a newer one"))
    elif leaf.not_valid_before_utc > moment:
        problems.append(("certificate", f"is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"))
    missing = [name for name in wanted if not _covers(leaf, name)]
    if missing:
        problems.append(("certificate", f"does not name {', '.join(missing)}"))
    return problems


def _short(name: Any) -> str:
    return repr(name.rfc4514_string())


def _covers(leaf: Any, name: str) -> bool:
    from cryptography import x509

    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    if is_address(name):
        return name in [str(one) for one in alternatives.get_values_for_type(x509.IPAddress)]
    known = [one.lower() for one in alternatives.get_values_for_type(x509.DNSName)]
    return name in known or "*." + name.partition(".")[2] in known
