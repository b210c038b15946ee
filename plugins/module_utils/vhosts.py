# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual hosts that the roles nginx and apache wrote, and the application servers behind them.

Both roles write a site's application servers one a line, in a block that carries the site's name.
"""

from __future__ import annotations

import glob
import os
import re
from typing import Callable, NamedTuple

PAGES = "/etc/webstack/maintenance"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")  # what the roles take


class VhostError(Exception):
    """What is not there or cannot be done, in words for the user."""


class WebServer(NamedTuple):
    """Where a web server has the file of a site, and how the application servers are written in it."""

    name: str
    unit: str
    file: str
    check: list[str]  # as the role runs it
    block: str
    server: str
    single: str  # the only application server, where the role writes no block
    down: str  # what a server has in its line that gets no requests


_MEMBER = r'"(?:unix:(?P<socket>[^|"\n]+)\|)?\w+://(?P<host>[^"/\n]+)/?"'
WEB_SERVERS = (
    WebServer(
        "nginx",
        "nginx.service",
        "/etc/nginx/webstack.d/{}.conf",
        ["nginx", "-t", "-q"],
        r"^upstream webstack_{} \{{\n(?P<body>.*?)^\}}",
        r"^ *server (?:unix:)?(?P<host>[^\s;]+)(?P<more>[^;\n]*);",
        "",
        "down",
    ),
    WebServer(
        "apache",
        "apache2.service",
        "/etc/apache2/sites-available/webstack-{}.conf",
        ["/usr/bin/python3", "/usr/local/lib/webstack/apache-check"],
        r'^<Proxy "balancer://webstack-{}">\n(?P<body>.*?)^</Proxy>',
        rf"^ *BalancerMember {_MEMBER}(?P<more>[^\n]*)",
        rf'^ *ProxyPass "/" (?!"balancer:){_MEMBER}',
        "status=+D",
    ),
)


class Server(NamedTuple):
    """An application server of a site."""

    address: str  # address and port, or the path of a unix socket
    active: bool
    place: tuple[int, int]  # of its parameters in the file


def page_file(site: str) -> str:
    """The file that puts a site into maintenance by being there."""
    return f"{PAGES}/{site}.html"


class Vhost:
    """The virtual host of one site."""

    def __init__(self, site: str, web: WebServer, path: str, text: str, running: bool = True) -> None:
        self.site = site
        self.web = web
        self.path = path
        self.text = text
        self.running = running  # whether its web server is

    def servers(self) -> list[Server]:
        """The application servers, in the order of the file."""
        block = re.search(self.web.block.format(re.escape(self.site)), self.text, re.MULTILINE | re.DOTALL)
        if block is None:
            single = re.search(self.web.single, self.text, re.MULTILINE) if self.web.single else None
            return [Server(single["socket"] or single["host"], True, (0, 0))] if single else []
        found = []
        for line in re.compile(self.web.server, re.MULTILINE).finditer(self.text, *block.span("body")):
            address = line.groupdict().get("socket") or line["host"]
            found.append(Server(address, self.web.down not in line["more"].split(), line.span("more")))
        return found

    def switched(self, address: str, active: bool) -> str:
        """The text of the file in which one application server gets requests, or none any more."""
        servers = self.servers()
        wanted = address.removeprefix("unix:")
        found = next((one for one in servers if one.address == wanted), None)
        if found is None:
            known = ", ".join(one.address for one in servers) or "none"
            raise VhostError(
                f"site {self.site}: address {address!r} is not one of its application servers in {self.path}; "
                f"there are: {known}"
            )
        if found.active == active:
            return self.text
        if not active and not any(one.active for one in servers if one is not found):
            raise VhostError(
                f"site {self.site}: {address} is the last application server that gets requests, so it is not drained; "
                "bring another one back first (state: active)"
            )
        start, end = found.place
        words = [word for word in self.text[start:end].split() if word != self.web.down]
        more = "".join(f" {word}" for word in (words if active else [*words, self.web.down]))
        return self.text[:start] + more + self.text[end:]


def find(site: str, running: Callable[[str], bool], root: str = "") -> Vhost:
    """The virtual host of a site; that of the web server that runs, where two have one.

    Raises ``VhostError`` where there is none.
    """
    found = []
    for web in WEB_SERVERS:
        path = root + web.file.format(site)
        if _NAME.fullmatch(site) and os.path.isfile(path):
            found.append((web, path))
    if not found:
        known: set[str] = set()
        for web in WEB_SERVERS:
            head, tail = (root + web.file).split("{}")
            known.update(path[len(head) : -len(tail)] for path in glob.glob(f"{head}*{tail}"))
        raise VhostError(
            f"site {site}: this server has no virtual host of it (there are: {', '.join(sorted(known - {'00-default'})) or 'none'}); run the "
            "playbook webstack.django.site first, or correct the name"
        )
    used = next((one for one in found if running(one[0].unit)), None)
    web, path = used or found[0]
    with open(path, encoding="utf-8") as file:
        return Vhost(site, web, path, file.read(), used is not None)
