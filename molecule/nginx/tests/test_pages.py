"""Pages that nginx keeps for a moment: whose they may be, when they are made anew, what is never among them.

The applications behind count what they are asked: `number 7 GET {...}` is the seventh answer.
"""

from __future__ import annotations

import re
import secrets
import time

import pytest

OLD = 3.1  # seconds after which a page of two is old: nginx counts whole ones
SITES = ("pages", "wiki")  # over HTTP, and over uwsgi


def ask(host, path, *options, site="pages"):
    """Status, headers in lower case, and the text of an answer."""
    where = f"-sk --max-time 20 --resolve {site}.example.com:443:127.0.0.1 'https://{site}.example.com{path}'"
    said = host.check_output(f"curl -D - {where} {' '.join(options)}").replace("\r", "")
    head, _, body = said.partition("\n\n")
    lines = [line.partition(": ") for line in head.splitlines()[1:]]
    return int(head.split()[1]), {key.lower(): value for key, _colon, value in lines}, body


def body(host, path, *options, site="pages"):
    return ask(host, path, *options, site=site)[2]


def fresh(query=""):
    """A path that nobody has asked for."""
    return f"/{secrets.token_hex(4)}/?{query}"


def asked(host, site):
    """How many requests the application has seen."""
    return int(re.match(r"number (\d+)", body(host, "/admin/count", site=site))[1])


@pytest.mark.parametrize("site", SITES)
def test_a_hit_does_not_reach_the_application(host, site):
    path, before = fresh(), asked(host, site)
    first = ask(host, path, site=site)
    assert first[0] == 200
    assert {body(host, path, site=site) for _time in range(5)} == {first[2]}
    assert asked(host, site) == before + 2  # the page, and this question


def test_the_header_says_where_an_answer_comes_from(host):
    path = fresh()
    assert [ask(host, path)[1]["x-cache"] for _time in range(2)] == ["MISS", "HIT"]
    assert ask(host, path, "-H 'Cookie: a=b'")[1]["x-cache"] == "BYPASS"
    kept, plain = ask(host, path)[1], ask(host, path, "-H 'Cookie: a=b'")[1]
    for name in ("strict-transport-security", "x-frame-options", "content-security-policy", "referrer-policy"):
        assert kept[name] == plain[name]
    assert "x-cache" not in ask(host, "/", site="wiki")[1]  # only where it is asked for


OWN = (
    "-H 'Cookie: sessionid=1'",
    "-H 'Cookie: csrftoken=1'",
    "-H 'Cookie: _ga=1; sessionid=1'",
    "-H 'Cookie: sessionid=1; _ga=1'",
    "-H 'Cookie: sessionid'",
    "-H 'Cookie: x_ga=1'",
    "-H 'Authorization: Basic YTpi'",
    "-H 'Authorization: |'",
    "-H 'X-CSRFToken: 1'",
    "-H 'X-Api-Key: 1'",
    "-H 'X-Requested-With: XMLHttpRequest'",
    "-H 'Origin: https://other.example.com'",
    "-H 'HX-Request: true'",
    "-X POST -d a=b",
    "-X PUT",
    "-X OPTIONS",
    "-X GET -d a=b",
    "--http1.1 -X GET -H 'Transfer-Encoding: chunked' -d a=b",
)


@pytest.mark.parametrize("site", SITES)
def test_who_tells_who_they_are_gets_a_page_of_their_own(host, site):
    path = fresh()
    anybodys = body(host, path, site=site)
    own = [body(host, path, option, site=site) for option in OWN]
    assert len({anybodys, *own}) == len(OWN) + 1
    assert body(host, path, site=site) == anybodys  # and nobody else gets theirs
    path = fresh()
    own = [body(host, path, option, site=site) for option in OWN]
    assert body(host, path, site=site) not in own
    assert "sessionid=1" in own[0]
    assert "Basic YTpi" in own[6]


def test_a_header_that_the_site_names(host):
    path = fresh()
    assert body(host, path, "-H 'X-Customer: 1'") != body(host, path, "-H 'X-Customer: 2'") != body(host, path)


@pytest.mark.parametrize("site", SITES)
def test_a_cookie_that_says_nothing_is_not_shown_to_the_application(host, site):
    path = fresh("Vary=Cookie")
    first = body(host, path, "-H 'Cookie: _ga=GA1.1; _ga_X1=2;'", site=site)
    assert "GA1" not in first
    assert body(host, path, site=site) == first
    assert body(host, path, "-H 'Cookie: _ga=another'", site=site) == first


