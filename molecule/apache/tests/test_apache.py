"""Apache, asked as a visitor asks it."""

from __future__ import annotations

import json
import re
from pathlib import Path

CLIENT = (Path(__file__).parents[3] / "tests/client.py").read_text()
SITE = "https://blog.example.com"
YEAR = "max-age=31536000"


def browse(host, *steps, address="127.0.0.1"):
    done = host.run("printf %%s %s | python3 -c %s --address %s", json.dumps(steps), CLIENT, address)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def get(host, url, **step):
    return browse(host, {"url": url, **step})[0]


def wait_for_port(host, number):
    host.check_output(f"timeout 30 sh -c 'until ss -Hlnt sport = :{number} | grep -q .; do sleep 0.1; done'")


def test_the_application_learns_who_asks(host):
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example.net"}
    answer = get(host, f"{SITE}/hello", headers=forged | {"X-Real-IP": "6.6.6.6"})
    asked = json.loads(answer["body"])
    assert "x-forwarded-host" not in asked
    assert asked["host"] == "blog.example.com"
    assert asked["x-forwarded-proto"] == "https"
    assert asked["x-real-ip"] == "127.0.0.1"
    assert asked["x-forwarded-for"] == "127.0.0.1"
    assert asked["connection"] == "close"
    assert answer["headers"]["server"] == "Apache"
    log = host.check_output("tail -n 1 /var/log/apache2/access.log")
    assert '"GET /hello HTTP/1.1" 200' in log
    assert re.search(r"blog.example.com [0-9]+$", log)


def test_hsts(host):
    for path in (
        "/",
        "/static/css/plain.css",
        "/media/photo.png",
        "/member?X-Sendfile=/srv/blog/protected/a%20report.txt",
    ):
        head = raw(host, f"GET {path} HTTP/1.1|Host: blog.example.com|Connection: close||").partition("\n\n")[0]
        # Once: a second value of the application's own would win or lose by chance.
        assert re.findall("(?i)strict-transport-security: (.*)", head) == [YEAR]
    redirect = get(host, "https://www.example.com/", follow=False)
    assert redirect["headers"]["strict-transport-security"] == YEAR


def test_a_port_in_the_host_header_is_passed_on(host):
    """Behind a published port (8443:443) Django must see the port, or its CSRF check refuses every form."""
    answer = get(host, f"{SITE}/", headers={"Host": "blog.example.com:8443"})
    assert json.loads(answer["body"])["host"] == "blog.example.com:8443"


RAW = """
import socket, ssl, sys
context = ssl._create_unverified_context()
tcp = socket.create_connection(("127.0.0.1", 443), 10, (sys.argv[1], 0))
tls = context.wrap_socket(tcp, server_hostname="blog.example.com")
tls.sendall(sys.argv[2].replace("|", "\\r\\n").encode())
while data := tls.recv(9999):
    sys.stdout.write(data.decode())
"""


def raw(host, request, source="127.0.0.1"):
    return host.check_output("timeout 20 python3 -c %s %s %s", RAW, source, request).replace("\r\n", "\n")


def asked_raw(host, request, source="127.0.0.1"):
    return json.loads(raw(host, request, source).partition("\n\n")[2])


def test_a_forged_host_header_does_not_reach_the_application(host):
    asked = asked_raw(host, "GET https://blog.example.com/ HTTP/1.1|Host: evil.example.net|Connection: close||")
    assert asked["host"] == "blog.example.com"


def test_only_a_trusted_proxy_may_name_the_visitor(host):
    request = "GET / HTTP/1.1|Host: blog.example.com|X-Forwarded-For: 203.0.113.9|Connection: close||"
    assert asked_raw(host, request)["x-forwarded-for"] == "127.0.0.1"
    trusted = asked_raw(host, request, source="127.0.0.2")
    assert (trusted["x-forwarded-for"], trusted["x-real-ip"]) == ("203.0.113.9", "203.0.113.9")


def test_what_looks_like_a_forged_header_is_dropped(host):
    """gunicorn and Django take X_Forwarded_Proto for X-Forwarded-Proto."""
    request = "GET / HTTP/1.1|Host: blog.example.com|X_Forwarded-Proto: ftp|X_REAL_IP: 6.6.6.6|Connection: close||"
    assert not any("_" in name for name in asked_raw(host, request))


