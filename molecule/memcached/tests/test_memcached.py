"""Memcached as sites and operators meet it."""

from __future__ import annotations

import json

import pytest

CACHE = {"name": "blog-cache", "memory_mb": 32, "group": "blog"}
UNITS = "/etc/systemd/system/memcached@*.service"

# Says the lines that it is given to a socket or to host:port, and prints the answers.
CLIENT = """
import socket, sys
where, *lines = sys.argv[1:]
if where.startswith("/"):
    client = socket.socket(socket.AF_UNIX)
    client.connect(where)
else:
    host, port = where.split(":")
    client = socket.create_connection((host, int(port)), 3)
client.settimeout(10)
client.sendall("".join(line + "\\r\\n" for line in [*lines, "quit"]).encode())
print(b"".join(iter(lambda: client.recv(65536), b"")).decode())
"""

FILL = """
import socket
client = socket.socket(socket.AF_UNIX)
client.connect("/run/memcached-blog-cache/memcached.sock")
answers = client.makefile("rb")
def put(key, size):
    client.sendall(b"set %s 0 0 %d\\r\\n" % (key, size) + b"x" * size + b"\\r\\n")
    return answers.readline().decode().strip()
print({put(b"fill%d" % number, 500000) for number in range(200)}, put(b"large", 1200000))
"""


def say(host, where: str, *lines: str, user: str = "blog") -> str:
    """What Memcached answers a user of the operating system; or why it cannot be reached."""
    path = "/run/memcached-blog-cache/memcached.sock" if where == "blog-cache" else where
    quoted = " ".join(f"'{line}'" for line in lines)
    done = host.run(f"runuser -u {user} -- python3 -c %s {path} {quoted}", CLIENT)
    return (done.stdout + done.stderr).strip()


def stats(host, words: str = "stats") -> dict[str, str]:
    lines = say(host, "blog-cache", words).splitlines()
    return {line.split()[1]: line.split()[2] for line in lines if line.startswith("STAT") and len(line.split()) == 3}


def pid(host, name: str) -> str:
    return host.check_output(f"systemctl show --value -p MainPID memcached@{name}")


def address(host) -> str:
    return host.check_output("hostname -I").split()[0]


def test_only_the_group_of_the_site_may_open_the_socket(host) -> None:
    answer = say(host, "blog-cache", "set greeting 0 0 5", "hello", "get greeting")
    assert answer.split() == ["STORED", "VALUE", "greeting", "0", "5", "hello", "END"]
    assert "Permission denied" in say(host, "blog-cache", "version", user="shop")
    socket = host.file("/run/memcached-blog-cache/memcached.sock")
    assert (socket.user, socket.group, oct(socket.mode)) == ("memcache", "blog", "0o660")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxbytes", "33554432"),
        ("item_size_max", "1048576"),
        ("maxconns", "1024"),
        ("num_threads", "2"),
        ("udpport", "0"),
    ],
)
def test_settings(host, name, value) -> None:
    assert stats(host, "stats settings")[name] == value


def test_a_full_cache_forgets_and_stays_within_its_memory(host) -> None:
    done = host.check_output("runuser -u blog -- python3 -c %s", FILL)
    assert done == "{'STORED'} SERVER_ERROR object too large for cache"
    now = stats(host)
    assert int(now["evictions"]) > 100 and int(now["bytes"]) <= 33554432
    resident = int(host.check_output(f"awk '/^VmRSS/ {{print $2}}' /proc/{pid(host, 'blog-cache')}/status"))
    assert resident < 64 * 1024, f"{resident} kB"
    answer = say(host, "blog-cache", "get fill0", "get fill199")
    assert "VALUE fill199" in answer and "VALUE fill0 " not in answer


def test_the_instance_of_the_package_does_not_run(host) -> None:
    assert not host.service("memcached").is_running
    assert not host.service("memcached").is_enabled
    first = host.check_output("journalctl -q -o cat -g ^Started -u memcached -u 'memcached@*' | head -n 1")
    assert "memcached@" in first or "Memcached: " in first
    ports = host.check_output("ss -Hlntu | awk '{print $5}'")
    assert ports.count(":11311") == 2 and ":11211" not in ports
    for name in ("blog-cache", "remote"):
        assert host.service(f"memcached@{name}").is_running
        assert host.service(f"memcached@{name}").is_enabled