NEVER_KEPT = (
    "Set-Cookie=csrftoken%3D1",
    "Cache-Control=private",
    "Cache-Control=no-store",
    "Cache-Control=no-cache",
    "Cache-Control=max-age%3D0",
    "Cache-Control=private,+max-age%3D600",
    "Expires=Thu,+01+Jan+1970+00:00:01+GMT",
    "Vary=*",
    "Vary=User-Agent",
    "Vary=Cookie,+User-Agent",
    "Vary=Accept",
    "Content-Type=application/json",
    "Content-Type=text/plain",
    "Content-Encoding=x-own",
    "Content-Security-Policy=script-src+'nonce-1234'",
    "status=404",
    "status=302&Location=/",
    "status=500&Cache-Control=max-age%3D600",
    "status=403&Cache-Control=max-age%3D600",
)


@pytest.mark.parametrize("site", SITES)
def test_what_is_never_kept(host, site):
    kept = [query for query in NEVER_KEPT for path in [fresh(query)] if same(host, path, site)]
    assert kept == []
    for path in ("/admin/", "/admin/?a=b", "//admin/x", "/a/../admin/", "/%61dmin/"):
        assert not same(host, path, site, "--path-as-is")


def same(host, path, site, *options):
    return body(host, quoted(path), *options, site=site) == body(host, quoted(path), *options, site=site)


def quoted(path):
    return path.replace("'", "%27")


def test_paths_that_the_site_names(host):
    assert not same(host, "/u/ada/private/x", "pages")
    assert same(host, "/u/ada/public/x", "pages")
    assert same(host, "/u/a/b/private/", "pages")  # a star is one part


@pytest.mark.parametrize(
    "vary", ["Cookie", "cookie,+Accept-Language", "origin", "Accept-Encoding,Cookie", "HX-Request"]
)
def test_an_answer_may_vary_with_what_no_anonymous_request_has(host, vary):
    assert same(host, fresh("Vary=" + vary), "pages")


@pytest.mark.parametrize("site", SITES)
def test_each_language_and_address_has_its_page(host, site):
    path = fresh("Vary=Accept-Language")
    pages = [body(host, path, f"-H 'Accept-Language: {one}'", site=site) for one in ("de", "en", "de")]
    assert pages[0] != pages[1]
    assert pages[0] == pages[2]
    assert body(host, path + "&a=1", site=site) != body(host, path + "&a=2", site=site)
    first = body(host, path, site=site)
    assert body(host, path, f"-H 'Host: {site}.example.com:8443'", site=site) != first
    assert body(host, path, "-H 'X-Forwarded-Port: 81'", site=site) != first


@pytest.mark.parametrize("site", SITES)
def test_one_page_for_all_encodings(host, site):
    path = fresh("Vary=Accept-Encoding")
    first = body(host, path, "-H 'Accept-Encoding: br, gzip' --compressed", site=site)
    assert "br, gzip" not in first
    assert body(host, path, site=site) == first
    own = body(host, path, "-H 'Cookie: a=b' -H 'Accept-Encoding: identity;q=1'", site=site)
    assert "identity;q=1" in own


def test_a_question_for_the_head_alone(host):
    """Gives the others no empty page."""
    for site in SITES:
        path = fresh()
        assert ask(host, path, "-I", site=site)[0] == 200
        assert "GET" in body(host, path, site=site)
        assert "number" not in ask(host, path, "-I", site=site)[2]


@pytest.mark.parametrize("site", SITES)
def test_an_old_page_is_served_while_a_new_one_is_made(host, site):
    path = fresh("sleep=1")
    first, before = body(host, path, site=site), asked(host, site)
    time.sleep(OLD)
    began = time.monotonic()
    told = together(host, path, 20, site)
    assert time.monotonic() - began < 1  # nobody waits
    assert told.count(first) == 20
    time.sleep(1.5)
    assert asked(host, site) == before + 2  # one of them had it made; and this question
    deadline = time.monotonic() + 5
    while body(host, path, site=site) == first and time.monotonic() < deadline:
        time.sleep(0.2)
    assert number(body(host, path, site=site)) > number(first)


def together(host, path, count, site="pages"):
    """What so many visitors at the same time get."""
    name = f"{site}.example.com"
    ways = "--parallel-immediate --parallel-max 50"
    return host.check_output(
        f"curl -skZ {ways} --resolve {name}:443:127.0.0.1 $(yes 'https://{name}{path}' | head -n {count})"
    )


