"""nginx, asked as a visitor asks it."""

from __future__ import annotations

import copy
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
    assert answer["headers"]["server"] == "nginx"
    log = host.check_output("tail -n 1 /var/log/nginx/access.log")
    assert '"GET /hello HTTP/1.1" 200' in log
    assert re.search(r"blog.example.com [0-9.]+ [0-9.]+$", log)


def test_hsts(host):
    for path in ("/", "/static/css/plain.css", "/media/photo.png", "/member"):
        head = raw(host, f"GET {path} HTTP/1.1|Host: blog.example.com|Connection: close||").partition("\n\n")[0]
        # Once: a second value of the application's own would win or lose by chance.
        assert re.findall("(?i)strict-transport-security: (.*)", head) == [YEAR]
    redirect = get(host, "https://www.example.com/", follow=False)
    assert redirect["headers"]["strict-transport-security"] == YEAR


def test_a_port_in_the_host_header_is_passed_on(host):
    """Behind a published port (8443:443) Django must see the port, or its CSRF check refuses every form."""
    for given, passed in ((":8443", ":8443"), (":8443:1", "")):
        asked = asked_raw(host, f"GET / HTTP/1.1|Host: blog.example.com{given}|Connection: close||")
        assert asked["host"] == f"blog.example.com{passed}"


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


