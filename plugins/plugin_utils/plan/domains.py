# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Host names as users write them."""

from __future__ import annotations

import ipaddress
import re

# Two standards of international names disagree about these, and so would browsers: 'ß' is 'ss' in the older one only.
_DISPUTED = re.compile("[\u00df\u03c2\u200c\u200d]")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # Django refuses a Host with an underscore, too


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def normal(name: str) -> tuple[str, str]:
    """The form of a host name that servers compare, and what is wrong with it (or an empty string).

    Lower case, international names in punycode (RFC 5891), ``*.`` allowed in front. IP addresses pass.
    """
    text = name.strip().lower().rstrip(".")
    if is_address(text):
        if "%" in text:
            return text, f"{name!r} is an address of one network card; give one that others reach"
        return str(ipaddress.ip_address(text)), ""
    if not text:
        return text, f"{name!r} is empty; give a host name like 'www.example.com'"
    if re.search(r"\s", text):
        return text, f"{name!r} is not a domain; it has a space in it, and each domain is an item of the list"
    if _DISPUTED.search(text):
        return text, f"{name!r} is written in two ways in punycode; give the one that is registered ('xn--...')"
    if "://" in text or "/" in text:
        return text, f"{name!r} is not a domain; write only the host name, without scheme and path"
    if re.search(r":\d+$", text):
        return text, f"{name!r} is not a domain; write it without the port"
    wildcard = text.startswith("*.")
    bare = text[2:] if wildcard else text
    try:
        bare = bare.encode("ascii").decode() if bare.isascii() else bare.encode("idna").decode()
    except UnicodeError:
        return text, f"{name!r} is not a domain: it cannot be written in punycode"
    labels = bare.split(".")
    if len(bare) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return text, f"{name!r} is not a domain; letters, digits and '-' between dots, like 'www.example.com'"
    if labels[-1].isdigit():
        return text, f"{name!r} is neither a domain nor an IP address"
    if len(labels) < 2 and (wildcard or bare != "localhost"):
        return text, f"{name!r} is not a domain; write it in full, like '{bare}.example.com'"
    return ("*." if wildcard else "") + bare, ""
