"""PostgreSQL as sites and operators meet it; figures are those of 400 MB."""

from __future__ import annotations

import re

import pytest

BLOG = {"name": "blog", "password": "blog-password-1"}
SHOP = {"name": "shop", "password": "shop-password-1"}


def sql(host, statement: str, user: str = "blog", database: str = "blog", more: str = "", password: str = ""):
    """psql as a user of the operating system; `more` are options of psql."""
    return host.run(
        f"cd /; runuser -u {user} -- env PGPASSWORD='{password}' psql -XAtq -v ON_ERROR_STOP=1 {more} -d {database} -c %s",
        statement,
    )


def superuser(host, statement: str, database: str = "postgres") -> str:
    done = sql(host, statement, "postgres", database)
    assert done.rc == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def address(host) -> str:
    return host.check_output("hostname -I").split()[0]


def started(host) -> str:
    return superuser(host, "SELECT pg_postmaster_start_time()")


@pytest.mark.parametrize("database", ["shop", "postgres", "template1"])
def test_a_site_connects_to_no_database_but_its_own(host, database) -> None:
    assert "User does not have CONNECT privilege" in sql(host, "SELECT 1", database=database).stderr
    assert superuser(host, "SELECT 1", database) == "1"


def test_a_site_works_with_its_database_by_peer(host) -> None:
    done = sql(host, "CREATE TABLE IF NOT EXISTS note (body text); TRUNCATE note; INSERT INTO note VALUES ('naïve ☃')")
    assert done.rc == 0, done.stderr
    assert sql(host, "SELECT body FROM note").stdout == "naïve ☃\n"


def test_over_tcp_the_password_decides(host) -> None:
    tcp = "-h 127.0.0.1 -U blog -w"
    assert sql(host, "SELECT current_user", "shop", "blog", tcp, "blog-password-1").stdout == "blog\n"
    wrong = sql(host, "SELECT 1", "blog", "blog", tcp, "blog-password-2")
    assert wrong.rc != 0 and "password authentication failed" in wrong.stderr
    stored = superuser(host, "SELECT rolpassword FROM pg_authid WHERE rolname = 'blog'")
    assert stored.startswith("SCRAM-SHA-256$4096:")


def test_a_site_cannot_reach_the_database_of_another(host) -> None:
    assert sql(host, "SELECT 1", "shop", "shop").stdout == "1\n"
    refused = sql(host, "SELECT 1", "shop", "blog")
    assert refused.rc != 0 and "permission denied for database" in refused.stderr
    masked = sql(host, "SELECT 1", "shop", "blog", "-U blog")
    assert masked.rc != 0 and "Peer authentication failed" in masked.stderr


def test_the_superuser_comes_by_peer_only(host, address) -> None:
    for to in ("127.0.0.1", address):
        refused = sql(host, "SELECT 1", "postgres", "postgres", f"-h {to} -w", "x")
        assert refused.rc != 0 and "pg_hba.conf rejects" in refused.stderr
    others = superuser(host, "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper AND rolname <> 'postgres'")
    assert others == ""


def test_other_hosts_come_by_tls_only(host, address) -> None:
    there = f"-h {address} -U blog -w"
    query = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert sql(host, query, "shop", "blog", there, "blog-password-1").stdout == "TLSv1.3\n"
    plain = host.run(f"PGPASSWORD=blog-password-1 PGSSLMODE=disable psql {there} -d blog -c 'SELECT 1'")
    assert plain.rc != 0 and "no pg_hba.conf entry" in plain.stderr
    undeclared = sql(host, "SELECT 1", "shop", "shop", f"-h {address} -U shop -w", "shop-password-1")
    assert undeclared.rc != 0 and "no pg_hba.conf entry" in undeclared.stderr


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("shared_buffers", "100MB"),
        ("effective_cache_size", "300MB"),
        ("maintenance_work_mem", "25MB"),
        ("work_mem", "2MB"),
        ("max_connections", "100"),
        ("max_wal_size", "1GB"),
        ("checkpoint_timeout", "15min"),
        ("random_page_cost", "1.1"),
        ("wal_compression", "lz4"),
        ("autovacuum_vacuum_scale_factor", "0.05"),
        ("idle_in_transaction_session_timeout", "10min"),
        ("log_min_duration_statement", "1s"),
        ("log_lock_waits", "on"),
        ("log_temp_files", "10MB"),
        ("password_encryption", "scram-sha-256"),
        ("ssl", "on"),
        ("shared_preload_libraries", "pg_stat_statements"),
        ("deadlock_timeout", "2s"),
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
    ],
)
def test_settings(host, setting, value) -> None:
    assert superuser(host, f"SHOW {setting}") == value