def test_websockets_are_passed_on(host):
    answer = get(host, f"{SITE}/", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    asked = json.loads(answer["body"])
    assert (asked["upgrade"], asked["connection"]) == ("websocket", "upgrade")


def test_no_other_upgrade_is(host):
    asked = json.loads(get(host, f"{SITE}/", headers={"Upgrade": "h2c", "Connection": "Upgrade"})["body"])
    assert asked["connection"] == "close"


def test_lines_of_the_user(host):
    assert get(host, f"{SITE}/status.txt")["body"] == "blog.example.com is up\n"
    assert "client_body_timeout 20;" in host.run("nginx -T").stdout
    assert "client_body_timeout 30;" not in host.run("nginx -T").stdout


def test_any_name_below_a_wildcard(host):
    assert json.loads(get(host, "https://a.blog.example.com/")["body"])["host"] == "a.blog.example.com"


def test_http_is_redirected_and_challenges_are_answered(host):
    assert host.file("/var/www/webstack-acme").mode == 0o755
    host.check_output("cd /var/www/webstack-acme; mkdir -p .well-known/acme-challenge")
    host.check_output("echo token > /var/www/webstack-acme/.well-known/acme-challenge/x")
    redirect = get(host, "http://blog.example.com/a?b=1", follow=False)
    assert (redirect["status"], redirect["headers"]["location"]) == (301, f"{SITE}/a?b=1")
    for name in ("blog.example.com", "www.example.com", "not-yet.example.com"):
        challenge = get(host, f"http://{name}/.well-known/acme-challenge/x")
        assert (challenge["status"], challenge["body"]) == (200, "token\n")


def test_other_names_lead_to_the_canonical_one(host):
    answer = get(host, "https://www.example.com/x", follow=False)
    assert (answer["status"], answer["headers"]["location"]) == (301, f"{SITE}/x")


def test_unknown_names_are_refused(host):
    assert get(host, "https://other.example.com/")["status"] == 0
    assert get(host, "http://other.example.com/")["status"] == 0


def test_a_site_by_its_address(host):
    answer = get(host, "https://127.0.0.1/")
    assert answer["status"] == 200
    assert answer["headers"]["strict-transport-security"] == "max-age=1"  # the application's own


def test_static_files(host):
    hashed = get(host, f"{SITE}/static/css/style.0123456789ab.css", headers={"Accept-Encoding": "gzip"})
    assert hashed["headers"]["cache-control"] == f"{YEAR}, public, immutable"
    assert hashed["headers"]["content-encoding"] == "gzip"
    assert hashed["headers"]["vary"] == "Accept-Encoding"
    by_proxy = {"Accept-Encoding": "gzip", "Via": "1.1 cdn"}
    assert (
        get(host, f"{SITE}/static/css/style.0123456789ab.css", headers=by_proxy)["headers"]["content-encoding"]
        == "gzip"
    )
    assert hashed["headers"]["x-content-type-options"] == "nosniff"
    plain = get(host, f"{SITE}/static/css/plain.css")
    assert plain["headers"]["cache-control"] == "max-age=0, must-revalidate"
    assert plain["headers"]["content-type"] == "text/css; charset=utf-8"
    assert get(host, f"{SITE}/static/css/none.css")["status"] == 404
    assert get(host, f"{SITE}/static/.git")["status"] == 404


def test_modules_of_javascript_have_a_type_that_browsers_run(host):
    assert get(host, f"{SITE}/static/js/module.mjs")["headers"]["content-type"] == "text/javascript; charset=utf-8"


def test_precompressed_files_are_preferred(host):
    host.run(
        "echo small | gzip > /srv/blog/public/static/css/ready.css.gz; echo large > /srv/blog/public/static/css/ready.css"
    )
    answer = get(host, f"{SITE}/static/css/ready.css", headers={"Accept-Encoding": "gzip"})
    assert answer["headers"]["content-encoding"] == "gzip"
    assert int(answer["headers"]["content-length"]) == host.file("/srv/blog/public/static/css/ready.css.gz").size


def test_brotli(host):
    answer = get(host, f"{SITE}/static/css/style.0123456789ab.css", headers={"Accept-Encoding": "br"})
    assert answer["headers"]["content-encoding"] == "br"


def test_uploads_do_not_run(host):
    for name in ("page.html", "page.shtml", "feed.atom", "drawing.svg"):
        page = get(host, f"{SITE}/media/{name}")
        assert page["status"] == 200
        assert "sandbox" in page["headers"]["content-security-policy"]
        assert page["headers"]["x-content-type-options"] == "nosniff"
    assert get(host, f"{SITE}/media/photo.png")["headers"]["content-security-policy"] == "frame-ancestors 'self'"


def test_a_link_among_uploads_does_not_lead_out(host):
    host.check_output("ln -sfn photo.png /srv/blog/media/link.png; ln -sfn report.txt /srv/blog/protected/link.txt")
    assert get(host, f"{SITE}/media/link.png")["body"] == "not really"  # of the same owner
    assert get(host, f"{SITE}/member?link")["body"] == "for members\n"
    host.check_output(
        "ln -sfn /etc/hostname /srv/blog/media/out.png; ln -sfn /etc/hostname /srv/blog/protected/out.txt"
    )
    host.check_output("chown -h nobody /srv/blog/media/out.png /srv/blog/protected/out.txt")
    name = host.file("/etc/hostname").content_string.strip()
    for url, status in (("/media/out.png", 404), ("/member?out", 403)):
        answer = get(host, f"{SITE}{url}")
        assert answer["status"] == status
        assert name not in answer["body"]


def test_protected_files_come_only_through_the_application(host):
    assert get(host, f"{SITE}/protected/report.txt")["status"] == 404
    assert get(host, f"{SITE}/member")["body"] == "for members\n"


def test_large_bodies_are_refused(host):
    assert get(host, f"{SITE}/", form={"x": "y" * 2000})["status"] == 413
    assert get(host, f"{SITE}/", form={"x": "y" * 100})["status"] == 200


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


def test_certificate_and_key(host):
    key = host.file("/etc/webstack/tls/blog/privkey.pem")
    assert (key.user, key.group, key.mode) == ("root", "root", 0o600)
    text = host.run("openssl x509 -in /etc/webstack/tls/blog/fullchain.pem -noout -text").stdout
    assert "DNS:blog.example.com, DNS:*.blog.example.com, DNS:www.example.com" in text
    assert "NIST CURVE: P-256" in text


def test_a_dead_application_gives_our_page(host):
    host.run("systemctl kill --signal=STOP app-numbers; systemctl stop app-numbers")
    answer = get(host, "https://127.0.0.1/")
    assert answer["status"] == 502
    assert "Temporarily unavailable" in answer["body"]
    host.check_output("systemd-run --unit=app-numbers python3 /srv/blog/app.py 8001")
    wait_for_port(host, 8001)
    assert get(host, "https://127.0.0.1/")["status"] == 200


def test_an_application_that_takes_too_long(host):
    answer = get(host, "https://127.0.0.1/slow")
    assert answer["status"] == 504
    assert "Temporarily unavailable" in answer["body"]


def test_a_mistake_is_refused_in_the_words_of_nginx(host, playbook):
    run = playbook({"nginx_settings": {"no_such_directive": 1}})
    assert run.rc != 0
    assert 'unknown directive "no_such_directive"' in run.output
    assert "the old configuration stays in place" in run.output
    assert get(host, f"{SITE}/")["status"] == 200
    assert host.run("nginx -t").rc == 0
    assert playbook(check=True).changed == 0


def test_a_mistake_in_the_lines_of_a_site_is_refused(host, playbook, variables):
    sites = copy.deepcopy(variables["nginx_sites"])
    sites[0]["extra"] = "return 200 unclosed"
    run = playbook({"nginx_sites": sites})
    assert run.rc != 0
    assert "the old configuration stays in place" in run.output
    assert "/etc/nginx/webstack.d/blog.conf" in run.output
    assert get(host, f"{SITE}/status.txt")["status"] == 200


def test_a_reload_that_nginx_does_not_follow_fails_the_run(host, playbook, variables):
    """A port that another program has passes `nginx -t`; nginx would go on with the old configuration, silently."""
    sites = copy.deepcopy(variables["nginx_sites"])
    sites[0]["extra"] += "\nlisten 127.0.0.1:8099 ssl;\n"
    host.check_output("systemd-run --unit=intruder python3 -m http.server --bind 127.0.0.1 8099")
    wait_for_port(host, 8099)
    try:
        run = playbook({"nginx_sites": sites})
        assert run.rc != 0
        assert "nginx goes on with its old configuration" in run.output
        assert "bind() to 127.0.0.1:8099 failed" in run.output
        assert get(host, f"{SITE}/status.txt")["status"] == 200
        host.check_output("systemctl stop intruder")
        # Nothing is left to be written, and yet the next run heals it.
        run = playbook({"nginx_sites": sites})
        assert run.rc == 0, run.output
        assert host.socket("tcp://127.0.0.1:8099").is_listening
    finally:
        host.run("systemctl stop intruder")
        run = playbook()
    assert run.rc == 0, run.output
    assert not host.socket("tcp://127.0.0.1:8099").is_listening


def test_a_new_certificate_is_served(host, playbook):
    number = "openssl x509 -noout -serial"
    served = f"openssl s_client -connect 127.0.0.1:443 -servername blog.example.com </dev/null | {number}"
    before = host.check_output(served)
    host.check_output("rm /etc/webstack/tls/blog/fullchain.pem")
    run = playbook()
    assert run.rc == 0, run.output
    assert (
        host.check_output(served) == host.check_output(f"{number} -in /etc/webstack/tls/blog/fullchain.pem") != before
    )


def test_a_new_program_runs(host, playbook):
    """An update that left the old process running: its modules would not fit the old program at the next reload."""
    process = "systemctl show -p MainPID --value nginx"
    before = host.check_output(process)
    host.check_output("chmod 755 /usr/sbin/nginx")
    run = playbook()
    assert run.rc == 0, run.output
    assert host.check_output(process) != before


def test_a_check_of_a_new_site(host, playbook, variables):
    """Its certificate, which nginx looks for, is not there yet; that hides no mistake."""
    tls = {"certificate": "/etc/webstack/tls/new/fullchain.pem", "key": "/etc/webstack/tls/new/privkey.pem"}
    new = {"name": "new", "domains": ["new.example.com"], "upstream": [{"address": "127.0.0.1:8002"}]}
    sites = [*variables["nginx_sites"], new | {"tls": tls | {"selfsigned": True}}]
    run = playbook({"nginx_sites": sites}, check=True)
    assert run.rc == 0, run.output
    assert run.changed == 2  # certificate, configuration
    assert not host.file("/etc/nginx/webstack.d/new.conf").exists
    run = playbook({"nginx_sites": sites, "nginx_settings": {"no_such_directive": 1}}, check=True)
    assert run.rc != 0
    assert 'unknown directive "no_such_directive"' in run.output


def test_the_welcome_page_of_the_distribution_never_answered(host):
    first = host.check_output("journalctl -q -u nginx -o short-unix | head -n 1").split()[0]
    assert float(first) > int(host.check_output("stat -c %W /var/www/webstack-acme"))


def test_nginx_has_nothing_to_say(host):
    assert host.run("nginx -t -q").stderr == ""


def test_nginx_comes_back_after_a_crash(host):
    process = "systemctl show -p MainPID --value nginx"
    before = host.check_output(process)
    host.check_output("systemctl kill --kill-who=all --signal=KILL nginx")
    host.check_output(f"timeout 30 sh -c 'while {process} | grep -qxE \"0|{before}\"; do sleep 0.1; done'")
    assert get(host, f"{SITE}/status.txt")["status"] == 200


def test_drift_is_put_back(host, playbook):
    host.check_output("echo 'server { listen 81; }' > /etc/nginx/webstack.d/evil.conf")
    host.check_output("sed -i 's/keepalive_timeout 65/keepalive_timeout 1/' /etc/nginx/nginx.conf")
    host.check_output("systemctl reload nginx")
    assert host.socket("tcp://0.0.0.0:81").is_listening
    # Without the module nginx understands neither a reload nor a start; the one that runs goes on.
    host.check_output("rm /etc/nginx/modules-enabled/*brotli-static.conf; echo x > /etc/nginx/webstack.html")
    host.check_output("chmod 644 /etc/webstack/tls/blog/privkey.pem")
    run = playbook()
    assert run.rc == 0, run.output
    assert host.file("/etc/webstack/tls/blog/privkey.pem").mode == 0o600
    assert not host.socket("tcp://0.0.0.0:81").is_listening
    assert "Temporarily unavailable" in host.file("/etc/nginx/webstack.html").content_string
    assert host.file("/etc/nginx/modules-enabled/50-mod-http-brotli-static.conf").is_symlink
    assert "keepalive_timeout 65" in host.run("nginx -T").stdout
    assert playbook().changed == 0


def test_two_sites_with_one_domain_are_refused(playbook):
    tls = {"certificate": "/x", "key": "/y"}
    sites = [{"name": name, "domains": ["same.example.com"], "tls": tls} for name in ("a", "b")]
    run = playbook({"nginx_sites": sites})
    assert run.rc != 0
    assert "every domain belongs to one site" in run.output


def test_a_site_that_lacks_something_is_named(playbook):
    run = playbook({"nginx_sites": [{"name": "half", "domains": ["half.example.com"]}]})
    assert run.rc != 0
    assert "Incomplete: half" in run.output


def test_an_absent_site_is_not_served(host, playbook, variables):
    sites = copy.deepcopy(variables["nginx_sites"])
    sites[1] = {"name": "numbers", "state": "absent"}
    run = playbook({"nginx_sites": sites})
    assert run.rc == 0, run.output
    assert get(host, "https://127.0.0.1/")["status"] == 0
    assert get(host, f"{SITE}/status.txt")["status"] == 200
    handshake = "openssl s_client -connect 127.0.0.1:443 -servername other.example.com </dev/null"
    assert "unrecognized name" in host.run(handshake).stderr  # no site by address: no certificate is shown at all
    assert playbook().rc == 0
    assert get(host, "https://127.0.0.1/")["status"] == 200
