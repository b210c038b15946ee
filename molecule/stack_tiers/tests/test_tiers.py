"""Five servers, asked through the web server as visitors do."""

from __future__ import annotations

import json
import re
import time

import pytest

testinfra_hosts = ["ansible://web1"]
SITES = ["plain", "databaseurl"]


@pytest.mark.parametrize("site", SITES)
def test_page_from_the_database_of_another_server(browse, site):
    (page,) = browse({"url": f"https://{site}.example.com/"})
    assert page["status"] == 200
    assert f"<h1>Notes of {site}</h1>" in page["body"]
    assert "the first note, from a migration" in page["body"]


@pytest.mark.parametrize("site", SITES)
def test_static_files_are_on_the_web_server(host, browse, site):
    (page,) = browse({"url": f"https://{site}.example.com/"})
    href = re.search(r'href="([^"]+\.css)"', page["body"]).group(1)
    (style,) = browse({"url": f"https://{site}.example.com{href}"})
    assert style["status"] == 200
    assert "rebeccapurple" in style["body"]
    assert host.file(f"/srv/{site}/public{href}").is_file


def test_the_web_server_knows_no_secret(host):
    assert not host.file("/etc/webstack/plain/env").exists
    assert not host.user("plain").exists
    assert not host.file("/srv/plain/current").exists


@pytest.mark.parametrize("away", ["app1", "app2"])
def test_one_application_server_may_fail(other, browse, away):
    machine = other(away)
    machine.check_output("systemctl stop plain-web.socket plain-web.service")
    try:
        assert [page["status"] for page in browse(*[{"url": "https://plain.example.com/"}] * 6)] == [200] * 6
    finally:
        machine.check_output("systemctl start plain-web.socket plain-web.service")
        time.sleep(6)  # nginx asks a server that failed again after five seconds


def test_both_application_servers_share_sessions(browse):
    """A session made by one is known to the other, since it is in the cache and the database of the tier."""
    visits = {"url": "https://plain.example.com/visits/"}
    answers = browse(*[visits] * 8)
    assert [json.loads(answer["body"])["visits"] for answer in answers] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_database_takes_only_encrypted_connections_of_its_sites(other):
    address = other("db1").ansible.get_variables()["bed_address"]
    query = f"postgresql://plain:wrong@{address}/plain?sslmode=%s"
    app = other("app1")
    refused = app.run(
        "/srv/plain/current/venv/bin/python -c %s", f"import psycopg; psycopg.connect('{query % 'require'}')"
    )
    assert "password authentication failed" in refused.stderr
    plain = app.run(
        "/srv/plain/current/venv/bin/python -c %s", f"import psycopg; psycopg.connect('{query % 'disable'}')"
    )
    assert "no pg_hba.conf entry" in plain.stderr
    assert "no encryption" in plain.stderr


@pytest.mark.parametrize("site", SITES)
def test_applications_share_encrypted_connections(other, browse, site):
    """Through the pooler beside each of them."""
    assert [page["status"] for page in browse(*[{"url": f"https://{site}.example.com/"}] * 6)] == [200] * 6
    for name in ("app1", "app2"):
        app = other(name)
        show = "cd /; runuser -u pgbouncer -- psql -XAtq -h /run/pgbouncer -p 6432 pgbouncer -c 'SHOW %s' | grep '|{0}|{0}|'"
        assert app.run(show.format(site) % "CLIENTS").stdout != ""
        servers = app.run(show.format(site) % "SERVERS").stdout.splitlines()
        assert servers and all("TLSv1.3" in line for line in servers)
    # Who knows the password is the pooler.
    script = other("app1").check_output(f"cat /srv/{site}/current/run/web")
    assert "WEBSTACK_POOLED_" in script and "@" not in script


def test_a_command_goes_to_the_other_server_itself(other):
    address = other("db1").ansible.get_variables()["bed_address"]
    ask = "from django.db import connection as c; c.cursor(); print(c.connection.info.host)"
    assert other("app1").check_output("webstack-manage plain shell -c %s | tail -n 1", ask) == address


def test_the_cache_asks_for_a_password_and_speaks_tls(other):
    cache = other("cache1")
    address = cache.ansible.get_variables()["bed_address"]
    open_ports = cache.check_output("ss -Hlnt | awk '{print $4}'")
    assert f"{address}:6380" in open_ports
    asked = cache.run(f"redis-cli --tls --insecure -h {address} -p 6380 ping")
    assert "NOAUTH" in asked.stdout + asked.stderr


KNOCK = "timeout 3 bash -c '</dev/tcp/{}/{}'"
USERS = {
    ("db1", 5432): {"app1", "app2"},
    ("cache1", 6379): {"app1", "app2"},
    ("app1", 8001): {"web1"},
    ("app2", 8002): {"web1"},
}


def test_each_port_answers_only_those_who_use_it(other):
    """The firewall knows the tiers; SSH, HTTP and HTTPS are for everybody."""
    machines = {name: other(name) for name in ("db1", "cache1", "app1", "app2", "web1")}
    address = {name: one.ansible.get_variables()["bed_address"] for name, one in machines.items()}
    for (name, port), users in USERS.items():
        knock = KNOCK.format(address[name], port)
        assert {one for one in set(machines) - {name} if machines[one].run(knock).rc == 0} == users, (name, port)
    assert machines["db1"].run(KNOCK.format(address["web1"], 443)).rc == 0
    assert machines["db1"].run(KNOCK.format(address["app1"], 22)).rc == 0
