# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an authority could validate a domain now, and if not why, in words: it counts every failed attempt.

The proof is an own challenge: a file with a secret is laid into the webroot and fetched by way of each address that the
name has. What the addresses are does not matter then, a load balancer may stand in between.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import os
import secrets
import shutil
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Callable
from urllib.parse import urlsplit

from ansible_collections.webstack.django.plugins.module_utils.acme import dns

PLACE = ".well-known/acme-challenge"
SECONDS = 5.0  # to connect, and for the answer
_HOPS = 3  # redirects that are followed
_SHOWN = 60

Runner = Callable[[list[str]], tuple[int, str, str]]


class Foreign(Exception):
    """Something answered, and it was not us."""


def own_addresses(run: Runner) -> list[str]:
    """The addresses of this host that others could reach."""
    if not shutil.which("ip"):
        return []
    _code, output, _error = run(["ip", "-o", "addr", "show", "scope", "global"])
    words = [line.split() for line in output.splitlines()]
    return list(dict.fromkeys(line[3].partition("/")[0] for line in words if len(line) > 3))


@contextlib.contextmanager
def challenge(webroot: str) -> Iterator[tuple[str, str]]:
    """The URL path of a file that is there for a moment, and its content."""
    directory = os.path.join(webroot, PLACE)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    name, content = "webstack-" + secrets.token_hex(8), secrets.token_hex(16)
    path = os.path.join(directory, name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        yield "/%s/%s" % (PLACE, name), content
    finally:
        os.unlink(path)


def fetch(address: str, name: str, path: str, content: str, port: int = 80, timeout: float = SECONDS) -> None:
    """Ask one address for the file. Raises ``Foreign`` where somebody else answers, ``OSError`` where nobody does."""
    secure = False
    for _hop in range(_HOPS + 1):
        plain = socket.create_connection((address, port), timeout)
        connection = http.client.HTTPConnection(name, port, timeout=timeout)
        # An authority follows a redirect to HTTPS and looks at no certificate there.
        connection.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname=name) if secure else plain
        try:
            connection.request(
                "GET", path, headers={"Host": name, "Connection": "close", "User-Agent": "webstack.django"}
            )
            reply = connection.getresponse()
            body = reply.read(4096)
        except http.client.HTTPException as error:
            raise Foreign("it speaks no HTTP (%s)" % type(error).__name__) from None
        finally:
            connection.close()
        if reply.status == 200 and body.decode("utf-8", "replace").strip() == content:
            return
        target = urlsplit(reply.headers.get("Location") or "")
        if reply.status not in (301, 302, 303, 307, 308) or target.hostname != name:
            break
        secure = target.scheme == "https"
        port, path = target.port or (443 if secure else 80), target.path or "/"
    raise Foreign(_answer(reply, body))


def _answer(reply: http.client.HTTPResponse, body: bytes) -> str:
    words = "status %d" % reply.status
    if reply.headers.get("Location"):
        words += " to " + str(reply.headers["Location"])
    if reply.headers.get("Server"):
        words += ", server %s" % reply.headers["Server"]
    text = " ".join(body.decode("utf-8", "replace").split())
    return words + (", '%s'" % (text if len(text) <= _SHOWN else text[:_SHOWN] + "...") if text else "")


class Preflight:
    """Looks at domains.

    Args:
        webroot: where challenges lie.
        servers: the name servers to ask.
        identities: the names by which CAA records know the authority; none where it does not say.
        local: the addresses of this host.
        public: whether the authority asks by way of the internet.
    """

    def __init__(
        self,
        webroot: str,
        servers: Sequence[dns.Server],
        identities: Sequence[str],
        local: Sequence[str],
        public: bool,
        port: int = 80,
        timeout: float = SECONDS,
    ) -> None:
        self.webroot = webroot
        self.servers = servers
        self.identities = identities
        self.local = local
        self.public = public
        self.port = port
        self.timeout = timeout

    def problems(self, domains: Sequence[str]) -> list[str]:
        """Why these domains cannot be validated yet, each with its name; empty where they can."""
        found = []
        with challenge(self.webroot) as (path, content):
            for name in domains:
                found += ["%s: %s" % (name, words) for words in self._domain(name, path, content)]
        return found

    def _domain(self, name: str, path: str, content: str) -> list[str]:
        try:
            addresses = dns.addresses(name, self.servers)
        except dns.DnsError as error:
            return ["its records cannot be looked up (%s)" % error]
        if not addresses:
            return ["it has no A or AAAA record yet; make one that leads to this server (%s)" % self._own()]
        wrong = {
            address: words for address in addresses for words in [self._address(address, name, path, content)] if words
        }
        if wrong and all(":" in address for address in wrong) and any("." in address for address in addresses):
            return [
                "only its AAAA record is wrong, and an authority prefers IPv6: %s; correct or remove that record"
                % words
                for words in wrong.values()
            ]
        return list(wrong.values()) + self._caa(name)

    def _own(self) -> str:
        return "its own addresses: %s" % (", ".join(self.local) or "unknown")

    def _address(self, address: str, name: str, path: str, content: str) -> str:
        """What is wrong with one of its addresses."""
        kind = "AAAA" if ":" in address else "A"
        here = address in self.local or ipaddress.ip_address(address).is_loopback
        if self.public and not ipaddress.ip_address(address).is_global:
            return "its %s record leads to %s, which is not an address of the internet" % (kind, address)
        try:
            fetch(address, name, path, content, self.port, self.timeout)
            return ""
        except Foreign as error:
            words = "somebody else answers: %s" % error if not here else "the answer is not ours: %s" % error
        except OSError as error:
            if kind == "AAAA" and error.errno in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return "its AAAA record leads to %s, and this server has no IPv6 by which to see it" % address
            words = _refusal(error, self.port)
        where = "this server" if here else "another address than this server's (%s)" % self._own()
        return "its %s record leads to %s, %s, where %s" % (kind, address, where, words)

    def _caa(self, name: str) -> list[str]:
        if not self.identities:
            return []
        try:
            owner, found = dns.caa(name, self.servers)
        except dns.DnsError:
            return []  # some resolvers do not know these records; the authority will say
        if not dns.forbids(found, self.identities):
            return []
        allowed = ", ".join(dict.fromkeys(one.value or "nobody" for one in found if one.tag == "issue"))
        return [
            "the CAA record of %s allows %s only, and not this authority (%s)"
            % (owner, allowed, ", ".join(self.identities))
        ]


def _refusal(error: OSError, port: int) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "port %d refuses connections" % port
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "port %d does not answer (is a firewall in between?)" % port
    if isinstance(error, ssl.SSLError):
        return "it redirects to HTTPS, which fails: %s" % error
    return "port %d cannot be reached: %s" % (port, error.strerror or error)