SOCKET = """
import base64, os, socket, ssl, sys
tcp = socket.create_connection(("127.0.0.1", 443), 10)
tls = ssl._create_unverified_context().wrap_socket(tcp, server_hostname="blog.example.com")
key = base64.b64encode(os.urandom(16)).decode()
tls.sendall((f"GET /echo HTTP/1.1\\r\\nHost: blog.example.com\\r\\nUpgrade: {sys.argv[1]}\\r\\nConnection: Upgrade\\r\\n"
             f"Sec-WebSocket-Key: {key}\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n").encode())
stream = tls.makefile("rb")
print(stream.readline().decode().strip())
while stream.readline().strip():
    pass
for text in (b"one", b"two"):
    tls.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    print(stream.read(2 + len(text))[2:].decode())
tls.sendall(bytes([0x88, 0x80]) + bytes(4))
print(stream.read().hex())
"""


def test_a_websocket(host):
    """A real one: the application speaks first and last."""
    spoken = host.check_output("timeout 20 python3 -c %s websocket", SOCKET).splitlines()
    assert spoken == ["HTTP/1.1 101 Switching Protocols", "one", "two", "8800"]


def test_no_other_upgrade_is_passed_on(host):
    asked = json.loads(get(host, f"{SITE}/", headers={"Upgrade": "h2c", "Connection": "Upgrade"})["body"])
    assert asked["connection"] == "close"
    assert "upgrade" not in asked
    plain = "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: Upgrade, HTTP2-Settings\\r\\nUpgrade: h2c\\r\\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\\r\\n\\r\\n'"
    answer = host.check_output(f"{plain} | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/80; cat >&3; head -n 1 <&3'")
    assert "421" in answer


def test_the_path_is_passed_on_as_it_was_sent(host):
    asked = json.loads(get(host, f"{SITE}/a%2Fb//c%20d?e=%2F")["body"])
    assert asked["path"] == "/a%2Fb//c%20d?e=%2F"


def test_lines_of_the_user(host):
    assert get(host, f"{SITE}/status.txt")["status"] == 204
    assert "Timeout 50" in host.file("/etc/apache2/conf-enabled/webstack.conf").content_string


def test_uwsgi(host):
    """Another protocol, two processes that take turns, and a name that another site's wildcard would match too."""
    answers = browse(host, *[{"url": "https://wiki.blog.example.com/a%20b?c=d", "form": {"x": "y" * 3000}}] * 4)
    told = [json.loads(answer["body"]) for answer in answers]
    assert len({one["process"] for one in told}) == 2
    assert {one["length"] for one in told} == {3023}
    first = told[0]
    assert (first["PATH_INFO"], first["QUERY_STRING"], first["SCRIPT_NAME"]) == ("/a b", "c=d", "")
    assert (first["HTTP_HOST"], first["REMOTE_ADDR"]) == ("wiki.blog.example.com", "127.0.0.1")
    assert (first["HTTP_X_FORWARDED_PROTO"], first["HTTP_X_FORWARDED_FOR"]) == ("https", "127.0.0.1")
    plain = json.loads(get(host, "http://wiki.blog.example.com/")["body"])
    assert plain["HTTP_X_FORWARDED_PROTO"] == "http"
    assert plain.get("HTTPS") != "on"


def test_a_dead_application_server_is_left_out(host):
    host.check_output("systemctl stop app-second; rm -f /run/webstack/wiki/second.sock")
    try:
        answers = browse(host, *[{"url": "https://wiki.blog.example.com/"}] * 4)
        assert [answer["status"] for answer in answers] == [200] * 4
    finally:
        server = "uwsgi_python3 --master --die-on-term --chmod-socket=666 --wsgi-file /srv/blog/wiki.py --socket"
        host.check_output(f"systemd-run --unit=app-second {server} /run/webstack/wiki/second.sock")


def test_any_name_below_a_wildcard(host):
    assert json.loads(get(host, "https://a.b.blog.example.com/")["body"])["host"] == "a.b.blog.example.com"
    redirect = get(host, "http://a.blog.example.com/x", follow=False)
    assert redirect["headers"]["location"] == "https://a.blog.example.com/x"


