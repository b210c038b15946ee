# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A site behind uWSGI's own protocol is asked for its health in that."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

from ansible_collections.webstack.django.plugins.module_utils.release import health


def variables(packet: bytes) -> dict[str, str]:
    """What uWSGI would read."""
    modifier, size, second = struct.unpack("<BHB", packet[:4])
    assert (modifier, second, size) == (0, 0, len(packet) - 4)
    texts, at = [], 4
    while at < len(packet):
        (length,) = struct.unpack_from("<H", packet, at)
        texts.append(packet[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return dict(zip(texts[::2], texts[1::2]))


def test_uwsgi(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    seen: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            seen.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        given = {"socket": path, "address": None, "protocol": "uwsgi", "host": "*.example.org", "path": "/ok/?a=b"}
        assert health.ask(given, 5) == (302, True)
        thread.join()
    found = variables(seen[0])
    assert (found["REQUEST_METHOD"], found["PATH_INFO"], found["QUERY_STRING"]) == ("GET", "/ok/", "a=b")
    assert (found["HTTP_HOST"], found["HTTP_X_FORWARDED_PROTO"]) == ("health-check.example.org", "https")
