"""PgBouncer as applications and operators meet it, with a PostgreSQL on the same machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

BLOG = {"name": "blog", "pool_size": 3}
SHOP = {"name": "shop", "host": "127.0.0.1", "password": "shop-password-1", "auth": "password", "pool_size": 3}
SETTINGS = {"server_idle_timeout": 300}
HOLD = "/run/test-pgbouncer"


def client(role: str, database: str, password: str = "", user: str = "", more: str = "") -> str:
    """The command line of psql through the pooler, as a user of the operating system."""
    login = f"env PGPASSWORD='{password}' psql -w -XAtq -v ON_ERROR_STOP=1 -h /run/pgbouncer -p 6432 -U {role} -d {database} {more}"
    return f"cd /; timeout 20 runuser -u {user or role} -- {login}"


def sql(host, statement: str, role: str = "blog", database: str = "", password: str = "", user: str = ""):
    return host.run(client(role, database or role, password, user) + " -c %s", statement)


def superuser(host, statement: str) -> str:
    return host.check_output("cd /; runuser -u postgres -- psql -XAtq -c %s", statement)


def pid(host) -> str:
    return host.check_output("systemctl show --value -p MainPID pgbouncer")


@contextlib.contextmanager
def held(host, count: int) -> Iterator[None]:
    """Clients of blog that ask once, stay idle, and ask again on the same connection at the end."""
    feed = f'sh -c \'echo "SELECT 1;"; until [ -e {HOLD}/go ]; do sleep 0.2; done; echo "SELECT 2;"\''
    host.check_output(f"rm -rf {HOLD}; mkdir {HOLD}")
    psql = client("blog", "blog").replace("timeout 20", "timeout 120")
    for number in range(count):
        host.check_output(f"setsid sh -c %s >{HOLD}/{number} 2>&1 </dev/null &", f"{feed} | ({psql})")
    host.check_output(f"timeout 20 sh -c 'until [ $(cat {HOLD}/* | grep -c 1) = {count} ]; do sleep 0.2; done'")
    yield
    host.check_output(f"touch {HOLD}/go")
    host.check_output(f"timeout 20 sh -c 'until [ $(cat {HOLD}/* | grep -c 2) = {count} ]; do sleep 0.2; done'")
    for number in range(count):
        assert host.file(f"{HOLD}/{number}").content_string == "1\n2\n"


def test_a_site_works_with_its_database_without_a_password(host) -> None:
    done = sql(host, "CREATE TABLE IF NOT EXISTS note (body text); TRUNCATE note; INSERT INTO note VALUES ('naïve ☃')")
    assert done.rc == 0, done.stderr
    assert sql(host, "SELECT current_user, body FROM note").stdout == "blog|naïve ☃\n"


def test_who_is_somebody_else_is_refused(host) -> None:
    for other in ("shop", "root", "postgres"):
        refused = sql(host, "SELECT 1", "blog", user=other)
        assert refused.rc != 0 and "login rejected" in refused.stderr, refused
    for role, database in (("blog", "shop"), ("postgres", "blog"), ("postgres", "postgres")):
        refused = sql(host, "SELECT 1", role, database)
        assert refused.rc != 0 and "FATAL" in refused.stderr, refused


def test_where_a_password_is_asked_for_it_decides(host) -> None:
    assert sql(host, "SELECT current_user", "shop", password="shop-password-1", user="blog").stdout == "shop\n"
    for wrong in ("shop-password-2", "blog-password-1"):
        refused = sql(host, "SELECT 1", "shop", password=wrong)
        assert refused.rc != 0 and "SASL authentication failed" in refused.stderr
    assert "no password supplied" in sql(host, "SELECT 1", "shop").stderr


def test_passwords_are_in_one_file_that_others_cannot_read(host) -> None:
    found = host.run("grep -rl shop-password-1 /etc /run /usr/local 2>/dev/null").stdout
    assert found == "/etc/pgbouncer/userlist.txt\n"
    file = host.file("/etc/pgbouncer/userlist.txt")
    assert (file.user, file.group, oct(file.mode)) == ("root", "pgbouncer", "0o640")
    assert host.run("journalctl -q -b -u pgbouncer -g shop-password-1").stdout == ""


def test_many_clients_share_few_connections(host) -> None:
    """A dozen at once, while as many more have a connection and do nothing."""
    work = client("blog", "blog") + " -c 'SELECT pg_backend_pid() FROM pg_sleep(0.3)'"
    with held(host, 6):
        done = host.run(f"for number in $(seq 12); do ({work}) & done; wait")
        answers = done.stdout.split()
        assert len(answers) == 12, done.stderr
        assert len(set(answers)) == 3
        assert superuser(host, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'blog'") == "3"


def test_a_database_may_have_another_name(host) -> None:
    assert sql(host, "SELECT current_user, current_database()", "blog", "blog-reports").stdout == "blog|blog\n"
    assert sql(host, "SELECT 1", "shop", "blog-reports").rc != 0


def test_there_is_no_port(host) -> None:
    assert host.run("ss -Hltnp | grep -E 'pgbouncer|:6432'").stdout == ""
    assert host.check_output("pgrep -u pgbouncer -c pgbouncer") == "1"


def test_the_sandbox_holds(host) -> None:
    score = host.check_output("systemd-analyze security --no-pager pgbouncer | tail -n 1")
    assert float(score.split(": ")[1].split()[0]) < 2.0
    writable = host.check_output(f"awk '$6 ~ /^rw/ {{print $5}}' /proc/{pid(host)}/mountinfo").split()
    assert not {"/", "/etc", "/etc/pgbouncer", "/var", "/var/lib", "/var/log"} & set(writable)


def test_a_reload_keeps_every_connection(host, playbook) -> None:
    """Another size, another setting and another password: the process and its clients stay."""
    process = pid(host)
    superuser(host, "ALTER ROLE shop PASSWORD 'shop-password-2'")
    with held(host, 2):
        changed = {**SHOP, "password": "shop-password-2"}
        databases = [{**BLOG, "pool_size": 1}, changed]
        run = playbook({"pgbouncer_databases": databases, "pgbouncer_settings": {"server_idle_timeout": 200}})
        assert run.rc == 0 and "+reload pgbouncer.service" in run.output, run.output
        assert "shop-password" not in run.output
        assert sql(host, "SELECT current_user", "shop", password="shop-password-2").stdout == "shop\n"
        assert sql(host, "SELECT 1", "shop", password="shop-password-1").rc != 0
    assert pid(host) == process
    superuser(host, "ALTER ROLE shop PASSWORD 'shop-password-1'")
    assert playbook().rc == 0


def test_a_restart_finishes_transactions_and_shuts_nobody_out(host, machine) -> None:
    """Who comes meanwhile is served afterwards; 1.18 (Debian 12) still takes them, and drops them at its end."""
    process = pid(host)
    long, short = (client("blog", "blog") + f" -c 'SELECT {one}'" for one in ("pg_sleep(2), 3", "4"))
    script = f"({long}) & sleep 0.7; systemctl restart pgbouncer & sleep 0.5; {{}} wait; ({short})"
    done = host.run("bash -c %s", script.format(f"({short});" if machine == "debian13" else ""))
    assert done.stdout.split() == (["|3", "4", "4"] if machine == "debian13" else ["|3", "4"]), done
    assert pid(host) != process


def test_a_setting_that_is_read_at_the_start_restarts(host, playbook) -> None:
    process = pid(host)
    run = playbook({"pgbouncer_settings": {**SETTINGS, "pkt_buf": 8192}})
    assert run.rc == 0 and "+restart pgbouncer.service" in run.output, run.output
    assert pid(host) != process
    console = "runuser -u pgbouncer -- psql -XAtq -h /run/pgbouncer -p 6432 pgbouncer -c 'SHOW CONFIG' | grep ^pkt_buf"
    assert host.check_output(f"cd /; {console}").startswith("pkt_buf|8192|")
    assert playbook().rc == 0


def test_drift_is_found_and_put_back(host, playbook) -> None:
    host.check_output(
        "sed -i 's/^pool_mode.*/pool_mode = session/' /etc/pgbouncer/pgbouncer.ini; chmod 0644 /etc/pgbouncer/userlist.txt; "
        "rm /etc/systemd/system/pgbouncer.service.d/webstack.conf; systemctl stop pgbouncer.socket pgbouncer"
    )
    predicted = playbook(check=True)
    assert predicted.rc == 0 and predicted.changed == 1, predicted.output
    assert playbook().rc == 0
    assert sql(host, "SELECT 1").stdout == "1\n"
    assert oct(host.file("/etc/pgbouncer/userlist.txt").mode) == "0o640"
    assert host.file("/etc/pgbouncer/pgbouncer.ini").contains("^pool_mode = transaction$")
    assert host.check_output("systemctl show --value -p User pgbouncer") == "pgbouncer"
    assert playbook().changed == 0


def test_what_is_wrong_is_refused_and_the_old_configuration_serves(host, playbook) -> None:
    bad = [
        {"name": "Blog"},
        {"name": "pgbouncer"},
        {"name": "asks", "auth": "password"},
        {"name": "far", "host": "192.0.2.3"},
        {"name": "none", "pool_size": 0},
        {"name": "twice"},
        {"name": "twice", "user": "far", "password": "far-password-1"},
        {"name": "lines", "password": "first-line\nsecond-line"},
    ]
    cases = [
        ({"settings": {"pool_mode": "sometimes"}}, ["sometimes", "pool_mode"]),
        ({"settings": {"max_clint_conn": 7}}, ["max_clint_conn"]),
        ({"databases": [{"name": "blog", "auth": "md5"}]}, ["value of auth must be one of: peer, password"]),
        (
            {"databases": bad},
            [
                "the name Blog: use a-z",
                "the name pgbouncer is that of its own console",
                "asks asks its clients for a password and has none",
                "far is on another host, where PostgreSQL asks for a password",
                "none: pool_size must be at least 1",
                "a name is given twice",
                "a user has two passwords",
                "the password of lines has a line break",
            ],
        ),
    ]
    files = "sha256sum /etc/pgbouncer/*"
    before, process = host.check_output(files), pid(host)
    run = playbook({"refused": [case for case, _ in cases]}, path="refused.yml")
    assert (run.rc, run.changed) == (0, 0) and f"rescued={len(cases)} " in run.output, run.output
    said = [" ".join(text.split()) for text in run.output.split("TASK [Go on]")[1:]]
    for text, (_, expected) in zip(said, cases, strict=True):
        for words in expected:
            assert words in text, text
    assert host.check_output(files) == before
    assert pid(host) == process
    assert sql(host, "SELECT 1").stdout == "1\n"


def test_a_server_that_was_restarted_is_found_again(host) -> None:
    host.check_output("systemctl restart postgresql")
    assert sql(host, "SELECT 5").stdout == "5\n"


def test_retiring(host, playbook, machine) -> None:
    """It goes with its configuration, and comes back."""
    state = "absent" if machine == "debian13" else "disabled"
    run = playbook({"pgbouncer_state": state, "times": 2}, path="../shared/retire.yml")
    expected = 3 if state == "absent" else 2  # service, files and package, and nothing the second time
    assert (run.rc, run.changed) == (0, expected), run.output
    assert host.run("pgrep pgbouncer").rc != 0
    assert (
        host.run("ls -d /etc/pgbouncer/* /etc/systemd/system/pgbouncer* /usr/local/lib/webstack/*pgbouncer").stdout
        == ""
    )
    assert not host.file("/run/pgbouncer/.s.PGSQL.6432").exists
    assert host.package("pgbouncer").is_installed == (state == "disabled")
    assert playbook().rc == 0
    assert sql(host, "SELECT 6").stdout == "6\n"
