# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Openings of a firewall as rules of nftables."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
COMMENT = 120  # characters; nftables takes 128 bytes


class OpeningError(Exception):
    """What is wrong with an opening; the message is for the user."""


def _port(given: Any) -> str:
    found = _PORT.fullmatch(str(given))
    ends = [int(one) for one in found.groups() if one] if found else []
    if not ends or not all(0 < one < 65536 for one in ends) or ends != sorted(set(ends)):
        raise OpeningError(f"port: {given!r} is neither a port (1 to 65535) nor a range like '8000-8010'")
    return "-".join(map(str, ends))


def networks(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Addresses and networks of both families, each as few as possible, in the order of their numbers.

    Raises:
        OpeningError: where one is neither.
    """
    found: list[Network] = []
    for one in given:
        try:
            found.append(ipaddress.ip_network(str(one)))
        except ValueError as error:
            raise OpeningError(f"{one!r} is neither an address nor a network ({error})") from None
    old = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv4Network))
    new = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv6Network))
    return list(map(_short, old)), list(map(_short, new))


def _short(network: Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _sources(given: Sequence[str]) -> list[str]:
    """The beginning of a rule for each family; one for both where anybody may come."""
    families = zip(("ip", "ip6"), networks(given))
    found = [f"{family} saddr {{ {', '.join(one)} }} " for family, one in families if one]
    return found if given else [""]


def rules(openings: Iterable[Mapping[str, Any]], verdict: str = "accept") -> list[str]:
    """Rules for what the openings say: ``port`` (any, if there is none), ``protocol``, ``from`` and ``comment`` each.

    Raises:
        OpeningError: for a port, an address or a comment that cannot be.
    """
    found = []
    for opening in openings:
        comment = str(opening.get("comment") or "")
        try:
            protocol = opening.get("protocol") or "tcp"
            port = f"{protocol} dport {_port(opening['port'])} " if "port" in opening else ""
            if protocol not in ("tcp", "udp"):
                raise OpeningError(f"protocol: {protocol!r} is neither tcp nor udp")
            if len(comment.encode()) > COMMENT or re.search(r'["\n\\]', comment):
                raise OpeningError(f"comment: at most {COMMENT} characters, no quotes, no backslash, no line break")
            sources = _sources(opening.get("from") or [])
        except OpeningError as error:
            raise OpeningError(f"the opening {dict(opening)!r}: {error}") from None
        said = f' comment "{comment}"' if comment else ""
        found += [f"{source}{port}{verdict}{said}" for source in sources]
    return list(dict.fromkeys(found))
