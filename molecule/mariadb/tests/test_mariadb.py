"""MariaDB as sites and operators meet it; figures are those of 400 MB."""

from __future__ import annotations

import re

import pytest

BLOG = {"name": "blog", "databases": ["blog"]}
SHOP = {"name": "shop", "databases": ["shop"]}
LOCAL = {"name": "blog", "host": "127.0.0.1", "auth": "password", "password": "blog-password-1", "databases": ["blog"]}
CONFIG = "/etc/mysql/mariadb.conf.d/90-webstack.cnf"
# Clients as they are on the host, without what a file may say of passwords or TLS.
CLIENT = "mariadb --no-defaults --batch --skip-column-names --default-character-set=utf8mb4"


def sql(host, statement: str, user: str = "blog", more: str = "", database: str = "blog", password: str = ""):
    """The client as a user of the operating system; `more` are its options."""
    return host.run(
        f"cd /; runuser -u {user} -- env MYSQL_PWD='{password}' {CLIENT} {more} -e %s {database}", statement
    )


def root(host, statement: str) -> str:
    done = sql(host, statement, "root", database="")
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def address(host) -> str:
    return host.check_output("hostname -I").split()[0]


def started(host) -> str:
    return host.check_output("systemctl show -p ExecMainStartTimestampMonotonic mariadb.service")


def test_a_site_works_with_its_database_over_the_socket(host) -> None:
    done = sql(
        host,
        "CREATE TABLE IF NOT EXISTS note (body varchar(50)); DELETE FROM note; INSERT INTO note VALUES ('naïve ☃ 🐘')",
    )
    assert done.rc == 0, done.stderr
    assert sql(host, "SELECT body, CURRENT_USER() FROM note").stdout == "naïve ☃ 🐘\tblog@localhost\n"


def test_another_user_of_the_system_is_refused(host) -> None:
    assert sql(host, "SELECT 1", "shop", database="shop").stdout == "1\n"
    masked = sql(host, "SELECT 1", "shop", "--user=blog")
    assert masked.rc != 0 and "Access denied for user 'blog'@'localhost'" in masked.stderr
    foreign = sql(host, "SELECT 1", "shop")
    assert foreign.rc != 0 and "Access denied for user 'shop'@'localhost' to database 'blog'" in foreign.stderr
    assert sql(host, "SHOW DATABASES", "shop", database="shop").stdout.split() == ["information_schema", "shop"]
    assert sql(host, "SELECT 1", "nobody", database="").rc != 0


def test_over_tcp_the_password_decides(host) -> None:
    tcp = "--host=127.0.0.1 --user=blog --skip-ssl"
    assert sql(host, "SELECT CURRENT_USER()", "shop", tcp, password="blog-password-1").stdout == "blog@127.0.0.1\n"
    for password in ("blog-password-2", ""):
        wrong = sql(host, "SELECT 1", "blog", tcp, password=password)
        assert wrong.rc != 0 and "Access denied for user 'blog'@'127.0.0.1'" in wrong.stderr


def test_other_hosts_come_by_tls_only(host, address) -> None:
    there = f"--host={address} --user=blog"
    tls = f"{there} --ssl --ssl-verify-server-cert=0"
    version = sql(host, "SHOW STATUS LIKE 'Ssl_version'", "shop", tls, password="blog-password-1")
    assert version.stdout == "Ssl_version\tTLSv1.3\n", version.stderr
    plain = sql(host, "SELECT 1", "shop", f"{there} --skip-ssl", password="blog-password-1")
    assert plain.rc != 0 and "Access denied" in plain.stderr
    undeclared = sql(host, "SELECT 1", "shop", f"--host={address} --skip-ssl", database="shop")
    assert undeclared.rc != 0 and re.search("Access denied|is not allowed to connect", undeclared.stderr)


