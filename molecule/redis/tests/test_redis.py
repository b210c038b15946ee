"""Redis as sites and operators meet it."""

from __future__ import annotations

import pytest

CACHE = {"name": "blog-cache", "purpose": "cache", "memory_mb": 32, "group": "blog"}
BROKER = {"name": "blog-broker", "purpose": "broker", "memory_mb": 32, "group": "blog"}


def redis(host, instance: str, *words: str, user: str = "blog") -> str:
    """redis-cli through the socket as a user of the operating system; what it says, errors included."""
    quoted = " ".join(f"'{word}'" for word in words)
    done = host.run(f"runuser -u {user} -- redis-cli -s /run/redis-{instance}/redis.sock {quoted}")
    return (done.stdout + done.stderr).strip()


def setting(host, instance: str, name: str) -> str:
    return redis(host, instance, "CONFIG", "GET", name).partition("\n")[2]


def pid(host, instance: str) -> str:
    return host.check_output(f"systemctl show --value -p MainPID redis-server@{instance}")


@pytest.mark.parametrize(
    ("instance", "name", "value"),
    [
        ("blog-cache", "maxmemory-policy", "allkeys-lru"),
        ("blog-cache", "maxmemory", "33554432"),
        ("blog-cache", "appendonly", "no"),
        ("blog-cache", "save", ""),
        ("blog-cache", "timeout", "0"),
        ("blog-cache", "port", "0"),
        ("blog-cache", "slowlog-max-len", "512"),
        ("blog-cache", "maxclients", "10000"),
        ("blog-cache", "lazyfree-lazy-eviction", "yes"),
        ("blog-cache", "lazyfree-lazy-user-flush", "yes"),
        ("blog-broker", "maxmemory-policy", "noeviction"),
        ("blog-broker", "maxmemory", "33554432"),
        ("blog-broker", "appendonly", "yes"),
        ("blog-broker", "appendfsync", "everysec"),
    ],
)
def test_settings(host, instance, name, value) -> None:
    assert setting(host, instance, name) == value


def test_only_the_group_of_the_site_may_open_the_socket(host) -> None:
    assert redis(host, "blog-cache", "SET", "greeting", "hello") == "OK"
    assert redis(host, "blog-cache", "GET", "greeting") == "hello"
    assert "Permission denied" in redis(host, "blog-cache", "GET", "greeting", user="shop")
    socket = host.file("/run/redis-blog-cache/redis.sock")
    assert (socket.user, socket.group, oct(socket.mode)) == ("redis", "blog", "0o660")


def test_a_full_cache_evicts_and_a_full_broker_refuses(host) -> None:
    fill = "for i in $(seq 60); do head -c 1000000 /dev/zero | runuser -u blog -- redis-cli -s /run/redis-{0}/redis.sock -x SET fill:$i; done"
    assert "OOM" not in host.run(fill.format("blog-cache")).stdout
    used = redis(host, "blog-cache", "INFO", "memory").split("used_memory:")[1].split()[0]
    assert int(used) <= 33554432
    assert redis(host, "blog-cache", "GET", "fill:60") != ""
    assert "OOM command not allowed" in host.run(fill.format("blog-broker")).stdout
    assert redis(host, "blog-broker", "EXISTS", "fill:1") == "1"
    redis(host, "blog-broker", "FLUSHALL")


def test_a_broker_keeps_its_jobs_over_a_restart_and_a_crash(host) -> None:
    redis(host, "blog-broker", "SET", "job", "42")
    host.check_output("systemctl restart redis-server@blog-broker")
    assert redis(host, "blog-broker", "GET", "job") == "42"
    redis(host, "blog-broker", "SET", "job", "43")
    host.check_output("sleep 2; systemctl kill -s KILL redis-server@blog-broker; sleep 1")
    host.check_output(
        "timeout 20 sh -c 'until redis-cli -s /run/redis-blog-broker/redis.sock ping | grep PONG; do sleep 0.2; done'"
    )
    assert redis(host, "blog-broker", "GET", "job") == "43"


