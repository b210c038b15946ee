# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a domain could be validated, asked of real name servers and web servers on this machine."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webstack.django.plugins.module_utils.acme import dns
from ansible_collections.webstack.django.plugins.module_utils.acme.preflight import PLACE, Preflight, own_addresses

Records = dict[tuple[str, int], list[bytes]]
HERE = socket.inet_aton("127.0.0.1")
ELSEWHERE = socket.inet_aton("127.0.0.9")


def caa(tag: str, value: str) -> bytes:
    return bytes([0, len(tag)]) + tag.encode() + value.encode()


class Resolver(threading.Thread):
    """A name server; `code` is what it answers with."""

    def __init__(self, records: Records, code: int = 0) -> None:
        super().__init__(daemon=True)
        self.records = records
        self.code = code
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.where = dns.Server("127.0.0.1", self.udp.getsockname()[1])
        self.start()

    def run(self) -> None:
        while True:
            message, peer = self.udp.recvfrom(9999)
            labels, offset = [], 12
            while message[offset]:
                labels.append(message[offset + 1 : offset + 1 + message[offset]].decode())
                offset += 1 + message[offset]
            kind = struct.unpack("!H", message[offset + 1 : offset + 3])[0]
            found = self.records.get((".".join(labels), kind), [])
            # An alias comes before what it leads to.
            answers = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 60, 2) + b"\xc0\x0c"
            for data in found:
                answers += b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(data)) + data
            head = message[:2] + struct.pack("!5H", 0x8180 | self.code, 1, 1 + len(found), 0, 0)
            self.udp.sendto(head + message[12 : offset + 5] + answers, peer)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """web() -> port: a web server of the webroot, or one that answers something else."""
    servers = []

    def start(status: int = 0, location: str = "", address: str = "127.0.0.1") -> int:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(tmp_path))

            def do_GET(self) -> None:
                if not status:
                    super().do_GET()
                    return
                self.send_response(status)
                if location:
                    self.send_header("Location", location.format(self.path))
                self.end_headers()
                self.wfile.write(b"<h1>Welcome to my other host</h1>")

            def log_message(self, *_words: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer((address, 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., list[str]]:
    def run(records: Records, port: int, *domains: str, code: int = 0, public: bool = False, **more: Any) -> list[str]:
        servers = [Resolver(records, code).where]
        looker = Preflight(
            str(tmp_path), servers, ["ca.example.net"], more.get("local", ["192.0.2.1"]), public, port, timeout=1
        )
        return looker.problems(domains or ["a.example.com"])

    return run


def test_a_domain_that_leads_here(look: Callable[..., list[str]], web: Callable[..., int], tmp_path: Path) -> None:
    assert look({("a.example.com", dns.A): [HERE]}, web()) == []
    assert list((tmp_path / PLACE).iterdir()) == []


def test_no_record(look: Callable[..., list[str]]) -> None:
    assert look({}, 80) == [
        "a.example.com: it has no A or AAAA record yet; make one that leads to this server (its own addresses: 192.0.2.1)"
    ]
    assert look({}, 80, code=2) == ["a.example.com: its records cannot be looked up (127.0.0.1: SERVFAIL)"]


def test_nobody_answers(look: Callable[..., list[str]]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        refused = f"port {port} refuses connections"
        assert look({("a.example.com", dns.A): [HERE]}, port) == [
            f"a.example.com: its A record leads to 127.0.0.1, this server, where {refused}"
        ]
        # One of two: both have to be right.
        two = {("a.example.com", dns.A): [HERE, ELSEWHERE]}
        assert len(look(two, port)) == 2


def test_a_port_that_swallows(look: Callable[..., list[str]]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        held = [socket.socket() for _time in range(4)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        (words,) = look({("a.example.com", dns.A): [HERE]}, port)
        assert words.endswith(f"port {port} does not answer (is a firewall in between?)")
        for one in held:
            one.close()


def test_somebody_else_answers(look: Callable[..., list[str]], web: Callable[..., int]) -> None:
    (words,) = look({("a.example.com", dns.A): [HERE]}, web(404))
    assert words.startswith(
        "a.example.com: its A record leads to 127.0.0.1, this server, where the answer is not ours: status 404, server "
    )
    assert words.endswith("'<h1>Welcome to my other host</h1>'")
    (words,) = look({("a.example.com", dns.A): [HERE]}, web(302, "https://parking.example.net/"))
    assert "status 302 to https://parking.example.net/" in words


def test_a_redirect_of_its_own_is_followed(look: Callable[..., list[str]], web: Callable[..., int]) -> None:
    port = web()
    assert look({("a.example.com", dns.A): [HERE]}, web(301, f"http://a.example.com:{port}{{}}")) == []
    (words,) = look({("a.example.com", dns.A): [HERE]}, web(301, "http://a.example.com:%d{}" % web(404)))
    assert "status 404" in words


def test_only_the_ipv6_record_is_wrong(look: Callable[..., list[str]], web: Callable[..., int]) -> None:
    records = {
        ("a.example.com", dns.A): [HERE],
        ("a.example.com", dns.AAAA): [socket.inet_pton(socket.AF_INET6, "::1")],
    }
    (words,) = look(records, web())
    assert words.startswith(
        "a.example.com: only its AAAA record is wrong, and an authority prefers IPv6: its AAAA record leads to ::1, "
    )
    assert words.endswith("; correct or remove that record")


def test_an_address_that_is_not_of_the_internet(look: Callable[..., list[str]], web: Callable[..., int]) -> None:
    assert look({("a.example.com", dns.A): [socket.inet_aton("10.0.0.5")]}, web(), public=True) == [
        "a.example.com: its A record leads to 10.0.0.5, which is not an address of the internet"
    ]


@pytest.mark.parametrize(
    ("owner", "values", "allowed"),
    [
        ("a.example.com", [("issue", "ca.example.net")], True),
        ("a.example.com", [("issue", "CA.example.net; validationmethods=http-01")], True),
        ("a.example.com", [("issue", "other.example"), ("issue", "ca.example.net")], True),
        ("a.example.com", [("iodef", "mailto:x@example.com")], True),
        ("example.com", [("issue", "other.example")], False),
        ("com", [("issue", ";")], False),
        ("a.example.com", [("issuewild", ";")], True),
    ],
)
def test_caa(
    look: Callable[..., list[str]], web: Callable[..., int], owner: str, values: list[tuple[str, str]], allowed: bool
) -> None:
    records = {("a.example.com", dns.A): [HERE], (owner, dns.CAA): [caa(*one) for one in values]}
    found = look(records, web())
    assert (found == []) is allowed
    if not allowed:
        assert found[0].startswith(f"a.example.com: the CAA record of {owner} allows ")


def test_a_record_of_its_own_counts_before_those_above(look: Callable[..., list[str]], web: Callable[..., int]) -> None:
    records = {
        ("a.example.com", dns.A): [HERE],
        ("a.example.com", dns.CAA): [caa("issue", "ca.example.net")],
        ("example.com", dns.CAA): [caa("issue", ";")],
    }
    assert look(records, web()) == []


def test_name_servers(tmp_path: Path) -> None:
    assert dns.server("192.0.2.53") == ("192.0.2.53", 53)
    assert dns.server("192.0.2.53:5353") == ("192.0.2.53", 5353)
    assert dns.server("2001:db8::53") == ("2001:db8::53", 53)
    assert dns.server("[2001:db8::53]:5353") == ("2001:db8::53", 5353)
    (tmp_path / "resolv.conf").write_text("search x\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n")
    assert dns.system_servers(str(tmp_path / "resolv.conf")) == [("192.0.2.1", 53), ("2001:db8::1", 53)]
    assert dns.system_servers("/nowhere") == [("127.0.0.1", 53)]


def test_an_answer_that_is_none() -> None:
    for message in (b"", b"\0\1\x81\x80\0\0\0\1\0\0\0\0", b"\0\2\x81\x80" + bytes(8)):
        with pytest.raises(dns.DnsError):
            dns.records(message, dns.A, 1)
    with pytest.raises(dns.DnsError, match=r"127\.0\.0\.1: "):
        dns.query("a.example.com", dns.A, [dns.Server("127.0.0.1", 1)], timeout=0.2)


def test_a_second_name_server_is_asked_where_the_first_one_fails() -> None:
    good = Resolver({("a.example.com", dns.A): [HERE]})
    assert dns.addresses("a.example.com", [Resolver({}, code=5).where, good.where]) == ["127.0.0.1"]


def test_addresses_of_this_host() -> None:
    said = (
        "2: eth0    inet 192.0.2.5/24 brd 192.0.2.255 scope global eth0\n2: eth0    inet6 2001:db8::5/64 scope global\n"
    )
    assert own_addresses(lambda _argv: (0, said, "")) in (["192.0.2.5", "2001:db8::5"], [])