def test_http_is_redirected_and_challenges_are_answered(host):
    assert host.file("/var/www/webstack-acme").mode == 0o755
    host.check_output("cd /var/www/webstack-acme; mkdir -p .well-known/acme-challenge")
    host.check_output("echo token > /var/www/webstack-acme/.well-known/acme-challenge/x")
    redirect = get(host, "http://blog.example.com/a%20%3Fb?b=%2F", follow=False)
    assert (redirect["status"], redirect["headers"]["location"]) == (301, f"{SITE}/a%20%3Fb?b=%2F")
    for name in ("blog.example.com", "www.example.com", "not-yet.example.com"):
        challenge = get(host, f"http://{name}/.well-known/acme-challenge/x")
        assert (challenge["status"], challenge["body"]) == (200, "token\n")


def test_other_names_lead_to_the_canonical_one(host):
    answer = get(host, "https://www.example.com/x", follow=False)
    assert (answer["status"], answer["headers"]["location"]) == (301, f"{SITE}/x")


def certificate(host, name, address="127.0.0.1"):
    option = f"-servername {name}" if name else "-noservername"
    command = f"openssl s_client -connect {address}:443 {option} </dev/null 2>/dev/null"
    return host.check_output(f"{command} | openssl x509 -noout -ext subjectAltName | tail -n 1").strip()


def test_unknown_names_are_refused(host):
    for url in ("https://other.example.com/", "http://other.example.com/", "http://other.example.com/media/photo.png"):
        answer = get(host, url)
        assert answer["status"] == 421
        assert "Misdirected" in answer["body"]
    assert raw(host, "GET / HTTP/1.1|Host: other.example.com|Connection: close||").startswith("HTTP/1.1 421 ")


def test_a_site_by_its_address(host):
    answer = get(host, "https://127.0.0.1/")
    assert answer["status"] == 200
    assert answer["headers"]["strict-transport-security"] == "max-age=1"  # the application's own
    assert certificate(host, None) == "IP Address:127.0.0.1"  # clients send no name then
    assert certificate(host, "blog.example.com").startswith("DNS:blog.example.com, DNS:*.blog.example.com")


def test_another_site_by_its_address(host):
    """Each shows its own certificate, and sites by name are reached at every address."""
    assert certificate(host, None, "127.0.0.3") == "IP Address:127.0.0.3, IP Address:0:0:0:0:0:0:0:1"
    assert certificate(host, "blog.example.com", "127.0.0.3").startswith("DNS:blog.example.com")
    secure, plain, named, wild, unknown = browse(
        host,
        {"url": "https://127.0.0.3/x"},
        {"url": "http://127.0.0.3/x", "follow": False},
        {"url": f"{SITE}/status.txt"},
        {"url": "https://a.blog.example.com/"},
        {"url": "https://other.example.com/"},
        address="127.0.0.3",
    )
    assert (secure["status"], secure["headers"]["strict-transport-security"]) == (200, YEAR)
    assert json.loads(secure["body"])["host"] == "127.0.0.3"
    assert (plain["status"], plain["headers"]["location"]) == (301, "https://127.0.0.3/x")
    assert [named["status"], wild["status"], unknown["status"]] == [204, 200, 421]


def test_static_files(host):
    url = f"{SITE}/static/css/style.0123456789ab.css"
    hashed = get(host, url, headers={"Accept-Encoding": "gzip"})
    assert hashed["headers"]["cache-control"] == f"{YEAR}, public, immutable"
    assert hashed["headers"]["content-encoding"] == "gzip"
    assert hashed["headers"]["vary"] == "Accept-Encoding"
    by_proxy = get(host, url, headers={"Accept-Encoding": "gzip", "Via": "1.1 cdn"})
    assert by_proxy["headers"]["content-encoding"] == "gzip"
    assert hashed["headers"]["x-content-type-options"] == "nosniff"
    plain = get(host, f"{SITE}/static/css/plain.css")
    assert plain["headers"]["cache-control"] == "max-age=0, must-revalidate"
    assert plain["headers"]["content-type"] == "text/css; charset=utf-8"
    assert get(host, f"{SITE}/static/css/none.css")["status"] == 404
    assert get(host, f"{SITE}/static/.git")["status"] == 404


