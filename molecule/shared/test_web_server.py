"""What nginx and Apache do alike: the site `pair` (shared/pair.yml) in maintenance, and without one of its servers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

ROLE = os.environ["MOLECULE_SCENARIO_NAME"]
UNIT = {"nginx": "nginx", "apache": "apache2"}[ROLE]
VHOST = {"nginx": "/etc/nginx/webstack.d/{}.conf", "apache": "/etc/apache2/sites-available/webstack-{}.conf"}[ROLE]
PAGE = "/etc/webstack/maintenance/pair.html"
SITE = "https://pair.example.com"
YEAR = "max-age=31536000"


def curl(host, path="/", *options, name="pair.example.com"):
    """Status, headers (names in lower case) and body of an answer, and the version of HTTP."""
    where = f"--resolve {name}:443:127.0.0.1 -D - -o /tmp/body -w '%{{http_version}}'"
    for _time in range(9):
        run = host.run(f"rm -f /tmp/body; curl -sk {where} {' '.join(options)} https://{name}{path}")
        if run.rc != 92:  # Debian 12's curl fails at times where an answer comes before it has sent its body
            break
    assert run.rc == 0, run
    done = run.stdout
    lines = done.replace("\r", "").splitlines()
    pairs = [line.partition(": ")[::2] for line in lines[1:] if ": " in line]
    body = host.file("/tmp/body").content_string if host.file("/tmp/body").exists else ""
    headers = Counter(key.lower() for key, _value in pairs)
    assert not [key for key, count in headers.items() if count > 1 and key != "vary"], done
    return int(lines[0].split()[1]), {key.lower(): value for key, value in pairs}, body, lines[-1]


def workers(host):
    """The processes that answer; a reload would make new ones."""
    listed = host.check_output(f"pgrep -aP $(systemctl show -p MainPID --value {UNIT})").splitlines()
    return sorted(line.split()[0] for line in listed if "nginx: cache" not in line)  # one of those ends by itself


@contextmanager
def page(host, text, path=PAGE) -> Iterator[None]:
    """The file is there, put in place as the playbook does it."""
    host.check_output("printf %%s %s > %s.new; mv %s.new %s", text, path, path, path)
    try:
        yield
    finally:
        host.check_output("rm -f %s", path)


# Maintenance ---------------------------------------------------------------------------------------


def test_the_directory_is_made(host):
    found = host.file("/etc/webstack/maintenance")
    assert (found.is_directory, found.user, found.group, found.mode) == (True, "root", "root", 0o755)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_maintenance(host, version):
    before = workers(host)
    assert curl(host, "/", version)[0] == 200
    for text in ("<h1>Zur\u00fcck um vier</h1>", "<h1>Um f\u00fcnf</h1>"):  # a new text counts at once as well
        with page(host, text):
            for path in ("/", "/a/b%20c?d=e", "/media/x"):
                status, headers, body, spoken = curl(host, path, version)
                assert (status, body) == (503, text)
                assert (headers["retry-after"], headers["cache-control"]) == ("77", "no-store")
                assert headers["content-type"].replace("UTF-8", "utf-8") == "text/html; charset=utf-8"
                assert headers["strict-transport-security"] == YEAR
                assert headers["x-content-type-options"] == "nosniff"
                assert spoken == {"--http1.1": "1.1", "--http2": "2"}[version]
            upgrade = [("-H", "'Upgrade: websocket'", "-H", "'Connection: Upgrade'")] if version == "--http1.1" else []
            for options in (("-X", "POST", "-d", "x=y"), ("-X", "DELETE"), ("-X", "OPTIONS"), *upgrade):
                status, headers, body, _spoken = curl(host, "/", version, *options)
                assert (status, body, headers["retry-after"]) == (503, text, "77"), options
            status, headers, _head, _spoken = curl(host, "/", version, "--head")
            assert (status, headers["retry-after"], headers["content-length"]) == (503, "77", str(len(text.encode())))
            old = ("-H", "'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'", "-H", "'Range: bytes=0-2'")
            assert curl(host, "/", version, *old)[0] == 503
            static = curl(host, "/static/plain.css", version)
            assert (static[0], static[2]) == (200, "h1 {}\n")
            assert "retry-after" not in static[1]
            assert curl(host, "/webstack-maintenance.html", version)[0] == 404
    status, headers, body, _spoken = curl(host, "/", version)
    assert (status, body in ("8003", "8004")) == (200, True)
    assert "retry-after" not in headers
    assert workers(host) == before


def test_other_sites_and_redirects_are_as_ever(host):
    with page(host, "x"):
        assert curl(host, "/", name="blog.example.com")[0] == 200
        redirect = (
            "curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Host: pair.example.com' http://127.0.0.1/a"
        )
        assert host.check_output(redirect) == f"301 {SITE}/a"
        host.check_output("cd /var/www/webstack-acme; mkdir -p .well-known/acme-challenge")
        host.check_output("echo token > /var/www/webstack-acme/.well-known/acme-challenge/y")
        challenge = "curl -s -H 'Host: pair.example.com' http://127.0.0.1/.well-known/acme-challenge/y"
        assert host.check_output(challenge) == "token"


def test_maintenance_of_uwsgi(host):
    name, site = {"nginx": ("wsgi", "wsgi.example.com"), "apache": ("wiki", "wiki.blog.example.com")}[ROLE]
    assert curl(host, "/", name=site)[0] == 200
    with page(host, "later", f"/etc/webstack/maintenance/{name}.html"):
        status, headers, body, _spoken = curl(host, "/", "-d", "x=y", name=site)
        assert (status, body, headers["retry-after"]) == (503, "later", "300")
    assert curl(host, "/", name=site)[0] == 200


def test_an_error_of_the_application_is_its_own(host):
    status, headers, body, _spoken = curl(host, "/busy")
    assert (status, body in ("8003", "8004")) == (503, True)
    assert "retry-after" not in headers


def test_a_page_that_cannot_be_read(host):
    with page(host, "secret"):
        host.check_output(f"chmod 600 {PAGE}")
        status, _headers, body, _spoken = curl(host)
        assert status == 503
        assert "secret" not in body
    assert curl(host, "/webstack-maintenance.html")[0] == 404


def test_the_playbook(host, playbook, tmp_path):
    """Twice on, twice off, in check mode too; with a page of the site's own, and with ours."""
    (tmp_path / "503.html").write_text("<h1>Mine</h1>")
    site = {"name": "pair", "domains": ["pair.example.com"], "path": str(tmp_path), "maintenance": {"page": "503.html"}}

    def run(state, check=False, **more):
        variables = {"django_sites": [{**site, **more}], "site": "pair", "state": state}
        done = playbook(variables, check=check, path="../../playbooks/maintenance.yml")
        assert done.rc == 0, done.output
        return done.changed, done.output

    assert run("on", check=True)[0] == 1
    assert not host.file(PAGE).exists
    assert [run("on")[0], run(True)[0]] == [1, 0]
    assert (host.file(PAGE).mode, host.file(PAGE).user) == (0o644, "root")
    assert curl(host)[::2] == (503, "<h1>Mine</h1>")
    # Role and page do not know of each other: that is no drift, and the page stays.
    assert playbook(check=True).changed == 0
    changed, output = run("on", path="/nowhere")
    assert changed == 1
    assert "there is no file '503.html' in the checkout; visitors see a page of the collection" in output
    assert "pair.example.com is being worked on" in curl(host)[2]
    assert [run("off", check=True)[0], run("off")[0], run(False)[0]] == [1, 1, 0]
    assert curl(host)[0] == 200


