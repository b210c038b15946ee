"""What nginx and Apache say and bear alike: headers of the site `pair`, odd requests, many visitors, and slow ones."""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections import Counter

import pytest

ROLE = os.environ["MOLECULE_SCENARIO_NAME"]
LOGS = {"nginx": "nginx", "apache": "apache2"}[ROLE]
YEAR = "max-age=31536000"
OURS = {
    "strict-transport-security": YEAR,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "frame-ancestors 'self'",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(self), geolocation=(self), microphone=(self), usb=(self)",
    "cross-origin-opener-policy": "same-origin-allow-popups",
}
UPLOADED = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def ask(host, path, *options, name="pair.example.com"):
    """Status, our headers among those of the answer (each there once), all of them, and the body."""
    where = f"--resolve {name}:443:127.0.0.1 --path-as-is -D - -o /tmp/said"
    done = host.run(f"rm -f /tmp/said; curl -sk {where} {' '.join(options)} 'https://{name}{path}'")
    assert done.rc == 0, done
    lines = done.stdout.replace("\r", "").splitlines()
    pairs = [(key.lower(), value) for key, _colon, value in (line.partition(": ") for line in lines[1:] if line)]
    twice = [key for key, count in Counter(key for key, _value in pairs).items() if count > 1 and key != "vary"]
    assert not twice, lines
    found = dict(pairs)
    ours = {key: found[key] for key in OURS if key in found}
    body = host.file("/tmp/said").content_string if host.file("/tmp/said").exists else ""
    return int(lines[0].split()[1]), ours, found, body


# Headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/busy", 503), ("/static/plain.css", 200), ("/static/none.css", 404), ("/uploads/photo.png", 200)],
)
def test_every_answer_has_them_once(host, path, status, version):
    assert ask(host, path, version)[:2] == (status, OURS)


def test_so_has_the_page_of_maintenance(host):
    host.check_output("echo later > /etc/webstack/maintenance/pair.html")
    try:
        status, ours, _all, body = ask(host, "/")
    finally:
        host.check_output("rm /etc/webstack/maintenance/pair.html")
    assert (status, ours, body) == (503, OURS, "later\n")


def test_so_has_a_redirect_to_the_canonical_name(host):
    assert ask(host, "/x", name="www.example.com")[:2] == (301, OURS)
    plain = "curl -s -D - -o /dev/null -H 'Host: pair.example.com' http://127.0.0.1/"
    assert "strict-transport-security" not in host.check_output(plain).lower()


# What Django's SecurityMiddleware and XFrameOptionsMiddleware say.
DJANGO = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
PARTNER = {"Content-Security-Policy": "frame-ancestors https://partner.example.com"}


@pytest.mark.parametrize(
    ("says", "changed"),
    [
        # `frame-ancestors` of ours would count more than DENY.
        (DJANGO, {**{key.lower(): value for key, value in DJANGO.items()}, "content-security-policy": None}),
        (PARTNER, {"content-security-policy": PARTNER["Content-Security-Policy"], "x-frame-options": None}),
        ({"Content-Security-Policy": "default-src *"}, {"content-security-policy": "default-src *"}),
        ({"X-Frame-Options": "SAMEORIGIN"}, {}),
        ({"Permissions-Policy": "camera=*"}, {"permissions-policy": "camera=*"}),
        ({"Strict-Transport-Security": "max-age=1", "X-Powered-By": "PHP/5", "Server": "old/1"}, {}),
    ],
)
def test_what_the_application_says_itself_stays_and_is_there_once(host, says, changed):
    if ROLE == "apache" and "Server" in says:  # http.server has one of its own, and Apache's is unset for both
        says = {key: value for key, value in says.items() if key != "Server"}
    status, ours, found, _body = ask(host, "/says?" + urllib.parse.urlencode(says))
    assert (status, ours) == (200, {key: value for key, value in {**OURS, **changed}.items() if value is not None})
    assert "x-powered-by" not in found


def test_a_site_says_otherwise(host):
    site = {"nginx": "wsgi.example.com", "apache": "wiki.blog.example.com"}[ROLE]
    status, ours, found, _body = ask(host, "/", name=site)
    assert status == 200
    # null takes one away, and X-Frame-Options has nothing to add to the site's own policy.
    gone = ("referrer-policy", "x-frame-options")
    assert ours == {key: value for key, value in OURS.items() if key not in gone} | {
        "strict-transport-security": f"{YEAR}; includeSubDomains; preload",
        "content-security-policy": "default-src 'self'; frame-ancestors 'none'; report-uri /csp?a=%41",
    }
    assert found["x-note"] == 'say "hi"'