def test_nobody_changes_settings_or_users_of_the_running_server(host) -> None:
    for words in (
        ("CONFIG", "SET", "maxmemory", "1gb"),
        ("ACL", "SETUSER", "default", "+@all"),
        ("MODULE", "LIST"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SLAVEOF", "127.0.0.1", "1"),
        ("SHUTDOWN",),
    ):
        assert "NOPERM" in redis(host, "blog-cache", *words)
    assert redis(host, "blog-cache", "FLUSHDB") == "OK"


def test_the_port_wants_tls_and_the_password(host) -> None:
    remote = "redis-cli -h $(hostname -I | cut -d ' ' -f 1) -p 6390"
    assert "NOAUTH" in host.run(f"{remote} --tls --insecure PING").stdout
    assert host.run(f"REDISCLI_AUTH=remote-password {remote} --tls --insecure PING").stdout == "PONG\n"
    assert "PONG" not in host.run(f"REDISCLI_AUTH=remote-password {remote} PING").stdout
    assert host.run("grep -r remote-password /etc/redis /var/log /etc/systemd").stdout == ""
    listening = host.check_output("ss -Hltn | awk '{print $4}' | grep -c ':6379$' || true")
    assert listening == "0"


def test_the_instance_of_the_package_does_not_run(host) -> None:
    assert not host.service("redis-server").is_running
    assert not host.service("redis-server").is_enabled
    first = host.check_output("journalctl -q -o cat -g ^Started -u redis-server -u 'redis-server@*' | head -n 1")
    assert "redis-server@" in first
    for name in ("blog-cache", "blog-broker", "remote"):
        assert host.service(f"redis-server@{name}").is_running
        assert host.service(f"redis-server@{name}").is_enabled


def test_the_sandbox_holds(host) -> None:
    score = host.check_output("systemd-analyze security --no-pager redis-server@blog-cache | tail -n 1")
    assert float(score.split(": ")[1].split()[0]) < 2.0
    process = pid(host, "blog-cache")
    writable = host.check_output(f"awk '$6 ~ /^rw/ {{print $5}}' /proc/{process}/mountinfo").split()
    assert "/var/lib/redis/blog-cache" in writable
    assert not {"/", "/etc", "/etc/redis", "/var", "/var/lib", "/var/lib/redis", "/var/lib/redis/blog-broker"} & set(
        writable
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"maxmemory-policy": "sometimes"}}, "maxmemory-policy sometimes"),
        ({"settings": {"maxmemry": "1mb"}}, "maxmemry 1mb"),
    ],
)
def test_a_broken_configuration_is_refused_and_the_old_one_serves(host, playbook, change, words) -> None:
    files = "sha256sum /etc/redis/*"
    before, process = host.run(files).stdout, pid(host, "blog-cache")
    run = playbook({"redis_instances": [{**CACHE, **change}, BROKER]})
    assert run.rc != 0
    assert words in run.output and "old configuration stays in place" in run.output, run.output
    assert host.run(files).stdout == before
    assert pid(host, "blog-cache") == process
    assert redis(host, "blog-cache", "PING") == "PONG"


def test_a_missing_certificate_is_refused(host, playbook) -> None:
    run = playbook({"redis_tls_certificate": "/etc/ssl/certs/nowhere.pem"})
    assert run.rc != 0 and "nowhere.pem" in run.output and "old configuration stays in place" in run.output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            [
                {"name": "open", "port": 6400, "bind": ["0.0.0.0"]},
                {"name": "bare", "tls": True},
                {"name": "Blog_Cache", "port": 6400},
                {"memory_mb": 0},
            ],
            [
                "open would be open to other hosts without a password",
                "bare has tls but no port",
                "the name Blog_Cache: use a-z",
                "two instances have the same port",
                "blog-cache: memory_mb must be at least 1",
            ],
        ),
        ([{"purpose": "queue"}], ["value of purpose must be one of: cache, broker"]),
        ([{"group": "nobody-knows"}], ["nobody-knows does not exist"]),
    ],
)
def test_bad_input_is_said_clearly(playbook, changes, words) -> None:
    run = playbook({"redis_instances": [{**CACHE, **change} for change in changes]})
    assert run.rc != 0
    for expected in words:
        assert expected in run.output, run.output


def test_only_what_changed_restarts(host, playbook) -> None:
    cache, broker = pid(host, "blog-cache"), pid(host, "blog-broker")
    assert redis(host, "blog-broker", "SET", "job", "44") == "OK"
    assert playbook({"redis_instances": [CACHE, {**BROKER, "memory_mb": 48}]}).rc == 0
    assert setting(host, "blog-broker", "maxmemory") == "50331648"
    assert redis(host, "blog-broker", "GET", "job") == "44"
    assert pid(host, "blog-cache") == cache and pid(host, "blog-broker") != broker
    # `remote` was not declared any more: stopped, its files gone, its data there.
    assert not host.service("redis-server@remote").is_running
    assert not host.service("redis-server@remote").is_enabled
    assert not host.file("/etc/redis/redis-remote.conf").exists
    assert not host.file("/etc/systemd/system/redis-server@remote.service.d").exists
    assert host.file("/var/lib/redis/remote").is_directory
    assert host.file("/etc/redis/redis.conf").exists
    assert playbook().rc == 0
    assert host.service("redis-server@remote").is_running


def test_drift_is_found_and_put_back(host, playbook) -> None:
    host.check_output("sed -i 's/^maxmemory .*/maxmemory 1mb/' /etc/redis/redis-blog-cache.conf")
    host.check_output(
        "chmod 0644 /etc/redis/redis-blog-broker.conf; rm /etc/systemd/system/redis-server@remote.service.d/webstack.conf"
    )
    host.check_output(
        "systemctl stop redis-server@blog-broker; systemctl start redis-server; systemctl restart redis-server@blog-cache"
    )
    predicted = playbook(check=True)
    assert predicted.rc == 0 and predicted.changed == 2, predicted.output
    assert playbook().rc == 0
    assert setting(host, "blog-cache", "maxmemory") == "33554432"
    assert redis(host, "blog-broker", "PING") == "PONG"
    assert oct(host.file("/etc/redis/redis-blog-broker.conf").mode) == "0o640"
    assert not host.service("redis-server").is_running
    again = playbook()
    assert again.rc == 0 and again.changed == 0, again.output


@pytest.mark.parametrize(
    "file",
    [
        "/etc/redis/redis-remote.conf",
        "/etc/redis/redis-remote.acl",
        "/etc/systemd/system/redis-server@remote.service.d/webstack.conf",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
    ],
)
def test_a_run_that_was_cut_is_healed(host, playbook, file) -> None:
    """Killed after the files were written, or a certificate that was renewed: the server is older than they are."""
    cache, remote = pid(host, "blog-cache"), pid(host, "remote")
    host.check_output(f"touch {file}")
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert pid(host, "blog-cache") == cache and pid(host, "remote") != remote
