"""Redis as sites and operators meet it, and Valkey on the machine valkey13."""

from __future__ import annotations

import pytest

CACHE = {"name": "blog-cache", "purpose": "cache", "memory_mb": 32, "group": "blog"}
BROKER = {"name": "blog-broker", "purpose": "broker", "memory_mb": 32, "group": "blog"}


def kind(host) -> str:
    return "valkey" if host.backend.host == "valkey13" else "redis"


def redis(host, instance: str, *words: str, user: str = "blog", cli: str | None = None) -> str:
    """redis-cli through the socket as a user of the operating system; what it says, errors included."""
    quoted = " ".join(f"'{word}'" for word in words)
    cli = cli or kind(host)
    done = host.run(f"runuser -u {user} -- {cli}-cli -s /run/redis-{instance}/redis.sock {quoted}")
    return (done.stdout + done.stderr).strip()


def setting(host, instance: str, name: str) -> str:
    return redis(host, instance, "CONFIG", "GET", name).partition("\n")[2]


def pid(host, instance: str) -> str:
    return host.check_output(f"systemctl show --value -p MainPID {kind(host)}-server@{instance}")


@pytest.fixture
def once(machine) -> None:
    """What does not depend on the server is tried with Redis only."""
    if machine == "valkey13":
        pytest.skip("tried with Redis")


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
    assert (socket.user, socket.group, oct(socket.mode)) == (kind(host), "blog", "0o660")


def test_a_full_cache_evicts_and_a_full_broker_refuses(host) -> None:
    fill = "for i in $(seq 60); do head -c 1000000 /dev/zero | runuser -u blog -- {1}-cli -s /run/redis-{0}/redis.sock -x SET fill:$i; done"
    assert "OOM" not in host.run(fill.format("blog-cache", kind(host))).stdout
    used = redis(host, "blog-cache", "INFO", "memory").split("used_memory:")[1].split()[0]
    assert int(used) <= 33554432
    assert redis(host, "blog-cache", "GET", "fill:60") != ""
    assert "OOM command not allowed" in host.run(fill.format("blog-broker", kind(host))).stdout
    assert redis(host, "blog-broker", "EXISTS", "fill:1") == "1"
    redis(host, "blog-broker", "FLUSHALL")