def test_the_playbook_says_what_is_wrong(host, playbook):
    sites = [{"name": name, "domains": [f"{name}.example.com"], "path": "/nowhere"} for name in ("pair", "new")]
    for given, words in (
        ({"state": "on"}, "site is missing; say which one, like -e site=blog"),
        ({"site": "pair"}, "maintenance of site pair: state is missing"),
        ({"site": "pair", "state": "maybe"}, "state must be on or off, not 'maybe'"),
        ({"site": "pear", "state": "on"}, "django_sites has no site 'pear'; did you mean 'pair'?"),
        ({"site": "new", "state": "on"}, "site new: this server has no virtual host of it"),
        ({"site": "talk" if ROLE == "nginx" else "numbers", "state": "off"}, "knows no maintenance; run the playbook"),
    ):
        run = playbook({"django_sites": sites, **given}, path="../../playbooks/maintenance.yml")
        assert run.rc != 0
        assert words in " ".join(run.output.split()), run.output


# One application server less -------------------------------------------------------------------------

# Asks until a file is there; new connections and ones that are kept, each with its time. Every error counts, also that of
# a kept connection which is closed just then: nothing may close it.
LOAD = """
import http.client, json, socket, ssl, sys, threading, time
context = ssl._create_unverified_context()
done, seen = threading.Event(), []

def connect():
    connection = http.client.HTTPConnection("pair.example.com")
    plain = socket.create_connection(("127.0.0.1", 443), 10)
    connection.sock = context.wrap_socket(plain, server_hostname="pair.example.com")
    return connection

def ask(keep):
    connection = None
    while not done.is_set():
        time.sleep(0.02)
        start = time.time()
        try:
            connection = connection or connect()
            connection.request("GET", "/", headers={} if keep else {"Connection": "close"})
            reply = connection.getresponse()
            body = reply.read().decode()
            seen.append([start, reply.status, body])
            if not keep or reply.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            connection = None
            seen.append([start, 0, repr(error)])

threads = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(6)]
for thread in threads:
    thread.start()
while not __import__("os").path.exists(sys.argv[1]):
    time.sleep(0.1)
done.set()
for thread in threads:
    thread.join()
json.dump(seen, sys.stdout)
"""