@pytest.mark.parametrize("name", ["blog-cache", "remote"])
def test_the_sandbox_holds(host, name) -> None:
    score = host.check_output(f"systemd-analyze security --no-pager memcached@{name} | tail -n 1")
    assert float(score.split(": ")[1].split()[0]) <= 2.5
    process = pid(host, name)
    writable = set(host.check_output(f"awk '$6 ~ /^rw/ {{print $5}}' /proc/{process}/mountinfo").split())
    assert not {"/", "/etc", "/var", "/home"} & writable
    network = host.check_output(f"awk -F: 'NR > 2 {{print $1}}' /proc/{process}/net/dev").split()
    assert (network == ["lo"]) is (name == "blog-cache"), "only the one with a port is in the host's network"


def test_a_killed_instance_comes_back(host) -> None:
    before = pid(host, "blog-cache")
    host.check_output("systemctl kill -s KILL memcached@blog-cache")
    host.check_output(
        "timeout 20 sh -c 'until test -S /run/memcached-blog-cache/memcached.sock && "
        "systemctl is-active -q memcached@blog-cache; do sleep 0.2; done'; sleep 0.5"
    )
    assert pid(host, "blog-cache") != before
    assert say(host, "blog-cache", "version").startswith("VERSION")


def test_the_port_is_for_those_it_allows(host, machine, other, playbook) -> None:
    """Also: only what changed restarts, and without prune nothing goes."""
    peer = other("debian12" if machine == "debian13" else "debian13")
    mine = f"{address(host)}:11311"
    for local in ("127.0.0.1:11311", mine):
        assert say(host, local, "version", user="shop").startswith("VERSION")
    assert "TimeoutError" in say(peer, mine, "version")
    before = pid(host, "blog-cache")
    remote = {"name": "remote", "port": 11311, "memory_mb": 16, "bind": [address(host), "127.0.0.1"]}
    allowed = {**remote, "allow": ["192.0.2.0/24", address(peer)]}
    assert playbook({"memcached_instances": [allowed], "memcached_prune": False}).rc == 0
    assert say(peer, mine, "version").startswith("VERSION")
    assert playbook().rc == 0
    assert "TimeoutError" in say(peer, mine, "version")
    assert pid(host, "blog-cache") == before


# What Memcached or its host would not take, and what is said of it.
BROKEN = [
    ({"settings": {"thread-count": 4}}, "unrecognized option '--thread-count=4'"),
    ({"settings": {"extended": "slab_automov=1"}}, "slab_automov"),
    ({"group": "nobody-knows"}, "the group nobody-knows does not exist"),
    ({"port": 11312, "bind": ["192.0.2.7"], "allow": ["192.0.2.0/24"]}, "cannot listen on 192.0.2.7"),
]
# What is wrong in itself.
BAD = [
    {"name": "open", "port": 11400, "bind": ["0.0.0.0"]},
    {"name": "bound", "bind": ["127.0.0.1"]},
    {"name": "allowing", "allow": ["10.0.0.1"]},
    {"name": "Blog_Cache", "port": 11400},
    {"max_item_mb": 17},
]


def test_what_is_wrong_is_refused_and_the_old_configuration_serves(host, playbook) -> None:
    before, process = host.check_output(f"sha256sum {UNITS}"), pid(host, "blog-cache")
    refused = [[{**CACHE, **change}] for change, _ in BROKEN]
    refused += [[{**CACHE, **bad} for bad in BAD], [{**CACHE, "purpose": "cache"}]]
    run = playbook({"refused": refused}, path="refused.yml")
    said = " ".join(run.output.split())
    assert run.rc == 0 and f"rescued={len(refused)} " in said, run.output
    assert run.changed == 0
    assert said.count("old configuration stays in place") >= len(BROKEN)
    for expected in (
        *(words for _, words in BROKEN),
        "open would be open to every host, as Memcached knows no passwords; name in allow who may talk to it",
        "bound has bind but no port",
        "allowing has allow but no port",
        "the name Blog_Cache: use a-z",
        "two instances have the same port",
        "blog-cache: max_item_mb must be at least 1, and memory_mb at least twice as much",
        "memcached_instances.purpose. Supported parameters include",
    ):
        assert expected in said, run.output
    assert host.check_output(f"sha256sum {UNITS}") == before
    assert pid(host, "blog-cache") == process
    assert say(host, "blog-cache", "version").startswith("VERSION")