def test_modules_of_javascript_have_a_type_that_browsers_run(host):
    assert get(host, f"{SITE}/static/js/module.mjs")["headers"]["content-type"] == "text/javascript; charset=utf-8"


def test_precompressed_files_are_preferred(host):
    css = "/srv/blog/public/static/css"
    name = "ready.0123456789ab.css"
    host.check_output(f"cd {css}; echo large > {name}; echo gzipped | gzip > {name}.gz; echo brotli > {name}.br")
    url = f"{SITE}/static/css/{name}"
    for accepted, encoding in (("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0, gzip", "gzip")):
        answer = get(host, url, headers={"Accept-Encoding": accepted})
        assert answer["headers"]["content-encoding"] == encoding
        assert answer["headers"]["content-type"] == "text/css;charset=utf-8"
        assert answer["headers"]["vary"] == "Accept-Encoding"
        assert answer["headers"]["cache-control"] == f"{YEAR}, public, immutable"
        assert "content-language" not in answer["headers"]
    assert answer["headers"]["content-length"] == str(host.file(f"{css}/{name}.gz").size)
    assert get(host, url)["body"] == "large\n"
    archive = get(host, f"{url}.gz", headers={"Accept-Encoding": "gzip"})  # asked for by its own name
    assert archive["headers"]["content-type"] == "application/x-gzip"
    assert "content-encoding" not in archive["headers"]


def test_compression(host):
    url = f"{SITE}/static/css/style.0123456789ab.css"
    answer = get(host, url, headers={"Accept-Encoding": "gzip, br"})
    assert answer["headers"]["content-encoding"] == "br"
    again = {"Accept-Encoding": "gzip, br", "If-None-Match": answer["headers"]["etag"]}
    assert get(host, url, headers=again)["status"] == 304
    assert get(host, f"{SITE}/", headers={"Accept-Encoding": "gzip"})["headers"]["content-encoding"] == "gzip"


def test_uploads_do_not_run(host):
    for name in ("page.html", "page.shtml", "feed.atom", "drawing.svg"):
        page = get(host, f"{SITE}/media/{name}")
        assert page["status"] == 200
        assert "sandbox" in page["headers"]["content-security-policy"]
        assert page["headers"]["x-content-type-options"] == "nosniff"
    assert get(host, f"{SITE}/media/photo.png")["headers"]["content-security-policy"] == "frame-ancestors 'self'"


def test_a_link_among_uploads_does_not_lead_out(host):
    host.check_output("ln -sfn photo.png /srv/blog/media/link.png; ln -sfn 'a report.txt' /srv/blog/protected/link.txt")
    assert get(host, f"{SITE}/media/link.png")["body"] == "not really"  # of the same owner
    assert get(host, f"{SITE}/member?X-Accel-Redirect=/protected/link.txt")["body"] == "for members\n"
    host.check_output(
        "ln -sfn /etc/hostname /srv/blog/media/out.png; ln -sfn /etc/hostname /srv/blog/protected/out.txt"
    )
    host.check_output("chown -h nobody /srv/blog/media/out.png /srv/blog/protected/out.txt")
    name = host.file("/etc/hostname").content_string.strip()
    member = "/member?X-Accel-Redirect=/protected/out.txt", "/member?X-Sendfile=/srv/blog/protected/out.txt"
    for url, status in (("/media/out.png", 403), (member[0], 404), (member[1], 404)):
        answer = get(host, f"{SITE}{url}")
        assert answer["status"] == status
        assert name not in answer["body"]