class Load:
    """Visitors of `pair` on another thread, as long as the block lasts."""

    def __init__(self, host):
        self.host = host
        self.stop = f"/tmp/load-{time.time()}"
        self.answers: list[list] = []

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        time.sleep(2)
        return self

    def _run(self):
        self.answers = json.loads(self.host.check_output("timeout 120 python3 -c %s %s", LOAD, self.stop))

    def __exit__(self, *_error):
        time.sleep(2)
        self.host.check_output(f"touch {self.stop}")
        self.thread.join()
        self.host.check_output(f"rm {self.stop}")

    def between(self, start, end):
        """How often each server answered what was asked in that time."""
        return Counter(body for moment, _status, body in self.answers if start < moment < end)


@pytest.fixture
def switch(playbook):
    """switch("drained", "127.0.0.1:8003") -> Run"""

    def run(state, address, check=False, site="pair"):
        variables = {"site": site, "address": address, "state": state}
        return playbook(variables, check=check, path="../shared/upstream.yml")

    return run


def now(host):
    return float(host.check_output("date +%s.%N"))


def bodies(host, number=50, path="/"):
    """The servers that answered so many requests."""
    urls = f"--resolve pair.example.com:443:127.0.0.1 '{SITE}{path}?[1-{number}]'"
    return Counter(host.check_output(f"curl -skf {urls} -w '\\n'").split())


# Switches from HTTP/1.1 to what the server sends, and prints that.
WEBSOCKET = """
import socket, ssl
context = ssl._create_unverified_context()
plain = socket.create_connection(("127.0.0.1", 443), 10)
with context.wrap_socket(plain, server_hostname="pair.example.com") as connection:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: pair.example.com\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n")
    said = b""
    while not said.endswith((b"8003", b"8004")):
        said += connection.recv(999) or exit(said)
    assert said.startswith(b"HTTP/1.1 101 "), said
    print(said[-4:].decode())
"""


def websockets(host):
    return {host.check_output("python3 -c %s", WEBSOCKET) for _time in range(4)}


def test_a_drained_server_gets_nothing_and_no_request_fails(host, switch):
    vhost, before = host.file(VHOST.format("pair")).content_string, workers(host)
    with Load(host) as load:
        first = switch("drained", "127.0.0.1:8003")
        drained = now(host)
        time.sleep(3)
        assert bodies(host) == {"8004": 50}
        again = now(host)
        second = switch("active", "127.0.0.1:8003")
        back = now(host)
    assert (first.rc, first.changed) == (0, 1), first.output
    assert (second.rc, second.changed) == (0, 1), second.output
    assert [answer for answer in load.answers if answer[1] != 200] == []
    assert set(load.between(0, drained)) == {"8003", "8004"}
    assert set(load.between(drained, again)) == {"8004"}
    assert set(load.between(back, back + 99)) == {"8003", "8004"}
    assert len(load.answers) > 300
    assert host.file(VHOST.format("pair")).content_string == vhost
    assert workers(host) == before  # without a reload


