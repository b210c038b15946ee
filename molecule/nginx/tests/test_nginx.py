"""nginx, asked as a visitor asks it."""

from __future__ import annotations

import copy
import json
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


def test_the_application_learns_who_asks(host):
    answer = get(host, f"{SITE}/hello", headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"})
    asked = json.loads(answer["body"])
    assert asked["host"] == "blog.example.com"
    assert asked["x-forwarded-proto"] == "https"
    assert asked["x-real-ip"] == "127.0.0.1"
    assert asked["x-forwarded-for"] == "127.0.0.1"
    assert asked["connection"] == "close"
    assert answer["headers"]["strict-transport-security"] == YEAR
    assert answer["headers"]["server"] == "nginx"


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
    answer = host.check_output("timeout 20 python3 -c %s %s %s", RAW, source, request)
    return json.loads(answer.split("\r\n\r\n", 1)[1])


def test_a_forged_host_header_does_not_reach_the_application(host):
    asked = raw(host, "GET https://blog.example.com/ HTTP/1.1|Host: evil.example.net|Connection: close||")
    assert asked["host"] == "blog.example.com"


def test_only_a_trusted_proxy_may_name_the_visitor(host):
    request = "GET / HTTP/1.1|Host: blog.example.com|X-Forwarded-For: 203.0.113.9|Connection: close||"
    assert raw(host, request)["x-forwarded-for"] == "127.0.0.1"
    trusted = raw(host, request, source="127.0.0.2")
    assert (trusted["x-forwarded-for"], trusted["x-real-ip"]) == ("203.0.113.9", "203.0.113.9")


def test_websockets_are_passed_on(host):
    answer = get(host, f"{SITE}/", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    asked = json.loads(answer["body"])
    assert (asked["upgrade"], asked["connection"]) == ("websocket", "upgrade")


def test_lines_of_the_user(host):
    assert get(host, f"{SITE}/status.txt")["body"] == "blog.example.com is up\n"
    assert "client_body_timeout 20;" in host.run("nginx -T").stdout
    assert "client_body_timeout 30;" not in host.run("nginx -T").stdout


def test_any_name_below_a_wildcard(host):
    assert json.loads(get(host, "https://a.blog.example.com/")["body"])["host"] == "a.blog.example.com"


def test_http_is_redirected_and_challenges_are_answered(host):
    host.run("mkdir -p /var/www/webstack-acme/.well-known/acme-challenge")
    host.run("echo token > /var/www/webstack-acme/.well-known/acme-challenge/x")
    redirect = get(host, "http://blog.example.com/a?b=1", follow=False)
    assert (redirect["status"], redirect["headers"]["location"]) == (301, f"{SITE}/a?b=1")
    challenge = get(host, "http://blog.example.com/.well-known/acme-challenge/x")
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
    page = get(host, f"{SITE}/media/page.html")
    assert "sandbox" in page["headers"]["content-security-policy"]
    assert page["headers"]["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in get(host, f"{SITE}/media/photo.png")["headers"]


def test_a_link_among_uploads_does_not_lead_out(host):
    host.run("ln -sfn /etc/hostname /srv/blog/media/link.png; chown -h nobody /srv/blog/media/link.png")
    assert get(host, f"{SITE}/media/link.png")["status"] == 403


def test_protected_files_come_only_through_the_application(host):
    assert get(host, f"{SITE}/protected/report.txt")["status"] == 404
    assert get(host, f"{SITE}/member")["body"] == "for members\n"


def test_large_bodies_are_refused(host):
    assert get(host, f"{SITE}/", form={"x": "y" * 2000})["status"] == 413
    assert get(host, f"{SITE}/", form={"x": "y" * 100})["status"] == 200


def test_http2(host):
    offered = host.run(
        "openssl s_client -connect 127.0.0.1:443 -servername blog.example.com -alpn h2 </dev/null | grep -a ALPN"
    ).stdout
    assert "ALPN protocol: h2" in offered


def test_old_tls_is_refused(host):
    old = "openssl s_client -connect 127.0.0.1:443 -servername blog.example.com -tls1_1 </dev/null"
    assert host.run(old).rc != 0


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
    host.run("systemd-run --unit=app-numbers python3 /srv/blog/app.py 8001; sleep 1")
    assert get(host, "https://127.0.0.1/")["status"] == 200


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
    host.check_output("systemd-run --unit=intruder python3 -m http.server --bind 127.0.0.1 8099; sleep 1")
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


def test_nginx_comes_back_after_a_crash(host):
    host.check_output("systemctl kill --kill-who=all --signal=KILL nginx; sleep 4")
    assert get(host, f"{SITE}/status.txt")["status"] == 200


def test_drift_is_put_back(host, playbook):
    host.run("echo 'server { listen 81; }' > /etc/nginx/webstack.d/evil.conf")
    host.run("rm /etc/nginx/modules-enabled/*brotli-static.conf; echo x > /etc/nginx/webstack.html")
    host.run("sed -i 's/keepalive_timeout 65/keepalive_timeout 1/' /etc/nginx/nginx.conf; nginx -s reload")
    host.run("chmod 644 /etc/webstack/tls/blog/privkey.pem")
    assert host.socket("tcp://0.0.0.0:81").is_listening
    run = playbook()
    assert run.rc == 0, run.output
    assert host.file("/etc/webstack/tls/blog/privkey.pem").mode == 0o600
    host.run("sleep 1")
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