@pytest.mark.parametrize("headers", [{"Set-Cookie": "a=b"}, {"X A": "b"}, {"X-A": "$host"}, {"X-A": "b\nX-C: d"}])
def test_headers_that_cannot_be_are_refused(playbook, variables, headers):
    sites = [{**one, "headers": headers} if one["name"] == "pair" else one for one in variables[f"{ROLE}_sites"]]
    run = playbook({f"{ROLE}_sites": sites}, check=True)
    assert run.rc != 0
    words = next(iter(headers)) if ROLE and "X-A" not in headers else next(iter(headers.values())).split("\n")[0]
    assert f"Headers: {words}" in " ".join(run.output.replace("\\n", " ").split()), run.output


def test_no_version_is_told(host):
    for path in ("/", "/static/none.css", "/" + "a" * 9000, "/%00"):
        _status, _ours, found, body = ask(host, path)
        assert found["server"] == {"nginx": "nginx", "apache": "Apache"}[ROLE]
        assert not re.search(r"(nginx|Apache|OpenSSL)/[0-9]", body), body
    trace = ask(host, "/", "-X", "TRACE", "-H", "'X-Secret: abc'")
    assert (trace[0], "abc" in trace[3]) == (405, False)


# Uploads -------------------------------------------------------------------------------------------


def test_uploads_do_not_run_as_the_site(host):
    for path in ("/uploads/page.html", "/uploads/drawing.svg"):
        assert ask(host, path)[:2] == (200, {**OURS, "content-security-policy": UPLOADED})


HIDDEN = """/uploads/.env /uploads/.git/config /uploads/%2egit/config /uploads/code.PY /uploads/code.pyc /uploads/code.py.gz
/uploads/code.py /static/code.py /static/%63ode%2epy""".split()


def test_neither_hidden_files_nor_code_are_served(host):
    for path in HIDDEN:
        status, ours, _all, body = ask(host, path, "-H", "'Accept-Encoding: gzip'")
        assert (path, status, ours["x-content-type-options"], "secret" in body) == (path, 404, "nosniff", False)


def test_files_are_in_the_log_where_something_is_wrong(host):
    for path, count in (("/static/plain.css?there", 0), ("/static/none.css?missing", 1), ("/?page", 1)):
        ask(host, path)
        found = host.run(f"sleep 0.2; grep -cF 'GET {path} ' /var/log/{LOGS}/access.log").stdout
        assert (path, int(found)) == (path, count)


# Requests that nobody's browser sends ---------------------------------------------------------------

RAW = """
import json, socket, ssl, sys
context = ssl._create_unverified_context()
answers = []
for request in json.load(sys.stdin):
    plain = socket.create_connection(("127.0.0.1", 443), 10)
    with context.wrap_socket(plain, server_hostname="pair.example.com") as connection:
        connection.sendall(request.encode("latin-1"))
        said = b""
        try:
            while data := connection.recv(9999):
                said += data
        except OSError:
            pass
    answers.append(said.decode("latin-1"))
print(json.dumps(answers))
"""


def raw(host, *requests):
    """What is answered to bytes."""
    done = host.run("printf %%s %s | timeout 60 python3 -c %s", json.dumps(requests), RAW)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def status_of(answer):
    return int(answer.split()[1]) if answer.startswith("HTTP/1.1 ") else 0


HEAD = "POST / HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n"
SMUGGLED = "GET /busy HTTP/1.1\r\nHost: pair.example.com\r\n\r\n"


TWO_ENDS = [
    "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "Content-Length: 5, 6\r\n\r\nabcdef",
    "Content-Length: +5\r\n\r\nabcde",
    "Content-Length: 0x5\r\n\r\nabcde",
    "Content-Length: -1\r\n\r\n",
    f"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}",
    f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    f"Transfer-Encoding: identity, chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{SMUGGLED}",
    f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "Transfer-Encoding: chunked\r\n\r\nG\r\nabc\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
]


def from_application(answer):
    return bool(re.search("800[34]|import http.server", answer.partition("\r\n\r\n")[2]))


def test_a_request_with_two_ends_is_refused(host):
    for request, answer in zip(TWO_ENDS, raw(host, *(HEAD + one for one in TWO_ENDS)), strict=True):
        assert 400 <= status_of(answer) < 502, (request, answer)
        assert answer.count("HTTP/1.1 ") == 1, (request, answer)  # what is behind it is no second request
        assert not from_application(answer), (request, answer)