def test_databases_are_utf8_whatever_the_locale(host) -> None:
    rows = superuser(host, "SELECT DISTINCT pg_encoding_to_char(encoding), datcollate FROM pg_database ORDER BY 1")
    assert rows == "UTF8|C.UTF-8"


def test_extensions_are_where_they_were_declared(host) -> None:
    query = "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension"
    assert superuser(host, query, "blog") == "pg_stat_statements,pg_trgm,plpgsql"
    assert superuser(host, query, "shop") == "plpgsql"
    assert sql(host, "SELECT count(*) > 0 FROM pg_stat_statements").stdout == "t\n"


def test_a_user_of_the_system_may_be_another_role_where_a_map_says_so(host, playbook) -> None:
    declared = {
        "postgresql_ident": [{"map": "ops", "system_user": "shop", "database_user": "blog"}],
        "postgresql_hba": [
            {"type": "local", "database": "blog", "user": "blog", "method": "peer", "options": {"map": "ops"}}
        ],
    }
    assert playbook(declared).rc == 0
    assert sql(host, "SELECT current_user", "shop", "blog", "-U blog").stdout == "blog\n"
    assert playbook().rc == 0
    assert "Peer authentication failed" in sql(host, "SELECT 1", "shop", "blog", "-U blog").stderr


def test_it_waits_for_the_addresses_that_it_listens_on(host) -> None:
    unit = host.check_output("systemctl list-units --plain --no-legend 'postgresql@*' | cut -d ' ' -f 1")
    shown = host.check_output(f"systemctl show -p Wants -p After {unit}")
    assert shown.count("network-online.target") == 2, shown


def test_a_restart_keeps_data(host) -> None:
    assert sql(host, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer").rc == 0
    host.check_output("systemctl restart postgresql")
    assert sql(host, "SELECT DISTINCT answer FROM kept").stdout == "42\n"
    assert host.check_output("systemctl is-enabled postgresql") == "enabled"
    assert host.check_output("cat /etc/postgresql/*/main/start.conf | tail -n 1") == "auto"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"postgresql_settings": {"shared_buffers": "lots"}}, ['invalid value for parameter "shared_buffers"']),
        ({"postgresql_settings": {"work_mm": "1MB"}}, ['unrecognized configuration parameter "work_mm"']),
        (
            {"postgresql_hba": [{"database": "blog", "user": "blog", "address": "10.0.0.2/99"}]},
            ['invalid CIDR mask in address "10.0.0.2/99"'],
        ),
        (
            {"postgresql_ident": [{"map": "m", "system_user": "/(", "database_user": "blog"}]},
            ['invalid regular expression "("'],
        ),
    ],
)
def test_a_broken_configuration_is_refused_and_the_old_one_serves(host, playbook, variables, words) -> None:
    files = "sha256sum /etc/postgresql/*/main/* /etc/postgresql/*/main/conf.d/* 2>/dev/null"
    before, up = host.run(files).stdout, started(host)
    run = playbook(variables)
    assert run.rc != 0
    for expected in [*words, "old configuration stays in place"]:
        assert expected in run.output, run.output
    assert host.run(files).stdout == before
    assert started(host) == up
    assert host.run("ls -d /tmp/tmp.*/data").rc != 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {
                "postgresql_roles": [{"name": "Blog"}, {"name": "postgres"}],
                "postgresql_databases": [{"name": "blog"}, {"name": "a", "owner": "ghost"}],
                "postgresql_hba": [{"database": "a", "user": "a"}],
            },
            [
                "the name Blog: use a-z",
                "the name postgres has a meaning of its own",
                "blog has no owner; name a role of postgresql_roles",
                "the owner ghost is not in postgresql_roles",
                "the entry of a needs an address",
            ],
        ),
        (
            {"postgresql_hba": [{"database": "a", "user": "a", "address": "::/0", "method": "trust"}]},
            ["value of method must be one of: scram-sha-256, cert, peer, reject"],
        ),
        ({"postgresql_version": 13}, ["would start empty beside it; set postgresql_version to keep it"]),
        ({"postgresql_packages": ["postgresql-nonsense"]}, ["postgresql-nonsense is packaged for Debian"]),
        (
            {"postgresql_databases": [{"name": "blog", "owner": "blog", "extensions": ["nonsense"]}]},
            ["the extension nonsense is not installed on this host"],
        ),
    ],
)
def test_bad_input_is_said_clearly(playbook, variables, words) -> None:
    run = playbook(variables)
    assert run.rc != 0
    for expected in words:
        assert expected in run.output, run.output