def test_a_drained_server_finishes_what_it_has(host, switch):
    started = "for n in 1 2; do curl -sk --resolve pair.example.com:443:127.0.0.1 %s/slow & done; wait"
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(host.check_output, started % SITE)
        time.sleep(1)
        assert switch("drained", "127.0.0.1:8004").rc == 0
        assert sorted([slow.result()[:4], slow.result()[4:]]) == ["8003", "8004"]
    assert switch("active", "127.0.0.1:8004").rc == 0


def test_all_but_the_application_is_as_ever(host, switch):
    assert switch("drained", "127.0.0.1:8003").rc == 0
    try:
        assert websockets(host) == {"8004"}
        for path in ("/a%20b%2Fc?d=e", "//a", "/static"):
            assert curl(host, path)[2] == "8004"
        assert curl(host, "/static/plain.css")[2] == "h1 {}\n"
        with page(host, "later"):
            assert curl(host)[::2] == (503, "later")
        assert curl(host, "/busy")[::2] == (503, "8004")
    finally:
        assert switch("active", "127.0.0.1:8003").rc == 0
    assert websockets(host) == {"8003", "8004"}


def test_uwsgi_is_drained_as_well(host, switch):
    name, site = {"nginx": ("twins", "twins.example.com"), "apache": ("wiki", "wiki.blog.example.com")}[ROLE]

    def processes():
        return {json.loads(curl(host, "/", name=site)[2])["process"] for _time in range(8)}

    both = processes()
    assert len(both) == 2
    seen = []
    for socket in ("web", "second"):
        path = f"/run/webstack/{name}/{socket}.sock"
        assert switch("drained", path, site=name).changed == 1
        seen.append(processes())
        assert switch("active", path, site=name).changed == 1
    assert [len(one) for one in seen] == [1, 1]
    assert set.union(*seen) == both == processes()


def test_all_of_them_get_requests_where_all_are_drained(host):
    """By hand; the module refuses the last one."""
    host.check_output("mkdir -p /run/webstack-drained; touch /run/webstack-drained/pair:1 /run/webstack-drained/pair:2")
    assert set(bodies(host)) == {"8003", "8004"}
    host.check_output("rm /run/webstack-drained/pair:2")
    assert bodies(host) == {"8004": 50}
    host.check_output("rm -r /run/webstack-drained")


def test_the_role_brings_every_server_back(host, switch, playbook):
    """A deployment that was killed while a server was out is healed by the next run."""
    before = workers(host)
    assert switch("drained", "127.0.0.1:8004").changed == 1
    assert switch("drained", "127.0.0.1:8004").changed == 0
    last = switch("drained", "127.0.0.1:8003")
    assert last.rc != 0
    assert "127.0.0.1:8003 is the last application server that gets requests" in " ".join(last.output.split())
    assert bodies(host) == {"8003": 50}
    assert playbook(check=True).changed == 1
    run = playbook()
    assert run.rc == 0, run.output
    assert set(bodies(host)) == {"8003", "8004"}
    assert switch("active", "127.0.0.1:8004").changed == 0
    assert playbook(check=True).changed == 0
    assert workers(host) == before


def test_a_check_drains_nothing(host, switch):
    run = switch("drained", "127.0.0.1:8003", check=True)
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "/run/webstack-drained/pair:1" in run.output
    assert set(bodies(host)) == {"8003", "8004"}


def test_what_cannot_be_drained(switch):
    for state, address, site, words in (
        ("drained", "127.0.0.1:9", "pair", "address '127.0.0.1:9' is not one of its application servers"),
        ("drained", "/run/webstack/blog/web.sock", "blog", "is the last application server that gets requests"),
        ("active", "127.0.0.1:8003", "nobody", "site nobody: this server has no virtual host of it"),
    ):
        run = switch(state, address, site=site)
        assert run.rc != 0
        assert words in " ".join(run.output.split()), run.output
    assert switch("active", "/run/webstack/blog/web.sock", site="blog").changed == 0
