"""Certificates of an authority that is real (pebble), from before the names resolve to the end of the account.

The tests go through the life of the machines in order.
"""

from __future__ import annotations

import json
import re
import threading
import time

from life import LIVE, NAMES, asked, due, record, resolver, selfsigned, served, sites, trusted, words


def test_before_the_names_resolve(host, certificates):
    for name in (*NAMES, "plain.example.com"):
        assert selfsigned(host, name)
    run = certificates()
    assert (run.rc, run.changed) == (0, 0), run.output
    for site, name in (("blog", "blog.example.com"), ("shop", "shop.example.com")):
        assert f"site {site}: no certificate of localhost:14001 yet. {name}: it has no A or AAAA record yet" in words(
            run
        )
    assert "a self-signed certificate serves until then" in words(run)
    assert "site plain" not in words(run)
    assert asked(host) == 0


def test_a_site_behind_a_load_balancer(host):
    """Plain HTTP, and its scheme is what a trusted proxy says, which nobody else can."""
    ask = "curl -si --interface %s -H 'Host: inner.example.com' -H 'X-Forwarded-Proto: %s' http://127.0.0.1/"
    for address, said, scheme in (
        ("127.0.0.2", "https", "https"),
        ("127.0.0.2", "http", "http"),
        ("127.0.0.2", "gopher", "http"),
        ("127.0.0.1", "https", "http"),
    ):
        text = host.check_output(ask % (address, said))
        assert text.startswith("HTTP/1.1 200 "), text
        assert text.endswith(f"hello {scheme}"), (address, said, text)
        assert "strict-transport-security" not in text.lower()
    redirect = host.check_output("curl -si -H 'Host: old.example.com' http://127.0.0.1/a?b=c")
    assert redirect.startswith("HTTP/1.1 301 ")
    assert "ocation: https://inner.example.com/a?b=c" in redirect
    assert (
        host.run("curl -sk --resolve inner.example.com:443:127.0.0.1 https://inner.example.com/").stdout
        != "hello https\n"
    )


def test_what_is_wrong_with_a_name(host, certificates, other, machine):
    """Said in words, and nothing is asked."""
    neighbour = other({"debian12": "debian13", "debian13": "debian12"}[machine]).ansible.get_variables()["bed_address"]
    for name in NAMES:
        record(host, name, "127.0.0.1")
    record(host, "blog.example.com", neighbour)
    record(host, "www.example.com", "2001:db8::1", kind="aaaa")
    resolver(host, "add-caa", {"host": "example.com", "policies": [{"tag": "issue", "value": "letsencrypt.org"}]})
    text = words(certificates())
    assert f"blog.example.com: its A record leads to {neighbour}, another address than this server's" in text
    # Its tests stop its web server for a moment as well.
    assert re.search(r"where (somebody else answers: status 404|port 80 refuses connections)", text)
    assert (
        "www.example.com: only its AAAA record is wrong, and an authority prefers IPv6: its AAAA record leads to 2001:db8::1"
        in text
    )
    assert (
        "shop.example.com: the CAA record of example.com allows letsencrypt.org only, and not this authority (pebble.example.net)"
        in text
    )
    host.check_output("systemctl stop nginx apache2 || true")
    assert "its A record leads to 127.0.0.1, this server, where port 80 refuses connections" in words(certificates())
    host.check_output("systemctl start $(test -e /usr/sbin/nginx && echo nginx || echo apache2)")
    resolver(host, "clear-caa", {"host": "example.com"})
    record(host, "www.example.com", kind="aaaa")
    record(host, "blog.example.com")
    assert asked(host) == 0
    assert selfsigned(host, "blog.example.com")


def test_one_site_does_not_stop_another(host, certificates):
    record(host, "shop.example.com", "127.0.0.1")
    check = certificates(check=True)
    assert "ask localhost:14001 for a certificate of shop.example.com for site shop: it has none yet" in check.output
    assert (check.rc, check.changed, asked(host)) == (0, 1, 0)
    run = certificates()
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "site blog: no certificate of localhost:14001 yet" in words(run)
    assert "site shop" not in words(run).replace("for site shop: it has none yet", "")
    assert trusted(host, "shop.example.com")
    assert selfsigned(host, "blog.example.com")


def test_promotion(host, playbook):
    for name in NAMES:
        record(host, name, "127.0.0.1")
    run = playbook()
    assert run.rc == 0, run.output
    assert "WARNING" not in run.output
    for name in NAMES:
        assert trusted(host, name)
    again = playbook()
    assert (again.rc, again.changed) == (0, 0), again.output
    key = host.file(LIVE.format("blog", "privkey"))
    assert (key.mode, key.user) == (0o600, "root")
    text = host.check_output("openssl x509 -noout -text -in %s", LIVE.format("blog", "fullchain"))
    assert "ASN1 OID: prime256v1" in text
    assert re.findall(r"DNS:([\w.]+)", text) == ["blog.example.com", "www.example.com"]
    assert host.file("/var/lib/webstack-acme").mode == 0o700
    assert host.check_output("ls -A /var/www/webstack-acme/.well-known/acme-challenge") == ""