def test_what_only_needs_a_reload_does_not_restart(host, playbook) -> None:
    up = started(host)
    assert playbook({"postgresql_slow_query_ms": 250}).rc == 0
    assert superuser(host, "SHOW log_min_duration_statement") == "250ms"
    assert started(host) == up
    assert playbook({"postgresql_max_connections": 90}).rc == 0
    assert superuser(host, "SHOW max_connections") == "90"
    assert started(host) != up
    assert playbook().rc == 0
    assert superuser(host, "SHOW max_connections") == "100"


def test_drift_is_found_and_put_back(host, playbook) -> None:
    superuser(host, "ALTER SYSTEM SET work_mem = '64MB'")
    superuser(host, "GRANT CONNECT ON DATABASE blog TO PUBLIC")
    superuser(host, "ALTER ROLE shop SUPERUSER PASSWORD 'other'")
    superuser(host, "GRANT pg_read_all_data TO shop")
    superuser(host, "GRANT CREATE ON SCHEMA public TO PUBLIC", "blog")
    superuser(host, "DROP EXTENSION pg_trgm", "blog")
    host.check_output("for f in /etc/postgresql/*/main/pg_hba.conf; do echo 'host all all 0.0.0.0/0 trust' >> $f; done")
    host.check_output("systemctl reload postgresql")
    host.check_output("systemctl disable postgresql; sed -i s/auto/manual/ /etc/postgresql/*/main/start.conf")
    predicted = playbook(check=True)
    assert predicted.rc == 0
    for action in (
        "-host all all 0.0.0.0/0 trust",
        "+ALTER SYSTEM RESET work_mem",
        '+REVOKE ALL ON DATABASE "blog" FROM PUBLIC',
        '+ALTER ROLE "shop" LOGIN INHERIT NOSUPERUSER',
        "+ALTER ROLE \"shop\" PASSWORD '(not shown)'",
        '+REVOKE "pg_read_all_data" FROM "shop"',
        "+REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        '+CREATE EXTENSION IF NOT EXISTS "pg_trgm"',
        "+enable postgresql.service",
        "-manual",
    ):
        assert action in predicted.output, predicted.output
    assert playbook().rc == 0
    assert superuser(host, "SHOW work_mem") == "2MB"
    assert sql(host, "SELECT 1", "shop", "blog").rc != 0
    assert superuser(host, "SELECT rolsuper FROM pg_roles WHERE rolname = 'shop'") == "f"
    assert superuser(host, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust'") == "0"
    assert sql(host, "SELECT 1", "shop", "shop", "-h 127.0.0.1 -U shop -w", "shop-password-1").rc == 0
    again = playbook()
    assert again.rc == 0 and again.changed == 0, again.output


def test_a_new_password_is_written_nowhere(host, playbook) -> None:
    run = playbook({"postgresql_roles": [{**BLOG, "password": "very-new-secret"}, SHOP]})
    assert run.rc == 0 and "very-new-secret" not in run.output
    tcp = "-h 127.0.0.1 -U blog -w"
    assert sql(host, "SELECT 1", "shop", "blog", tcp, "very-new-secret").rc == 0
    assert sql(host, "SELECT 1", "shop", "blog", tcp, "blog-password-1").rc != 0
    assert host.run("grep -rlE 'very-new-secret|SCRAM-SHA-256[$]' /var/log/postgresql").stdout == ""
    # sudo logs the commands of this test; journald may come too late to see that it was sudo.
    journal = host.run(
        "journalctl -o json --output-fields=MESSAGE,_COMM | grep -E 'very-new-secret|SCRAM-SHA-256[$]' | grep -vE 'sudo|COMMAND='"
    )
    assert journal.stdout == ""
    assert superuser(host, "SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%SCRAM-SHA%$%:%'", "blog") == "0"
    assert playbook().rc == 0
    assert sql(host, "SELECT 1", "shop", "blog", tcp, "blog-password-1").rc == 0


def test_data_is_dropped_only_when_told_so_twice(host, playbook) -> None:
    owner, database = {"name": "old", "password": "old-password"}, {"name": "old", "owner": "old"}
    host.check_output("id -u old || useradd old")
    assert playbook({"postgresql_roles": [owner], "postgresql_databases": [database]}).rc == 0
    assert sql(host, "CREATE TABLE data AS SELECT 1 AS one", "old", "old").rc == 0
    gone = {
        "postgresql_roles": [{**owner, "state": "absent"}],
        "postgresql_databases": [{**database, "state": "absent"}],
    }
    run = playbook(gone)
    assert run.rc == 0 and "the database old is kept with its data" in run.output, run.output
    assert superuser(host, "SELECT one FROM data", "old") == "1"
    refused = sql(host, "SELECT 1", "old", "old")
    assert refused.rc != 0 and "not permitted to log in" in refused.stderr
    gone["postgresql_databases"][0]["drop"] = True
    assert playbook(gone).rc == 0
    assert superuser(host, "SELECT count(*) FROM pg_database WHERE datname = 'old'") == "0"
    assert superuser(host, "SELECT count(*) FROM pg_roles WHERE rolname = 'old'") == "0"
    assert superuser(host, "SELECT count(*) FROM pg_database WHERE datname IN ('blog', 'shop')") == "2"


def test_a_run_that_was_cut_is_healed(host, playbook) -> None:
    """Killed after the files were written: the server neither reloaded nor runs."""
    host.check_output("systemctl stop postgresql 'postgresql@*'")  # the first does not wait for the others
    host.check_output("touch /etc/postgresql/*/main/pg_hba.conf")
    superuser_down = sql(host, "SELECT 1", "postgres", "postgres")
    assert superuser_down.rc != 0
    assert playbook().rc == 0
    assert sql(host, "SELECT 1").stdout == "1\n"
    host.check_output("systemctl stop 'postgresql@*'")
    assert playbook().rc == 0
    assert sql(host, "SELECT 1").stdout == "1\n"
    host.check_output("touch /etc/postgresql/*/main/pg_hba.conf")
    run = playbook()
    assert run.rc == 0 and "+reload" in run.output, run.output
    assert playbook().changed == 0


def test_a_cluster_that_is_gone_is_made_again(host, playbook) -> None:
    """The package makes one only when it is installed."""
    host.check_output("pg_dropcluster --stop $(basename $(dirname $(ls -d /etc/postgresql/*/main))) main")
    assert playbook().rc == 0
    assert sql(host, "SELECT 1").stdout == "1\n"
    assert superuser(host, "SHOW server_encoding") == "UTF8"
    assert superuser(host, "SHOW data_checksums") == "on"
    assert playbook().changed == 0


def test_the_unit_is_closed(host) -> None:
    unit = host.check_output("systemctl list-units --plain --no-legend 'postgresql@*' | cut -d ' ' -f 1")
    scored = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -n 1")
    assert float(re.search(r"level for \S+: ([0-9.]+)", scored).group(1)) <= 2.5
    assert sql(host, "SET jit_above_cost = 0; SELECT sum(g) FROM generate_series(1, 1000) g").stdout == "500500\n"