def test_drift_is_found_and_put_back(host, playbook) -> None:
    """Also: an instance that is not declared any more goes."""
    host.check_output(
        "cd /etc/systemd/system; sed 's/blog-cache/old/g' memcached@blog-cache.service > memcached@old.service; "
        "sed -i 's/memory-limit=32/memory-limit=4/' memcached@blog-cache.service; systemctl daemon-reload; "
        "systemctl stop memcached@remote; systemctl enable --now memcached@old; systemctl restart memcached@blog-cache; "
        # The package's own instance would end at once where there is no ::1.
        "sed -i 's/^-l ::1/# &/' /etc/memcached.conf; systemctl start memcached; sleep 1"
    )
    assert host.service("memcached").is_running
    assert stats(host, "stats settings")["maxbytes"] == "4194304"
    assert host.service("memcached@old").is_running
    predicted = playbook(check=True)
    assert predicted.rc == 0 and predicted.changed == 2, predicted.output
    assert host.service("memcached@old").is_running
    assert playbook().rc == 0
    assert stats(host, "stats settings")["maxbytes"] == "33554432"
    assert host.service("memcached@remote").is_running and not host.service("memcached").is_running
    assert not host.service("memcached@old").is_running
    assert not host.file("/etc/systemd/system/multi-user.target.wants/memcached@old.service").is_symlink
    assert not host.file("/etc/systemd/system/memcached@old.service").exists
    again = playbook()
    assert again.rc == 0 and again.changed == 0, again.output


@pytest.mark.parametrize("kind", ["memcached", "redis"])
def test_a_site_lives_without_its_cache(host, kind) -> None:
    """Real Django with the generated settings; its cache hangs, dies and comes back."""
    done = host.run(f"/opt/django/bin/python -W ignore /opt/overlay/cache_site.py /opt/overlay {kind}")
    assert done.rc == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["me"] == [[200, "ann 1"], [200, "ann 2"], [200, "ann 3"], [200, "ann 4"]]
    assert found["enter"] == [[200, "in"], [200, "ann 1"]]
    assert (found["page"], found["cached"], found["many"]) == (200, True, True)
    assert found["slow"] < 10
    too_large = kind == "memcached"
    assert found["limits"] == [too_large, "long", 5, too_large]
    alive = {
        "get": 1,
        "add": True,
        "touch": True,
        "has_key": True,
        "get_many": {"n": 1, "m": 2},
        "incr": 2,
        "delete": True,
    }
    dead = {**dict.fromkeys(alive, False), "get": "missing", "get_many": {}, "incr": "ValueError"}
    for when, expected in (("alive", alive), ("dead", dead), ("back", alive)):
        assert {key: found[when][key] for key in expected} == expected, when
        assert found[when]["get_or_set"] == 7 and found[when]["set_many"] == []
    assert done.stderr.count("the cache does not answer, going on without it") == 1


def test_retiring(host, playbook) -> None:
    """First what is not listed, then the rest and the package; the role makes it all again."""
    assert playbook({"memcached_instances": [{"name": "remote"}]}, path="../shared/retire.yml").rc == 0
    assert not host.service("memcached@blog-cache").is_running
    assert not host.file("/etc/systemd/system/memcached@blog-cache.service").exists
    assert host.service("memcached@remote").is_running
    gone = {"memcached_instances": [], "memcached_state": "absent"}
    assert playbook(gone, path="../shared/retire.yml").rc == 0
    assert host.run(f"ls {UNITS}").rc != 0
    assert host.run("pgrep memcached").rc != 0
    assert not host.file("/usr/local/lib/webstack/check-memcached").exists
    assert not host.package("memcached").is_installed
    again = playbook(gone, path="../shared/retire.yml")
    assert again.rc == 0 and again.changed == 0, again.output
    assert playbook().rc == 0
    assert say(host, "blog-cache", "version").startswith("VERSION")