def test_root_comes_through_the_socket_only(host, address) -> None:
    for to in ("127.0.0.1", address):
        refused = sql(host, "SELECT 1", "root", f"--host={to} --skip-ssl", "", password="invalid")
        assert refused.rc != 0 and re.search("Access denied|is not allowed to connect", refused.stderr)
    accounts = root(host, "SELECT Host, JSON_VALUE(Priv, '$.plugin') FROM mysql.global_priv WHERE User = 'root'")
    assert accounts == "localhost\tunix_socket"
    masked = sql(host, "SELECT 1", "blog", "--user=root", "", password="invalid")
    assert masked.rc != 0 and "Access denied for user 'root'@'localhost'" in masked.stderr


def test_nothing_is_open_to_everybody(host) -> None:
    assert root(host, "SELECT COUNT(*) FROM mysql.global_priv WHERE User = ''") == "0"
    assert root(host, "SELECT COUNT(*) FROM mysql.db WHERE User = ''") == "0"
    assert root(host, "SHOW DATABASES").split() == [
        "blog",
        "information_schema",
        "mysql",
        "performance_schema",
        "shop",
        "sys",
    ]
    assert host.check_output("stat -c %a /var/lib/mysql/blog") == "700"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("innodb_buffer_pool_size", str(224 << 20)),
        ("innodb_log_file_size", str(56 << 20)),
        ("max_connections", "66"),
        ("performance_schema", "OFF"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("innodb_flush_method", "O_DIRECT"),
        ("innodb_flush_neighbors", "0"),
        ("aria_pagecache_buffer_size", str(8 << 20)),
        ("query_cache_size", "0"),
        ("character_set_server", "utf8mb4"),
        ("collation_server", "utf8mb4_uca1400_ai_ci"),
        ("slow_query_log", "ON"),
        ("long_query_time", "1.000000"),
        ("local_infile", "OFF"),
        ("skip_name_resolve", "ON"),
        ("tls_version", "TLSv1.2,TLSv1.3"),
        ("lock_wait_timeout", "30"),
    ],
)
def test_settings(host, setting, value) -> None:
    assert root(host, f"SHOW GLOBAL VARIABLES LIKE '{setting}'") == f"{setting}\t{value}"


def test_it_stays_within_its_memory(host) -> None:
    """With every connection taken, each of which sorts more than fits into its buffer."""
    fill = "CREATE OR REPLACE TABLE big AS SELECT seq AS id, REPEAT(MD5(seq), 20) AS body FROM seq_1_to_60000"
    assert sql(host, fill).rc == 0
    query = "SELECT body FROM big ORDER BY MD5(body) LIMIT 50000, 1"
    one = f"runuser -u blog -- {CLIENT} -e '{query}' blog"
    host.check_output(f"cd /; for i in $(seq 20); do {one} & done >/dev/null 2>&1; wait")
    assert root(host, "SHOW STATUS LIKE 'Max_used_connections'").split()[1] >= "15"
    peak = int(host.check_output("awk '/^VmHWM/ {print $2}' /proc/$(pidof mariadbd)/status"))
    assert peak < 400 * 1024
    assert sql(host, "DROP TABLE big").rc == 0


def test_new_tables_hold_every_character_and_refuse_what_does_not_fit(host) -> None:
    assert sql(host, "CREATE OR REPLACE TABLE short (body varchar(3), day date)").rc == 0
    shown = sql(host, "SHOW CREATE TABLE short").stdout
    assert "CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci" in shown
    long = sql(host, "INSERT INTO short VALUES ('four', NULL)")
    assert long.rc != 0 and "Data too long for column 'body'" in long.stderr
    zero = sql(host, "INSERT INTO short VALUES ('abc', '0000-00-00')")
    assert zero.rc != 0 and "Incorrect date value" in zero.stderr


def test_slow_statements_are_written_down(host) -> None:
    assert sql(host, "SELECT 'so slow', SLEEP(1.1)").rc == 0
    assert "so slow" in host.check_output("tail -n 20 /var/log/mysql/mariadb-slow.log")
    assert host.check_output("stat -c '%U:%G %a' /var/log/mysql") == "mysql:adm 2750"
    assert host.run("runuser -u nobody -- cat /var/log/mysql/mariadb-slow.log").rc != 0
    assert host.file("/usr/sbin/logrotate").exists


