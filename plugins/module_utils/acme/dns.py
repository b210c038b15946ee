# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask name servers, as a certificate authority does: /etc/hosts, where many servers have their own name, does not count.

RFC 1035 for the messages, RFC 8659 for CAA.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

A, AAAA, CAA = 1, 28, 257
TIMEOUT = 3.0  # seconds for one name server
_PORT = 53
_CODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}
_NXDOMAIN = 3


class DnsError(Exception):
    """No name server gave an answer; the message says what happened."""


class Server(NamedTuple):
    """A name server."""

    address: str
    port: int = _PORT


class CaaRecord(NamedTuple):
    """Who may issue certificates of a name."""

    tag: str
    value: str


def server(text: str) -> Server:
    """``192.0.2.53``, ``192.0.2.53:5353``, ``[2001:db8::53]:5353`` or an IPv6 address as it is."""
    try:
        return Server(str(ipaddress.ip_address(text)))
    except ValueError:
        address, _colon, port = text.rpartition(":")
        return Server(address.strip("[]"), int(port))


def system_servers(path: str = "/etc/resolv.conf") -> list[Server]:
    """The name servers that this host asks."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            words = [line.split() for line in file]
    except OSError:
        words = []
    found = [Server(line[1]) for line in words if len(line) > 1 and line[0] == "nameserver"]
    return found or [Server("127.0.0.1")]


def question(name: str, kind: int, number: int) -> bytes:
    """The message that asks for records of a kind, with recursion."""
    labels = b"".join(bytes([len(label)]) + label for label in name.rstrip(".").encode("ascii").split(b".") if label)
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def _after_name(message: bytes, offset: int) -> int:
    while True:
        length = message[offset]
        if length & 0xC0:
            return offset + 2
        offset += 1 + length
        if not length:
            return offset


def records(message: bytes, kind: int, number: int) -> list[bytes]:
    """The data of the records of a kind in an answer. Raises ``DnsError`` for anything else than an answer."""
    try:
        given, flags, questions, answers = struct.unpack("!4H", message[:8])
        if given != number or not flags & 0x8000:
            raise DnsError("it sent something else than an answer")
        code = flags & 0xF
        if code and code != _NXDOMAIN:
            raise DnsError(_CODES.get(code, "error %d" % code))
        offset = 12
        for _time in range(questions):
            offset = _after_name(message, offset) + 4
        found = []
        for _time in range(answers):
            offset = _after_name(message, offset)
            this, _class, _ttl, length = struct.unpack("!2HIH", message[offset : offset + 10])
            offset += 10
            if this == kind:
                found.append(message[offset : offset + length])
            offset += length
        return found
    except (IndexError, struct.error):
        raise DnsError("it sent an answer that is cut") from None


def _by_udp(where: Server, message: bytes, timeout: float) -> bytes:
    family = socket.AF_INET6 if ":" in where.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.settimeout(timeout)
        channel.connect((where.address, where.port))
        channel.send(message)
        return channel.recv(65535)


def _by_tcp(where: Server, message: bytes, timeout: float) -> bytes:
    with socket.create_connection((where.address, where.port), timeout) as channel:
        channel.sendall(struct.pack("!H", len(message)) + message)
        with channel.makefile("rb") as stream:
            return stream.read(struct.unpack("!H", stream.read(2))[0])


def query(name: str, kind: int, servers: Sequence[Server], timeout: float = TIMEOUT) -> list[bytes]:
    """The data of all records of a kind; empty where there are none or no such name. Each server is asked once."""
    failures = []
    for where in servers:
        number = secrets.randbelow(65536)
        message = question(name, kind, number)
        try:
            answer = _by_udp(where, message, timeout)
            if len(answer) > 3 and answer[2] & 0x02:  # cut to the size of a datagram
                answer = _by_tcp(where, message, timeout)
            return records(answer, kind, number)
        except (DnsError, OSError, struct.error) as error:
            words = "no answer" if isinstance(error, socket.timeout) else str(error)
            failures.append("%s: %s" % (where.address, words))
    raise DnsError("; ".join(failures) or "no name server is known")


def addresses(name: str, servers: Sequence[Server]) -> list[str]:
    """All addresses of a name, IPv4 first."""
    found = [socket.inet_ntop(socket.AF_INET, data) for data in query(name, A, servers) if len(data) == 4]
    return found + [socket.inet_ntop(socket.AF_INET6, data) for data in query(name, AAAA, servers) if len(data) == 16]


def caa(name: str, servers: Sequence[Server]) -> tuple[str, list[CaaRecord]]:
    """The records that count for a name, and the name that has them: its own, or those of the nearest one above."""
    labels = name.split(".")
    for start in range(len(labels)):
        above = ".".join(labels[start:])
        found = []
        for data in query(above, CAA, servers):
            if len(data) > 2:
                end = 2 + data[1]
                found.append(
                    CaaRecord(data[2:end].decode("ascii", "replace").lower(), data[end:].decode("utf-8", "replace"))
                )
        if found:
            return above, found
    return name, []


def forbids(found: Sequence[CaaRecord], identities: Sequence[str]) -> bool:
    """Whether these records forbid an authority, known by these names, to issue for a name that is no wildcard."""
    issuers = [one.value.partition(";")[0].strip().lower() for one in found if one.tag == "issue"]
    return bool(issuers) and not set(issuers) & {one.lower() for one in identities}
