# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a site through its real socket, as its web server would: in HTTP, or in the protocol of uWSGI."""

from __future__ import annotations

import http.client
import socket
import struct
from typing import Any

HEADER = "X-Webstack-Release"  # with which a release proves that it is the one that answers
_NAME = "health-check"  # stands for the * of a wildcard domain


def ask(health: dict[str, Any], timeout: float, release: str | None = None) -> tuple[int, bool]:
    """The status of one answer of the site, and whether a certain release gave it.

    Raises ``OSError`` or ``HTTPException``.
    """
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1", "User-Agent": "webstack-health-check"}
    if health["host"]:
        headers["Host"] = str(health["host"]).replace("*.", _NAME + ".")
    if release:
        headers[HEADER] = release
    with _connect(health, timeout) as connection:
        if health["protocol"] == "uwsgi":
            connection.sendall(uwsgi_request(health["path"], headers))
        else:
            lines = [
                "GET %s HTTP/1.1" % health["path"],
                *("%s: %s" % one for one in headers.items()),
                "Connection: close",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = http.client.HTTPResponse(connection, method="GET")
        answer.begin()
        return answer.status, answer.getheader(HEADER) == release


def _connect(health: dict[str, Any], timeout: float) -> socket.socket:
    if not health["socket"]:
        host, _colon, port = str(health["address"]).rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(health["socket"])
    except OSError:
        connection.close()
        raise
    return connection


def uwsgi_request(target: str, headers: dict[str, str]) -> bytes:
    """A request in the protocol of uWSGI: a header of four bytes, and CGI variables, each text after its length.

    https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html
    """
    path, _mark, query = target.partition("?")
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": target,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": headers.get("Host", "localhost"),
        "SERVER_PORT": "443",
        "REMOTE_ADDR": "127.0.0.1",
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()},
    }
    body = b"".join(
        struct.pack("<H", len(text)) + text for pair in variables.items() for text in (part.encode() for part in pair)
    )
    return struct.pack("<BHB", 0, len(body), 0) + body


def good(status: int, wanted: list[int]) -> bool:
    """Whether a status means health: one that was asked for, or anything that is neither 400 nor an error of the server."""
    return status in wanted if wanted else status < 500 and status != 400