def test_the_unit_is_closed(host) -> None:
    scored = host.check_output("systemd-analyze security --no-pager mariadb.service | tail -n 1")
    assert float(re.search(r"level for mariadb.service: ([0-9.]+)", scored).group(1)) <= 2.5
    shown = host.check_output("systemctl show -p ProtectSystem -p NoNewPrivileges -p Wants -p After mariadb.service")
    assert "ProtectSystem=strict" in shown and "NoNewPrivileges=yes" in shown
    assert shown.count("network-online.target") == 2
    assert host.check_output("ls -A /var/lib/mysql | grep -c upgrade_info") == "1"


def test_a_restart_keeps_data(host) -> None:
    assert sql(host, "CREATE OR REPLACE TABLE kept AS SELECT 42 AS answer").rc == 0
    host.check_output("systemctl restart mariadb")
    assert sql(host, "SELECT answer FROM kept").stdout == "42\n"
    assert host.check_output("systemctl is-enabled mariadb") == "enabled"


def test_drift_is_found_and_put_back(host, playbook) -> None:
    root(host, "GRANT ALL ON *.* TO shop@localhost WITH GRANT OPTION")
    root(host, "GRANT SELECT ON shop.* TO blog@localhost; REVOKE INSERT ON blog.* FROM blog@localhost")
    root(host, "ALTER USER blog@127.0.0.1 IDENTIFIED BY 'other-password'")
    root(host, "ALTER USER root@localhost IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR unix_socket")
    root(host, "CREATE USER ''@localhost; CREATE USER root@'%' IDENTIFIED BY 'x'; CREATE DATABASE test")
    root(host, "CREATE USER kept@localhost; CREATE DATABASE kept")
    host.check_output(f"echo max-connections = 5 >> {CONFIG}; systemctl disable mariadb")
    predicted = playbook(check=True)
    assert predicted.rc == 0
    for action in (
        "-max-connections = 5",
        "+enable mariadb.service",
        "+DROP USER ''@'localhost'",
        "+ALTER USER 'root'@'%' ACCOUNT LOCK",
        "+ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket",
        "+DROP DATABASE `test`",
        "+ALTER USER 'blog'@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING '(not shown)'",
        "+REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'shop'@'localhost'",
        "+GRANT ALL PRIVILEGES ON `blog`.* TO 'blog'@'localhost'",
        "+REVOKE ALL PRIVILEGES ON `shop`.* FROM 'blog'@'localhost'",
    ):
        assert action in predicted.output, predicted.output
    assert playbook().rc == 0
    assert sql(host, "SELECT 1", "shop", database="shop").rc == 0
    assert sql(host, "SELECT 1", "shop").rc != 0
    tcp = "--host=127.0.0.1 --user=blog --skip-ssl"
    assert sql(host, "SELECT 1", "shop", tcp, password="blog-password-1").rc == 0
    assert root(host, "SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'kept'") == "1"
    assert root(host, "SHOW DATABASES LIKE 'kept'") == "kept"
    root(host, "DROP USER root@'%', kept@localhost; DROP DATABASE kept")


