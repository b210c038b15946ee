# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual hosts that the roles nginx and apache wrote, and the application servers behind them.

Both roles write a site's application servers one a line, in a block that carries the site's name, and such a block without
them for each combination that may be drained. A file for each drained one tells the web server which block it is to take.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import Callable, NamedTuple

from ansible_collections.webstack.django.plugins.module_utils.release.files import read_text

PAGES = "/etc/webstack/maintenance"
DRAINED = "/run/webstack-drained"  # after a restart of the machine nothing is drained
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")  # what the roles take


class VhostError(Exception):
    """What is not there or cannot be done, in words for the user."""


class WebServer(NamedTuple):
    """Where a web server has the file of a site, and how the application servers are written in it."""

    name: str
    unit: str
    file: str
    block: str  # with those that are left out, and the site
    without: str  # what the name of a block has before the number of one that is left out
    server: str
    single: str  # the only application server, where the role writes no block


_MEMBER = r'"(?:unix:(?P<socket>[^|"\n]+)\|)?\w+://(?P<host>[^"/\n]+)/?"'
WEB_SERVERS = (
    WebServer(
        "nginx",
        "nginx.service",
        "/etc/nginx/webstack.d/{}.conf",
        r"^upstream webstack{}_{} \{{\n(?P<body>.*?)^\}}",
        "-without-",
        r"^ *server (?:unix:)?(?P<host>[^\s;]+)[^;\n]*;",
        "",
    ),
    WebServer(
        "apache",
        "apache2.service",
        "/etc/apache2/sites-available/webstack-{}.conf",
        r'^ *<Proxy "balancer://webstack{}-{}">\n(?P<body>.*?)^ *</Proxy>',
        "_without_",
        rf"^ *BalancerMember {_MEMBER}",
        rf'^ *ProxyPass "/" (?!"balancer:){_MEMBER}',
    ),
)


class Server(NamedTuple):
    """An application server of a site."""

    number: int  # from 1, in the order of the virtual host
    address: str  # address and port, or the path of a unix socket
    active: bool


def page_file(site: str) -> str:
    """The file that puts a site into maintenance by being there."""
    return f"{PAGES}/{site}.html"


def flag_file(site: str, number: int) -> str:
    """The file that drains an application server of a site by being there."""
    return f"{DRAINED}/{site}:{number}"


def drained(site: str) -> list[str]:
    """The addresses of a site's application servers that get no requests."""
    pattern = os.path.join(glob.escape(DRAINED), glob.escape(site) + ":*")
    return sorted((read_text(path) or "").strip() or os.path.basename(path) for path in glob.glob(pattern))


class Vhost:
    """The virtual host of one site."""

    def __init__(self, site: str, web: WebServer, path: str, text: str) -> None:
        self.site = site
        self.web = web
        self.path = path
        self.text = text

    def _block(self, drained: Sequence[int]) -> re.Match[str] | None:
        without = "".join(f"{self.web.without}{number}" for number in drained)
        return re.search(self.web.block.format(without, re.escape(self.site)), self.text, re.MULTILINE | re.DOTALL)

    def servers(self) -> list[Server]:
        """The application servers, in the order of the file."""
        block = self._block([])
        if block is None:
            single = re.search(self.web.single, self.text, re.MULTILINE) if self.web.single else None
            return [Server(1, single["socket"] or single["host"], True)] if single else []
        lines = re.compile(self.web.server, re.MULTILINE).finditer(self.text, *block.span("body"))
        addresses = [line.groupdict().get("socket") or line["host"] for line in lines]
        return [
            Server(number, address, len(addresses) == 1 or not os.path.exists(flag_file(self.site, number)))
            for number, address in enumerate(addresses, 1)
        ]

    def switched(self, address: str, active: bool, together: Sequence[str] | None = None) -> list[Server]:
        """The application servers when one gets requests, or none any more.

        Of those that are drained already only ``together`` stay so, where it is given.
        """
        servers = self.servers()
        wanted = address.removeprefix("unix:")
        if wanted not in [one.address for one in servers]:
            known = ", ".join(one.address for one in servers) or "none"
            raise VhostError(
                f"site {self.site}: address {address!r} is not one of its application servers in {self.path}; "
                f"there are: {known}"
            )
        if not active and together is not None:
            servers = [one._replace(active=one.active or one.address not in together) for one in servers]
        after = [one._replace(active=active) if one.address == wanted else one for one in servers]
        if active:
            return after
        drained = [one for one in after if not one.active]
        if len(drained) == len(after):
            raise VhostError(
                f"site {self.site}: {address} is the last application server that gets requests, so it is not drained; "
                "bring another one back first (state: active)"
            )
        if any(flag_file(self.site, one.number) not in self.text for one in drained):
            raise VhostError(
                f"site {self.site}: its virtual host {self.path} knows no draining; run the playbook webstack.django.site, "
                "which writes it anew"
            )
        if self._block([one.number for one in drained]) is None:
            others = ", ".join(one.address for one in drained if one.address != wanted)
            raise VhostError(
                f"site {self.site}: {address} is not drained, since so many cannot be at the same time; "
                f"bring one of these back first (state: active): {others}"
            )
        return after


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
        return Vhost(site, web, path, file.read())
