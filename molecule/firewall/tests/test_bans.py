"""New connections to SSH are limited, and who fails to log in is banned for a while."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from knocking import PROGRAM, answers, ssh, timed, wait

LINE = '{} - - [30/Nov/2026:12:00:00 +0000] "{} HTTP/1.1" {} 512 "-" "curl/8" {} 0.010 0.009'


def test_sixty_connections_of_the_controller_are_not_limited(variables):
    with ThreadPoolExecutor(10) as pool, timed(60):
        assert list(pool.map(lambda _n: ssh(variables, "true"), range(60))) == [0] * 60


# A pause for sshd, whose queue (128) would refuse some otherwise, on a busy machine.
FLOOD = """
import socket, sys, time
began, made = time.monotonic(), 0
for _time in range(2000):
    try:
        socket.create_connection((sys.argv[1], 22), 1).close()
    except OSError:
        break
    made += 1
    time.sleep(0.01)
print(made, time.monotonic() - began)
"""


@pytest.fixture(autouse=True)
def nobody_stays_banned(host, from_):
    """A test that fails leaves none that the next one would meet."""
    yield
    host.run(f"nft flush set inet webstack ssh_rate4; fail2ban-client unban --all; {PROGRAM} unban {from_}")


def test_the_connections_of_one_address_are_limited(host, stranger, address, from_, variables):
    made, seconds = map(float, stranger.check_output("python3 -c %s %s", FLOOD, address).split())
    assert 145 <= made <= 155 + 5 * seconds, (made, seconds)  # the burst, and so many a second
    assert from_ in host.check_output("nft list set inet webstack ssh_rate4")
    assert ssh(variables, "true") == 0  # another address
    host.check_output("nft flush set inet webstack ssh_rate4")
    assert answers(stranger, address, 22)


def refused(stranger, address, times, banned=False):
    """Log-ins with a key that nobody knows; the ban may come before the last of them."""
    stranger.check_output("test -e /root/.ssh/wrong || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/wrong")
    options = (
        "-o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=20 -o IdentitiesOnly=yes -i /root/.ssh/wrong"
    )
    for _time in range(times):
        said = stranger.check_output(f"ssh {options} deploy@{address} true 2>&1 || true")
        if banned and "timed out" in said:
            return
        assert "denied" in said


def test_failed_log_ins_end_in_a_ban_that_ends(host, stranger, address, from_, listening):
    refused(stranger, address, 5)
    time.sleep(3)
    assert answers(stranger, address, 22)  # a few mistakes are nothing
    refused(stranger, address, 3, banned=True)
    wait(lambda: not answers(stranger, address, 22))
    assert answers(stranger, address, 80)  # from SSH only
    assert host.check_output(f"{PROGRAM} bans").startswith(f"ssh: {from_} timeout 1h expires 59m")
    assert host.run(f"{PROGRAM} check").rc == 0  # no drift
    host.check_output(f"{PROGRAM} load")
    assert f"ssh: {from_} timeout 1h" in host.check_output(f"{PROGRAM} bans")  # a converge does not lift it
    host.check_output(f"{PROGRAM} unban {from_}")
    assert host.check_output(f"{PROGRAM} bans") == ""
    assert answers(stranger, address, 22)
    assert from_ not in host.check_output("fail2ban-client status sshd")


def test_the_controller_is_never_banned(host, variables):
    wrong = {**variables, "ansible_user": "nobody-of-this-name"}
    assert [ssh(wrong, "true") for _time in range(9)] == [255] * 9
    time.sleep(3)
    assert ssh(variables, "true") == 0
    assert host.check_output(f"{PROGRAM} bans") == ""


def write(host, *lines):
    host.check_output("cat >>/var/log/nginx/access.log <<'END'\n%s\nEND" % "\n".join(lines))
    time.sleep(3)


def test_refused_log_ins_at_a_page_end_in_a_ban(host, stranger, address, from_, listening):
    """Lines as the web servers write them."""
    page, api = "POST /admin/login/?next=/admin/", "POST /api/login/"
    good = [LINE.format(from_, page, 302, "blog.example.com"), LINE.format(from_, api, 200, "blog.example.com")]
    elsewhere = [
        LINE.format(from_, page, 200, "shop.example.com"),
        LINE.format(from_, "POST /x/", 403, "blog.example.com"),
    ]
    looked = [LINE.format(from_, "GET /admin/login/", 200, "blog.example.com")]
    write(host, *(good + elsewhere + looked) * 25)
    assert answers(stranger, address, 80)
    bad = [LINE.format(from_, page, 200, "blog.example.com"), LINE.format(from_, api, 400, "blog.example.com")]
    hidden = [LINE.format(from_, "POST /%61dmin//login/", 200, "blog.example.com")]
    write(host, *bad * 6, *hidden * 6)
    assert answers(stranger, address, 80)
    write(host, *bad * 2)
    wait(lambda: not answers(stranger, address, 443))
    assert answers(stranger, address, 22)  # from HTTP and HTTPS only
    assert host.check_output(f"{PROGRAM} bans").startswith(f"web: {from_} timeout 1h expires 59m")
    host.check_output(f"fail2ban-client unban {from_}")
    assert answers(stranger, address, 80)