def test_what_is_wrong_is_refused_and_the_old_configuration_serves(host, playbook) -> None:
    """Also: after all that, and after the drift was put back, there is nothing to do for what is declared."""
    before, up = host.check_output(f"sha256sum {CONFIG}"), started(host)
    broken = [
        ({"settings": {"innodb_buffer_pool_size": "lots", "work_mem": 1}}, "Unknown suffix 'l' used for variable"),
        ({"tls_key": "/etc/ssl/private/missing.key"}, "/etc/ssl/private/missing.key"),
        ({"bind_addresses": ["192.0.2.1"]}, "192.0.2.1 is no address of this host"),
    ]
    bad = {
        "memory_mb": 128,
        "collation": "latin1_swedish_ci",
        "databases": [{"name": "mysql"}],
        "users": [
            {"name": "Blog"},
            {"name": "far", "host": "10.0.0.9"},
            {"name": "none", "host": "127.0.0.1", "auth": "password"},
            {"name": "clear", "host": "10.0.0.9", "auth": "password", "password": "x"},
        ],
    }
    run = playbook({"refused": [*(change for change, _ in broken), bad]}, path="refused.yml")
    assert (run.rc, run.changed) == (0, 0) and "rescued=4 " in run.output, run.output
    refused, *_ = re.split(r"TASK .Run the role with what was there before", run.output)
    # One by one: the words of its own and no others.
    found = [" ".join(text.split()) for text in refused.split("TASK [Go on]")[:-1]]
    for text, (_, words) in zip(found, broken):
        assert words in text and "old configuration stays in place" in text, text
    for words in (
        "MariaDB needs 256 MB at least, and has 128",
        "latin1_swedish_ci is none of utf8mb4",
        "the name Blog: use a-z",
        "the name mysql has a meaning of its own",
        "far cannot use the socket from another host",
        "none has no password; set it, or auth: socket",
        "clear would talk to another host in the clear; set tls: true",
    ):
        assert words in found[3], found[3]
    assert host.check_output(f"sha256sum {CONFIG}") == before
    assert started(host) == up
    assert host.run("ls -d /tmp/tmp.*/data").rc != 0


def test_accounts_and_databases_come_and_go(host, playbook) -> None:
    """A new password is written nowhere; data is dropped only when told so twice; files newer than the server restart it."""
    tcp = "--host=127.0.0.1 --user=blog --skip-ssl"
    changed = {**LOCAL, "password": "very-new-secret"}
    user, database = {"name": "old_one", "databases": ["old_one"]}, {"name": "old_one"}
    host.check_output(f"id -u old_one || useradd old_one; touch {CONFIG}")
    run = playbook({"mariadb_users": [BLOG, SHOP, changed, user], "mariadb_databases": [database]}, "-vvv")
    assert run.rc == 0 and "very-new-secret" not in re.sub(r"(?m)^ansible-playbook .*$|--extra-vars.*", "", run.output)
    assert "+restart mariadb.service" in run.output, run.output
    assert sql(host, "SELECT 1", "shop", tcp, password="very-new-secret").rc == 0
    assert sql(host, "SELECT 1", "shop", tcp, password="blog-password-1").rc != 0
    assert host.run("grep -rlE 'very-new-secret|[*][0-9A-F]{40}' /var/log/mysql /root").stdout == ""
    # sudo logs the commands of this test.
    journal = host.run(
        "journalctl -o json --output-fields=MESSAGE,_COMM | grep -e very-new-secret | grep -vE 'sudo|COMMAND='"
    )
    assert journal.stdout == ""
    assert sql(host, "CREATE TABLE data AS SELECT 1 AS one", "old_one", database="old_one").rc == 0
    # Nothing that its name would match as a pattern.
    assert sql(host, "CREATE DATABASE oldxone", "old_one", database="old_one").rc != 0
    gone = {
        "mariadb_users": [{**user, "state": "absent"}],
        "mariadb_databases": [{**database, "state": "absent"}],
    }
    run = playbook(gone)
    assert run.rc == 0 and "the database old_one is kept with its data" in run.output, run.output
    assert root(host, "SELECT one FROM old_one.data") == "1"
    assert sql(host, "SELECT 1", "old_one", database="old_one").rc != 0
    gone["mariadb_databases"][0]["drop"] = True
    assert playbook(gone).rc == 0
    assert root(host, "SHOW DATABASES LIKE 'old%'") == ""
    assert root(host, "SHOW DATABASES LIKE 'blog'") == "blog"


def test_a_run_that_was_cut_is_healed(host, playbook) -> None:
    """Killed after the files were written: the server neither restarted nor runs. Also the password of before is back."""
    host.check_output(f"systemctl stop mariadb; touch {CONFIG}")
    assert sql(host, "SELECT 1").rc != 0
    assert playbook().rc == 0
    assert sql(host, "SELECT 1").stdout == "1\n"
    tcp = "--host=127.0.0.1 --user=blog --skip-ssl"
    assert sql(host, "SELECT 1", "shop", tcp, password="blog-password-1").rc == 0