# Asks until a file is there, over new connections and ones that are kept, and trusts the authority only. A kept connection
# that the server closed before a word of the answer is opened anew, once, as every browser does (RFC 9112, 9.3.1): Apache
# closes those that are idle when it is reloaded, and a request can cross that. Nothing else is forgiven.
LOAD = """
import http.client, json, socket, ssl, sys, threading, time
context = ssl.create_default_context(cafile="/opt/pebble/root.pem")
done, seen = threading.Event(), []

def connect():
    connection = http.client.HTTPConnection("blog.example.com")
    plain = socket.create_connection(("127.0.0.1", 443), 10)
    connection.sock = context.wrap_socket(plain, server_hostname="blog.example.com")
    return connection

def get(connection, keep):
    serial = connection.sock.getpeercert()["serialNumber"]
    connection.request("GET", "/", headers={} if keep else {"Connection": "close"})
    reply = connection.getresponse()
    return [reply.status, reply.read().decode(), serial], keep and not reply.will_close

def ask(keep):
    connection = None
    while not done.is_set():
        time.sleep(0.02)
        try:
            kept = connection is not None
            connection = connection or connect()
            try:
                answer, stays = get(connection, keep)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                if not kept:
                    raise
                connection = connect()
                answer, stays = get(connection, keep)
            seen.append(answer)
            if not stays:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            connection = None
            seen.append([0, repr(error), ""])

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
    """Strict visitors of `blog` on another thread, as long as the block lasts."""

    def __init__(self, host):
        self.host = host
        self.stop = f"/tmp/load-{time.time()}"
        self.answers = []

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


def test_renewal_under_load(host, certificates):
    before = served(host, "blog.example.com")["serial"]
    due(host, "blog")
    with Load(host) as load:
        host.check_output("systemctl start webstack-acme.service")
        time.sleep(1)
    assert [answer for answer in load.answers if answer[:2] != [200, "hello https\n"]] == []
    assert len(load.answers) > 300
    assert len({serial for _status, _body, serial in load.answers}) == 2
    after = served(host, "blog.example.com")["serial"]
    assert after != before
    assert trusted(host, "blog.example.com")
    run = certificates()
    assert (run.rc, run.changed) == (0, 0), run.output


def test_a_renewal_that_is_not_due_asks_nothing(host):
    host.check_output("sed -i '/^renew_before_expiry/d' /var/lib/webstack-acme/renewal/blog.conf")
    before = asked(host)
    host.check_output("systemctl start webstack-acme.service")
    assert asked(host) == before


def test_the_old_certificate_serves_until_new_domains_have_one(host, certificates):
    more = sites(blog={"domains": ["blog.example.com", "new.example.com"]})
    before = served(host, "blog.example.com")["serial"]
    run = certificates(more)
    assert (run.rc, run.changed) == (0, 0), run.output
    assert "new.example.com: it has no A or AAAA record yet" in words(run)
    assert served(host, "blog.example.com")["serial"] == before
    record(host, "new.example.com", "127.0.0.1")
    run = certificates(more)
    assert (run.rc, run.changed) == (0, 1), run.output
    assert "for site blog: its domains changed" in words(run)
    assert served(host, "blog.example.com")["serial"] != before
    assert certificates(more).changed == 0
    assert certificates().changed == 1  # and back


OWN = """
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 90 -subj /CN=ca -keyout /root/ca.key -out /root/ca.pem
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 90 -subj /CN=plain -CA /root/ca.pem \
    -CAkey /root/ca.key -addext subjectAltName=DNS:plain.example.com -keyout /root/own.key -out /root/own.pem
"""


def test_a_certificate_that_is_provided(host, certificates):
    """Laid down with its key, and back; a key that is another one's leaves the old ones in place."""
    host.check_output(OWN)
    key, other, own, ca = (
        host.file(f"/root/{name}").content_string for name in ("own.key", "ca.key", "own.pem", "ca.pem")
    )
    given = {"mode": "provided", "certificate_pem": own + ca, "key_pem": key}
    run = certificates(sites(plain={**given, "key_pem": other}), step="main")
    assert run.rc != 0
    assert "/etc/webstack/tls/plain/privkey.pem is not the key of /etc/webstack/tls/plain/fullchain.pem" in words(run)
    assert selfsigned(host, "plain.example.com")
    run = certificates(sites(plain=given), step="main")
    assert run.rc == 0, run.output
    assert "PRIVATE KEY" not in run.output
    assert served(host, "plain.example.com")["issuer"].replace(" ", "") == "CN=ca"
    assert host.file(LIVE.format("plain", "privkey")).mode == 0o600
    assert certificates(sites(plain=given), step="main").changed == 0
    run = certificates(step="main")
    assert (run.rc, run.changed) == (0, 1), run.output
    assert selfsigned(host, "plain.example.com")