def test_a_broker_keeps_its_jobs_over_a_restart_and_a_crash(host) -> None:
    redis(host, "blog-broker", "SET", "job", "42")
    server = kind(host)
    host.check_output(f"systemctl restart {server}-server@blog-broker")
    assert redis(host, "blog-broker", "GET", "job") == "42"
    redis(host, "blog-broker", "SET", "job", "43")
    host.check_output(f"sleep 2; systemctl kill -s KILL {server}-server@blog-broker; sleep 1")
    host.check_output(
        f"timeout 20 sh -c 'until {server}-cli -s /run/redis-blog-broker/redis.sock ping | grep PONG; do sleep 0.2; done'"
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
    remote = f"{kind(host)}-cli -h $(hostname -I | cut -d ' ' -f 1) -p 6390"
    assert "NOAUTH" in host.run(f"{remote} --tls --insecure PING").stdout
    assert host.run(f"REDISCLI_AUTH=remote-password {remote} --tls --insecure PING").stdout == "PONG\n"
    assert "PONG" not in host.run(f"REDISCLI_AUTH=remote-password {remote} PING").stdout
    assert host.run("grep -r remote-password /etc/redis /etc/valkey /var/log /etc/systemd").stdout == ""
    listening = host.check_output("ss -Hltn | awk '{print $4}' | grep -c ':6379$' || true")
    assert listening == "0"


def test_the_instance_of_the_package_does_not_run(host) -> None:
    server = f"{kind(host)}-server"
    assert not host.service(server).is_running
    assert not host.service(server).is_enabled
    first = host.check_output(f"journalctl -q -o cat -g ^Started -u {server} -u '{server}@*' | head -n 1")
    assert f"{server}@" in first
    for name in ("blog-cache", "blog-broker", "remote"):
        assert host.service(f"{server}@{name}").is_running
        assert host.service(f"{server}@{name}").is_enabled


@pytest.mark.parametrize("name", ["blog-cache", "remote"])
def test_the_sandbox_holds(host, name) -> None:
    server = kind(host)
    score = host.check_output(f"systemd-analyze security --no-pager {server}-server@{name} | tail -n 1")
    assert float(score.split(": ")[1].split()[0]) < 2.0
    process = pid(host, name)
    writable = host.check_output(f"awk '$6 ~ /^rw/ {{print $5}}' /proc/{process}/mountinfo").split()
    data = f"/var/lib/{server}"
    assert f"{data}/{name}" in writable
    assert not {"/", "/etc", f"/etc/{server}", "/var", "/var/lib", data, f"{data}/blog-broker"} & set(writable)


def test_only_what_changed_restarts(host, playbook, once) -> None:
    """And what is not declared any more goes, unless prune is off."""
    cache, broker, remote = pid(host, "blog-cache"), pid(host, "blog-broker"), pid(host, "remote")
    assert redis(host, "blog-broker", "SET", "job", "44") == "OK"
    assert playbook({"redis_instances": [CACHE, {**BROKER, "memory_mb": 48}], "redis_prune": False}).rc == 0
    assert setting(host, "blog-broker", "maxmemory") == "50331648"
    assert redis(host, "blog-broker", "GET", "job") == "44"
    assert pid(host, "blog-cache") == cache and pid(host, "blog-broker") != broker
    assert pid(host, "remote") == remote
    assert playbook({"redis_instances": [CACHE, BROKER]}).rc == 0
    assert setting(host, "blog-broker", "maxmemory") == "33554432"
    assert pid(host, "blog-cache") == cache
    # `remote` was not declared any more: stopped, its files gone, its data there.
    assert not host.service("redis-server@remote").is_running
    assert not host.service("redis-server@remote").is_enabled
    assert not host.file("/etc/redis/redis-remote.conf").exists
    assert not host.file("/etc/systemd/system/redis-server@remote.service.d").exists
    assert host.file("/var/lib/redis/remote").is_directory
    assert host.file("/etc/redis/redis.conf").exists


def test_the_instance_of_the_package_lets_nobody_in(host) -> None:
    host.check_output(f"systemctl start {kind(host)}-server")
    try:
        for password in ("", "-a off"):
            said = host.run(f"{kind(host)}-cli -p 6379 {password} ping").stdout
            assert "PONG" not in said
            assert "NOAUTH" in said
    finally:
        host.check_output(f"systemctl stop {kind(host)}-server")


def test_drift_is_found_and_put_back(host, playbook, once) -> None:
    """Whatever was changed by hand; also the instance that the test before this one left out."""
    host.check_output("sed -i 's/^maxmemory .*/maxmemory 1mb/' /etc/redis/redis-blog-cache.conf")
    host.check_output(
        "chmod 0644 /etc/redis/redis-blog-broker.conf; rm /etc/systemd/system/redis-server@blog-broker.service.d/webstack.conf; "
        "systemctl stop redis-server@blog-broker; systemctl start redis-server; systemctl restart redis-server@blog-cache"
    )
    assert host.service("redis-server").is_running
    predicted = playbook(check=True)
    assert predicted.rc == 0 and predicted.changed == 1, predicted.output
    assert playbook().rc == 0
    assert setting(host, "blog-cache", "maxmemory") == "33554432"
    assert redis(host, "blog-broker", "PING") == "PONG"
    assert oct(host.file("/etc/redis/redis-blog-broker.conf").mode) == "0o640"
    assert host.file("/etc/systemd/system/redis-server@blog-broker.service.d/webstack.conf").exists
    assert not host.service("redis-server").is_running
    assert host.service("redis-server@remote").is_running


def test_what_is_wrong_is_refused_and_the_old_configuration_serves(host, machine, playbook, once) -> None:
    """Also: after all that, and after the drift was put back, there is nothing to do for what is declared."""
    bad = [
        {"name": "open", "port": 6400, "bind": ["0.0.0.0"]},
        {"name": "bare", "tls": True},
        {"name": "Blog_Cache", "port": 6400},
        {"memory_mb": 0},
    ]
    secure = {**CACHE, "name": "secure", "port": 6401, "password": "secure-password", "tls": True}
    stays = "old configuration stays in place"
    cases = [
        (
            {"instances": [{**CACHE, "settings": {"maxmemory-policy": "sometimes"}}]},
            ["maxmemory-policy sometimes", stays],
        ),
        ({"instances": [{**CACHE, "settings": {"maxmemry": "1mb"}}]}, ["maxmemry 1mb", stays]),
        ({"instances": [secure], "certificate": "/etc/ssl/certs/nowhere.pem"}, ["nowhere.pem", stays]),
        ({"instances": [{**CACHE, "purpose": "queue"}]}, ["value of purpose must be one of: cache, broker"]),
        ({"instances": [{**CACHE, "group": "nobody-knows"}]}, ["nobody-knows does not exist"]),
        (
            {"instances": [{**CACHE, **change} for change in bad]},
            [
                "open would be open to other hosts without a password",
                "bare has tls but no port",
                "the name Blog_Cache: use a-z",
                "two instances have the same port",
                "blog-cache: memory_mb must be at least 1",
            ],
        ),
    ]
    if machine == "debian12":  # Debian 13 has it
        words = ["Debian 12 has no Valkey", "to stay with Redis"]
        cases.append(({"instances": [CACHE], "implementation": "valkey"}, words))
    files = "sha256sum /etc/redis/*"
    before, process = host.check_output(files), pid(host, "blog-cache")
    run = playbook({"refused": [case for case, _ in cases]}, path="refused.yml")
    assert (run.rc, run.changed) == (0, 0) and f"rescued={len(cases)} " in run.output, run.output
    said = [" ".join(text.split()) for text in run.output.split("TASK [Go on]")]
    for text, (_, expected) in zip(said, cases):
        for words in expected:
            assert words in text, text
    assert host.check_output(files) == before
    assert pid(host, "blog-cache") == process
    assert redis(host, "blog-cache", "PING") == "PONG"


def test_a_run_that_was_cut_is_healed(host, playbook, once) -> None:
    """Killed after the files were written, or a certificate that was renewed: the server is older than they are."""
    files = [
        "/etc/redis/redis-remote.conf",
        "/etc/redis/redis-remote.acl",
        "/etc/systemd/system/redis-server@remote.service.d/webstack.conf",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        "/etc/ssl/private/ssl-cert-snakeoil.key",
    ]
    cache, remote = pid(host, "blog-cache"), pid(host, "remote")
    run = playbook({"files": files}, path="cut.yml")
    assert (run.rc, run.changed) == (0, 5), run.output
    assert run.output.count("+restart redis-server@remote.service") == 5, run.output
    assert pid(host, "blog-cache") == cache and pid(host, "remote") != remote


def test_another_server_takes_over_with_the_jobs_of_the_old_one(host, machine, playbook) -> None:
    """Valkey, Redis and Valkey again: the socket, the jobs and the users' view stay."""
    if machine != "valkey13":
        pytest.skip("the machine that has both")
    assert redis(host, "blog-broker", "RPUSH", "celery", "one", "two") == "2"
    assert redis(host, "blog-broker", "HSET", "unacked", "1", "three") == "1"
    for old, new in (("valkey", "redis"), ("redis", "valkey")):
        run = playbook({"redis_implementation": new})
        assert run.rc == 0, run.output
        assert redis(host, "blog-broker", "LRANGE", "celery", "0", "-1", cli=new).split() == ["one", "two"]
        assert redis(host, "blog-broker", "HGET", "unacked", "1", cli=new) == "three"
        # A snapshot, which the next server might not understand, is what it makes of its file by itself.
        host.check_output(f"{new}-cli -s /run/redis-blog-broker/redis.sock BGREWRITEAOF; sleep 2")
        assert host.run(f"head -c 5 /var/lib/{new}/blog-broker/appendonlydir/*.base.*").stdout in ("REDIS", "VALKE")
        for name in ("blog-cache", "blog-broker", "remote"):
            assert host.service(f"{new}-server@{name}").is_running and host.service(f"{new}-server@{name}").is_enabled
            assert not host.service(f"{old}-server@{name}").is_running
            assert not host.service(f"{old}-server@{name}").is_enabled
            assert not host.file(f"/etc/{old}/{old}-{name}.conf").exists
            assert not host.file(f"/etc/systemd/system/{old}-server@{name}.service.d").exists
        assert host.run(f"find /var/lib/{old}/blog-broker -type f").stdout == ""


def test_data_is_never_lost_silently(host, machine, playbook) -> None:
    """Both servers have data for an instance: the new one does not start, and says why. Then that is all there is to do."""
    if machine != "valkey13":
        pytest.skip("the machine that has both")
    stray, unit = "/var/lib/redis/blog-broker/appendonlydir", "valkey-server@blog-broker"
    host.check_output(f"mkdir -p {stray}")
    assert host.run(f"systemctl restart {unit}").rc != 0
    assert host.run(f"systemctl is-active {unit}").stdout != "active\n"
    host.check_output(f"systemctl stop {unit}; rmdir {stray}")  # systemd tries again every 0.1 s
    said = host.check_output("journalctl -q -o cat -u valkey-server@blog-broker -g move-redis: | tail -n 1")
    assert "there is data in /var/lib/valkey/blog-broker as well" in said
    run = playbook()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert redis(host, "blog-broker", "LLEN", "celery") == "2"


def test_retiring(host, machine, playbook) -> None:
    """First what is not listed goes, then the rest and the packages. The data stays."""
    if machine == "debian12":
        pytest.skip("tried on Debian 13")
    server = kind(host)
    redis(host, "blog-broker", "SET", "kept", "45")
    assert playbook({"redis_instances": [BROKER]}, path="../shared/retire.yml").rc == 0
    assert redis(host, "blog-broker", "GET", "kept") == "45"
    assert not host.service(f"{server}-server@blog-cache").is_running
    assert not host.file(f"/etc/{server}/{server}-blog-cache.conf").exists
    run = playbook({"redis_instances": [], "redis_state": "absent", "times": 2}, path="../shared/retire.yml")
    assert (run.rc, run.changed) == (0, 3), run.output  # service, files and packages, and nothing the second time
    assert host.run(f"pgrep {server}-server").rc != 0
    assert host.run(f"ls /etc/{server}/{server}-*.conf /usr/local/lib/webstack/*redis").stdout == ""
    assert not host.package(f"{server}-server").is_installed
    assert host.file(f"/var/lib/{server}/blog-broker/appendonlydir").is_directory
    assert playbook().rc == 0
    assert redis(host, "blog-broker", "GET", "kept") == "45"