def test_protected_files_come_only_through_the_application(host):
    assert get(host, f"{SITE}/protected/a%20report.txt")["status"] == 404
    for header in ("X-Accel-Redirect=/protected/a%20report.txt", "X-Sendfile=/srv/blog/protected/a%20report.txt"):
        answer = get(host, f"{SITE}/member?{header}")
        assert answer["body"] == "for members\n"
        assert answer["headers"]["x-content-type-options"] == "nosniff"
        assert answer["headers"].get("etag") != '"0"'  # the same for all files
        assert not {"x-accel-redirect", "x-sendfile", "x-webstack-file"} & set(answer["headers"])
        # What the application wrote beside must not follow: it would be taken for the next answer.
        request = f"GET /member?{header} HTTP/1.1|Host: blog.example.com|Connection: close||"
        assert raw(host, request).partition("\n\n")[2] == "for members"
        changed = answer["headers"]["last-modified"]
        assert get(host, f"{SITE}/member?{header}", headers={"If-Modified-Since": changed})["status"] == 304
        part = get(host, f"{SITE}/member?{header}", headers={"Range": "bytes=4-6"})
        assert (part["status"], part["body"]) == (206, "mem")
    for header in (
        "X-Accel-Redirect=/protected/../app.py",
        "X-Accel-Redirect=/protected/%2e%2e/app.py",
        "X-Accel-Redirect=/protected/..%2fapp.py",
        "X-Accel-Redirect=/protected/a%00b",
        "X-Accel-Redirect=/protected/%zz",
        "X-Accel-Redirect=/elsewhere/x",
        "X-Sendfile=/srv/blog/protected/../app.py",
        "X-Sendfile=/etc/hostname",
        "X-Sendfile=/",
    ):
        answer = get(host, f"{SITE}/member?{header}")
        assert (header, answer["status"]) == (header, 404)


def test_large_bodies_are_refused(host):
    assert get(host, f"{SITE}/", form={"x": "y" * 2000})["status"] == 413
    assert get(host, f"{SITE}/", form={"x": "y" * 100})["status"] == 200
    request = "POST / HTTP/1.1|Host: blog.example.com|Transfer-Encoding: chunked|Connection: close||1|y|0||"
    assert raw(host, request).startswith("HTTP/1.1 411 ")  # of no known length


def test_http2(host):
    for name in ("-servername blog.example.com", "-noservername"):  # without a name: a site by its address
        offered = host.check_output(
            f"openssl s_client -connect 127.0.0.1:443 {name} -alpn h2 </dev/null | grep -a ALPN"
        )
        assert "ALPN protocol: h2" in offered


def shakes_hands(host, *options):
    client = f"openssl s_client -connect 127.0.0.1:443 -servername blog.example.com {' '.join(options)} </dev/null"
    return host.run(client).rc == 0


def test_versions_and_ciphers_of_tls(host):
    assert shakes_hands(host, "-tls1_3")
    assert shakes_hands(host, "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256")
    assert not shakes_hands(host, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA")
    assert not shakes_hands(host, "-tls1_1 -cipher DEFAULT@SECLEVEL=0")


def test_no_session_tickets(host):
    client = "openssl s_client -connect 127.0.0.1:443 -servername blog.example.com -tls1_2 </dev/null"
    session = host.check_output(f"{client} | grep -aiE 'session(-id:| ticket)'")
    assert "Session-ID: " in session
    assert "ticket" not in session


def test_a_dead_application_gives_our_page(host):
    host.run("systemctl kill --signal=STOP app-numbers; systemctl stop app-numbers")
    answer = get(host, "https://127.0.0.1/")
    assert answer["status"] == 503
    assert "Temporarily unavailable" in answer["body"]
    host.check_output("systemd-run --unit=app-numbers python3 /srv/blog/app.py 8001")
    wait_for_port(host, 8001)
    assert get(host, "https://127.0.0.1/")["status"] == 200
    assert get(host, "https://127.0.0.1/webstack.html")["status"] == 404


def test_an_application_that_takes_too_long(host):
    answer = get(host, "https://127.0.0.1/slow")
    assert answer["status"] == 502
    assert "Temporarily unavailable" in answer["body"]


def test_an_error_page_of_the_application_is_left_alone(host):
    answer = get(host, "https://127.0.0.1/busy")
    assert (answer["status"], json.loads(answer["body"])["path"]) == (503, "/busy")


def test_bad_sites_are_refused(playbook):
    tls = {"certificate": "/x", "key": "/y"}
    sites = [{"name": name, "domains": ["same.example.com"], "tls": tls} for name in ("half", "other")]
    run = playbook({"apache_sites": sites})
    assert run.rc != 0
    assert "every domain belongs to one site" in run.output
    assert "Incomplete: half, other" in run.output
