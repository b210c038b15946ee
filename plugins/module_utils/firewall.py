# Copyright: webstack.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The firewall of this host: whether it can have one, and by which ports and from where SSH comes in."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import time

from ansible_collections.webstack.django.plugins.module_utils import sockets

TABLE = "webstack"
UNIT = "webstack-firewall.service"
WATCHED = "/etc/systemd/system/fail2ban.service.d/webstack.conf"
KNOWN = "/var/lib/webstack-firewall/known"
DAY = 86400
FORGOTTEN = 90 * DAY  # an address that nobody came from for so long is no controller any more
# What the rules are made of; a kernel may know of tables and lack some of these.
TRIAL = """table inet %s_trial {
    flags dormant;
    set a { type ipv4_addr; size 9; flags dynamic,timeout; timeout 1m; }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        tcp dport 22 add @a { ip saddr limit rate over 9/second burst 9 packets } drop
        icmp type echo-request limit rate 9/second accept
    }
}
"""
_NETFILTER = 12  # the protocol of netlink
_GET_GENERATION = (10 << 8) | 16  # of the subsystem nf_tables


class FirewallError(Exception):
    """The message is for the user."""


def nft(*words: str, text: str | None = None) -> tuple[int, str]:
    """Exit status and output of nft; 127 where it is missing."""
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return 127, "nft is not installed"
    done = subprocess.run(
        [program, *words], input=text or "", capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


def unusable() -> str:
    """Why this machine cannot filter packets by itself; empty where it can."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as link:
            link.settimeout(5)
            link.bind((0, 0))
            link.send(struct.pack("=IHHIIBBH", 20, _GET_GENERATION, 1, 1, 0, 0, 0, 0))
            answer = link.recv(4096)
    except OSError as error:
        return "its kernel has no netfilter (%s)" % (error.strerror or error)
    kind = struct.unpack("=H", answer[4:6])[0]
    number = -struct.unpack("=i", answer[16:20])[0] if kind == 2 else 0
    if number in (1, 13):
        return "root may not filter packets here (the capability CAP_NET_ADMIN is missing, as in many containers)"
    if number:
        return "its kernel has no nf_tables (%s)" % os.strerror(number)
    code, output = nft("-c", "-f", "-", text=TRIAL % TABLE)
    if code not in (0, 127):
        return "its kernel lacks a part of nf_tables: %s" % " ".join(output.split())[:300]
    return ""


# SSH ---------------------------------------------------------------------------------------------


def came_by(said: str) -> tuple[int, str] | None:
    """Own port and the other side's address, from SSH_CONNECTION; None where that is none."""
    words = said.split()
    if len(words) != 4 or not words[3].isdigit():
        return None
    return int(words[3]), words[0].replace("::ffff:", "").partition("%")[0]


def _stat(pid: str) -> tuple[str, str]:
    """Name of a process, and its parent."""
    with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as file:
        text = file.read()
    return text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()[1]


def _inodes(pid: str) -> set[str]:
    found = set()
    for number in os.listdir("/proc/%s/fd" % pid):
        target = os.readlink("/proc/%s/fd/%s" % (pid, number))
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _daemons() -> set[str]:
    """Inodes that the SSH daemon itself holds: not those of sessions, which forward ports."""
    found: set[str] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if _stat(pid) == ("sshd", "1"):
                found |= _inodes(pid)
        except OSError:
            continue
    return found


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout
    except OSError:
        return ""


def ssh_ports(own: int | None = None) -> list[int]:
    """The ports that SSH listens on, and the one by which this run came in as long as somebody listens there."""
    listening = [
        one for one in sockets.listeners(sockets.tables()) if not (one[0].startswith("127.") or one[0] == "::1")
    ]
    daemons = _daemons()
    found = {port for _place, port, inode, _user in listening if inode in daemons}
    # systemd may hold the socket until somebody comes.
    held = _output("systemctl", "show", "--property=Listen", "ssh.socket")
    active = {int(one) for one in re.findall(r"^Listen=\S*:(\d+) \(Stream\)", held, re.MULTILINE)}
    found |= active & {port for _place, port, _inode, _user in listening}
    if not found:
        said = _output(shutil.which("sshd", path="/usr/sbin:/sbin") or "/usr/sbin/sshd", "-T")
        found = {int(one) for one in re.findall(r"^port (\d+)$", said, re.MULTILINE)}
    if own and own in {port for _place, port, _inode, _user in listening}:
        found.add(own)
    return sorted(found)


def remember(address: str, path: str = KNOWN) -> None:
    """Write down an address that a controller came from: it is never banned."""
    now = int(time.time())
    try:
        with open(path, encoding="ascii") as file:
            known = dict(line.split() for line in file if len(line.split()) == 2)
    except OSError:
        known = {}
    if now - int(known.get(address, 0)) < DAY:
        return
    known = {one: since for one, since in known.items() if now - int(since) < FORGOTTEN}
    known[address] = str(now)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.writelines("%s %s\n" % one for one in sorted(known.items()))
    os.replace(path + ".new", path)


def there() -> bool:
    """Whether our table is there."""
    return nft("list", "table", "inet", TABLE)[0] == 0
