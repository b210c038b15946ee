# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who listens on this host, as the kernel says it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable


def address(text: str) -> str:
    """An address as /proc/net/tcp and tcp6 write it: words of 32 bits in the order of the machine."""
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET6 if len(raw) == 16 else socket.AF_INET, raw)


def tables() -> list[str]:
    """The texts of /proc/net/tcp and tcp6."""
    found = []
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(name):
            with open(name, encoding="ascii") as file:
                found.append(file.read())
    return found


def listeners(texts: Iterable[str]) -> list[tuple[str, int, str, int]]:
    """Address, port, inode and user of listening TCP sockets, from such texts."""
    found = []
    for text in texts:
        for line in text.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                place, _colon, port = fields[1].rpartition(":")
                found.append((address(place), int(port, 16), fields[9], int(fields[7])))
    return found
