"""A whole server with one site of every shape, asked as visitors and operators ask it."""

from __future__ import annotations

import json
import re

import pytest

SITES = ["plain", "uvlock", "databaseurl", "prefixed", "localsettings"]


def make_admin(host, site: str) -> None:
    """The documented way to make the first user."""
    done = host.run(
        f"sudo DJANGO_SUPERUSER_PASSWORD=correct-horse-9 webstack-manage {site} createsuperuser "
        "--noinput --username admin --email admin@example.com"
    )
    assert done.rc == 0 or "already taken" in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("site", SITES)
def test_page_from_the_database_over_https(browse, site):
    (page,) = browse({"url": f"https://{site}.example.com/"})
    assert page["status"] == 200
    assert f"<h1>Notes of {site}</h1>" in page["body"]
    assert "the first note, from a migration" in page["body"]
    assert page["headers"]["strict-transport-security"].startswith("max-age=31536000")


@pytest.mark.parametrize("site", SITES)
def test_static_file_comes_from_the_web_server(browse, site):
    (page,) = browse({"url": f"https://{site}.example.com/"})
    href = re.search(r'href="([^"]+\.css)"', page["body"]).group(1)
    (style,) = browse({"url": f"https://{site}.example.com{href}"})
    assert style["status"] == 200
    assert "rebeccapurple" in style["body"]
    assert style["headers"]["server"] == "nginx"
    if site in ("plain", "uvlock"):  # the overlay hashes names
        assert re.search(r"style\.[0-9a-f]{12}\.css$", href)
        assert style["headers"]["cache-control"] == "max-age=31536000, public, immutable"


@pytest.mark.parametrize("site", SITES)
def test_log_in_to_the_admin(host, browse, site):
    make_admin(host, site)
    url = f"https://{site}.example.com/admin/login/?next=/admin/"
    form, inside = browse({"url": url}, {"url": url, "form": {"username": "admin", "password": "correct-horse-9"}})
    assert form["status"] == 200
    assert inside["status"] == 200
    assert "Site administration" in inside["body"]


def test_session_survives_a_dead_cache(host, browse):
    url = "https://plain.example.com/visits/"
    first, second = browse({"url": url}, {"url": url})
    assert json.loads(first["body"]) == {"visits": 1, "secure": True}
    assert json.loads(second["body"]) == {"visits": 2, "secure": True}
    host.run("sudo systemctl stop redis-server@plain-cache.service")
    try:
        answers = browse({"url": url}, {"url": url})
        assert [json.loads(answer["body"])["visits"] for answer in answers] == [1, 2]
    finally:
        assert host.run("sudo systemctl start redis-server@plain-cache.service").rc == 0


HEADERS = """
import http.client, json, socket, ssl, sys
connection = http.client.HTTPConnection(sys.argv[1])
plain = socket.create_connection(("127.0.0.1", 443))
connection.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname=sys.argv[1])
connection.request("GET", sys.argv[2])
print(json.dumps([[name.lower(), value] for name, value in connection.getresponse().getheaders()]))
"""


@pytest.mark.parametrize("site", SITES)
def test_headers_of_django_stay_and_are_there_once(host, site):
    """These projects have SecurityMiddleware and XFrameOptionsMiddleware, as Django makes them."""
    told = json.loads(host.check_output("python3 -c %s %s /", HEADERS, f"{site}.example.com"))
    found = {name: [value for key, value in told if key == name] for name, _value in told}
    assert found["x-frame-options"] == ["DENY"]
    assert found["x-content-type-options"] == ["nosniff"]
    assert found["referrer-policy"] == ["same-origin"]
    assert found["cross-origin-opener-policy"] == ["same-origin"]
    assert len(found["permissions-policy"]) == len(found["strict-transport-security"]) == 1
    assert "content-security-policy" not in found  # `frame-ancestors` of ours would win over DENY


def test_unknown_host_is_refused(browse):
    https, http = browse({"url": "https://unknown.example.net/"}, {"url": "http://unknown.example.net/"})
    assert https["status"] == 0
    assert http["status"] == 0


def test_http_is_redirected(browse):
    (answer,) = browse({"url": "http://plain.example.com/x?y=1", "follow": False})
    assert answer["status"] == 301
    assert answer["headers"]["location"] == "https://plain.example.com/x?y=1"


@pytest.mark.parametrize("site", ["plain", "uvlock"])
def test_deployment_check_is_silent(host, site):
    done = host.run(f"sudo webstack-manage {site} check --deploy")
    assert done.rc == 0
    assert "System check identified no issues" in done.stdout + done.stderr


def test_nothing_failed(host):
    assert host.run("systemctl --failed --no-legend --plain").stdout.strip() == ""


def test_one_site_cannot_read_another(host):
    assert host.run("sudo -u plain cat /etc/webstack/uvlock/env").rc != 0
    assert host.run("sudo -u plain ls /srv/uvlock/current/").rc != 0
    assert host.run("sudo -u plain psql -d uvlock -c 'select 1'").rc != 0
    assert host.run("sudo -u plain touch /srv/plain/current/code/x").rc != 0