def number(text):
    return int(re.match(r"number (\d+)", text)[1])


def test_visitors_at_once_do_not_all_reach_the_application(host):
    path, before = fresh("sleep=0.4"), asked(host, "pages")
    told = together(host, path, 30)
    assert told.count("number") == 30
    assert asked(host, "pages") == before + 2


SOCKET = "/run/webstack/wiki/web.sock"


@pytest.mark.parametrize(
    ("site", "down", "up", "status"),
    [
        ("pages", "systemctl kill --signal=STOP app-pages", "systemctl kill --signal=CONT app-pages", 504),
        ("wiki", f"mv {SOCKET} {SOCKET}.gone", f"mv {SOCKET}.gone {SOCKET}", 502),
    ],
)
def test_old_pages_are_served_while_the_application_is_down(host, site, down, up, status):
    path = fresh()
    first = body(host, path, site=site)
    host.check_output(down)
    try:
        time.sleep(OLD)
        for _time in range(3):
            assert body(host, path, site=site) == first
            time.sleep(1)
        # Those who are logged in get no old page, and there is none of what nobody asked for.
        for other, options in ((path, "-H 'Cookie: sessionid=1'"), (fresh(), "")):
            code, _headers, text = ask(host, other, options, site=site)
            assert code == status
            assert "number" not in text
    finally:
        host.check_output(up)
    time.sleep(OLD)
    body(host, path, site=site)  # has it made anew
    time.sleep(0.5)
    assert number(body(host, path, site=site)) > number(first)


def test_nobody_gets_a_page_of_the_release_before(host):
    path = fresh("Cache-Control=max-age%3D600")
    first = body(host, path)
    assert body(host, path) == first
    turn = "mkdir -p -m 755 /srv/pages/served/{0}; ln -sfn {0} /srv/pages/served/new; mv -T /srv/pages/served/new /srv/pages/served/now"
    host.check_output(turn.format("two"))
    second = body(host, path)
    assert second != first
    assert body(host, path) == second
    host.check_output(turn.format("one"))
    assert host.run("grep 'realpath' /var/log/nginx/error.log").rc == 1


def test_a_page_that_is_on_its_way_meanwhile_is_not_kept_for_the_new_release(host):
    path = fresh("sleep=1")
    told = host.check_output(
        f"curl -sk --resolve pages.example.com:443:127.0.0.1 'https://pages.example.com{path}' & sleep 0.3;"
        " mkdir -p -m 755 /srv/pages/served/three; ln -sfn three /srv/pages/served/new;"
        " mv -T /srv/pages/served/new /srv/pages/served/now; wait"
    )
    assert body(host, path) != told
    host.check_output("ln -sfn one /srv/pages/served/new; mv -T /srv/pages/served/new /srv/pages/served/now")


def test_nobody_else_reads_them(host):
    for site in SITES:
        place = host.file(f"/var/cache/nginx/webstack/{site}")
        assert (place.user, place.mode) == ("www-data", 0o700)
    ask(host, fresh())
    assert host.check_output("find /var/cache/nginx/webstack/pages -type f -not -user www-data") == ""
    assert host.check_output("find /var/cache/nginx/webstack/pages -type f") != ""
    assert not host.file("/var/cache/nginx/webstack/blog").exists


def test_pages_are_kept_no_more_where_the_site_does_not_ask_for_it(host, playbook, variables):
    sites = [{**one, "page_cache": {}} if one["name"] == "wiki" else one for one in variables["nginx_sites"]]
    run = playbook({"nginx_sites": sites})
    assert run.rc == 0, run.output
    try:
        assert not same(host, fresh(), "wiki")
        assert not host.file("/var/cache/nginx/webstack/wiki").exists
    finally:
        run = playbook()
    assert run.rc == 0, run.output
    assert same(host, fresh(), "wiki")


def test_names_that_are_none_are_refused(playbook, variables):
    bad = {"enabled": True, "cookies": ["a b"], "headers": ["X_Y"], "skip": ["admin"]}
    sites = [{**one, "page_cache": bad} if one["name"] == "wiki" else one for one in variables["nginx_sites"]]
    run = playbook({"nginx_sites": sites}, check=True)
    assert run.rc != 0
    assert "Pages: admin, a b, X_Y" in " ".join(run.output.split())