ODD = [
    "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",  # no Host
    "GET / HTTP/1.1\r\nHost: pair.example.com\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: pair.example.com/x\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: <script>\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: pair.example.com\x00\r\nConnection: close\r\n\r\n",
    "GET /a\x00b HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "GET /static/plain.css%00.png HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: pair.example.com\r\nX: a\x00b\r\nConnection: close\r\n\r\n",
    "GET /static/../../app.py HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "GET /" + "a" * 9000 + " HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: pair.example.com\r\nX: " + "a" * 9000 + "\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: pair.example.com\r\n" + "X: a\r\n" * 5000 + "Connection: close\r\n\r\n",
    "GET https://evil.example.com/ HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n",
    "CONNECT evil.example.com:443 HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n",
]


def test_an_odd_request_does_not_reach_the_application(host):
    for request, answer in zip(ODD, raw(host, *ODD), strict=True):
        assert status_of(answer) == 0 or 400 <= status_of(answer) < 500, (request[:200], answer)
        assert not from_application(answer), (request[:200], answer)


def test_an_absolute_address_is_the_same_as_a_relative_one(host):
    tail = "HTTP/1.1\r\nHost: pair.example.com\r\nConnection: close\r\n\r\n"
    answers = raw(host, f"GET https://pair.example.com/ {tail}", f"GET / {tail}".replace("com\r\n", "com:443\r\n"))
    assert [status_of(one) for one in answers] == [200, 200]


# Many visitors, and slow ones ------------------------------------------------------------------------


def crowd(people, how):
    """So many people behind one address who load a page with 60 files at the same moment; prints what was answered."""
    page = "https://pair.example.com/"
    files = "https://pair.example.com/static/plain.css?[1-60]"
    who = "--interface 127.0.0.2 -H 'X-Forwarded-For: 203.0.113.77'"  # the server's own address is not counted
    one = f"curl -skZ {how} {who} --resolve pair.example.com:443:127.0.0.1 -w '%{{http_code}} %{{http_version}}\\n' -o /dev/null"
    return f"for n in $(seq {people}); do {one} {page} -o /dev/null '{files}' & done | sort | uniq -c; wait"


@pytest.mark.parametrize(("how", "version"), [("--http1.1 --parallel-max 6", "1.1"), ("--http2", "2")])
def test_twenty_people_behind_one_address_load_a_page(host, how, version):
    begin = float(host.check_output("date +%s.%N"))
    found = host.check_output(crowd(20, how)).split("\n")
    print(f"{ROLE} HTTP/{version}: 1220 answers in {float(host.check_output('date +%s.%N')) - begin:.1f} s")
    assert [line.split() for line in found] == [["1220", "200", version]]


# Opens 300 connections and sends a byte of a header on each of them now and then, while a visitor asks again and again.
SLOW = """
import http.client, json, select, socket, ssl, time
context = ssl._create_unverified_context()
begin = time.time()
slow = {}
for number in range(300):
    plain = socket.create_connection(("127.0.0.1", 443), 20)
    if number % 3:  # every third one does not even say hello
        plain = context.wrap_socket(plain, server_hostname="pair.example.com")
        plain.sendall(b"GET / HTTP/1.1\\r\\nHost: pair.example.com\\r\\nX-Slow: ")
    slow[plain.fileno()] = plain
opened = time.time() - begin
times, failed = [], []
while slow and time.time() < begin + 60:
    start = time.time()
    try:
        visitor = http.client.HTTPConnection("pair.example.com", timeout=20)
        visitor.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), 20), server_hostname="pair.example.com")
        visitor.request("GET", "/")
        answer = visitor.getresponse()
        answer.read()
        visitor.close()
        if answer.status != 200:
            failed.append(answer.status)
    except (OSError, http.client.HTTPException) as error:
        failed.append(repr(error))
    times.append(time.time() - start)
    for number, one in list(slow.items()):
        try:
            one.setblocking(False)
            one.send(b"a")
            if not one.recv(999):
                raise OSError("closed")
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except OSError:
            pass
        one.close()
        del slow[number]
    time.sleep(1)
print(json.dumps([opened, len(times), max(times), failed, len(slow), time.time() - begin]))
"""


def test_slow_visitors_go_and_keep_nobody_from_an_answer(host):
    """Slowloris."""
    opened, asked, longest, failed, left, lasted = json.loads(host.check_output("timeout 120 python3 -c %s", SLOW))
    print(f"{ROLE}: opened in {opened:.1f} s, {asked} visitors, at most {longest:.2f} s, all gone after {lasted:.1f} s")
    assert (failed, left) == ([], 0)
    assert longest < 5
    assert lasted < 45
